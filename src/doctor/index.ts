/**
 * What is wrong with a node or a cluster although nothing failed yet: one table of checks, each with the words for what it
 * finds and the commands that mend it. A check is pure: facts in, faults out; facts are read by `observeNode` and
 * `readCluster`, which change nothing and start no process.
 *
 * It will not mend anything, and it doesn't know the agent's own records: whoever asks passes what is to be known of Pods
 * and networks. Imports the modules before it. The agent (of its node) and the command line (of the cluster, and of a node
 * without agent) import it.
 */
export { type Check, type Finding, fixOnOneLine, runChecks } from "./check.ts";
export { clusterChecks } from "./cluster/checks.ts";
export type { ClusterFacts } from "./cluster/facts.ts";
export { readCluster } from "./cluster/read.ts";
export { eventOf, findingOfEvent, publishedMsMax } from "./events.ts";
export {
  type Disagreement,
  type DisagreementJson,
  type Fact,
  type FaultKind,
  faultKinds,
  parseDisagreement,
} from "./faults/disagreement.ts";
export { eventOfFault, faultOfEvent } from "./faults/events.ts";
export { type FaultFacts, nodeFaults, type SandboxFact } from "./faults/node.ts";
export { nodeChecks } from "./node/checks.ts";
export { bridgesOf, type NetworkFacts, type NodeFacts, type PodFacts, type PodNic } from "./node/facts.ts";
export {
  type NodePaths,
  nodePaths,
  type ObserveOptions,
  observeGateways,
  observeNode,
  observeRivals,
} from "./observe/observe.ts";
export { doctorPage } from "./page.ts";
export { type NicPath, observePaths } from "./path.ts";
export { eventTimeMs, lastFailure, type Told } from "./told.ts";
