/**
 * Finds what is wrong with a node or a cluster, even if nothing has failed yet. Each check has the words for what it finds and
 * the commands that repair it. Checks are pure: facts in, faults out. `observeNode` and `readCluster` read the facts; they
 * change nothing and start no process.
 *
 * The module repairs nothing, and it does not read the agent's records: its caller passes the Pods and networks. It imports
 * earlier modules only. The agent imports it for its node, the command line for the cluster and for a node without agent.
 */
export { type Finding, fixOnOneLine, runChecks } from "./check.ts";
export { clusterChecks } from "./cluster/checks.ts";
export { readCluster } from "./cluster/read.ts";
export { readVersions, type Versions } from "./cluster/versions.ts";
export { eventOf, findingOfEvent } from "./events.ts";
export {
  type Disagreement,
  type DisagreementJson,
  type FaultKind,
  faultKinds,
  parseDisagreement,
} from "./faults/disagreement.ts";
export { eventOfFault, faultOfEvent } from "./faults/events.ts";
export { type FaultFacts, nodeFaults, type SandboxFact } from "./faults/node.ts";
export { nodeChecks } from "./node/checks.ts";
export { bridgesOf, type NetworkFacts, type PodFacts, type PodNic } from "./node/facts.ts";
export { nodePaths, type ObserveOptions, observeGateways, observeNode, observeRivals } from "./observe/observe.ts";
export { doctorPage } from "./page.ts";
export { type NicPath, observePaths } from "./path.ts";
export { eventTimeMs, lastFailure, type Told } from "./told.ts";
