/**
 * The decisions of address management: which pools a NIC may use, and why not the others (`decide`); which address to try next
 * (`Chooser`); what the annotations say; how SpiderSubnets are divided (`planSubnet`). The module is pure: plain data in, plain
 * data out, time is an argument. It alone words the sentences that users read about a decision (`formatVerdict`, `Outcome`).
 *
 * It does not read or write objects, wait or log, and it remembers nothing about Pods. It imports #ip, #base, #api, #cni and
 * kinds of #kube. The ledger, the agent, the controller and the command line import it.
 */

export {
  annotationKeys,
  parseIppoolAnnotation,
  parseIppoolsAnnotation,
  parseNamespaceDefaults,
  parseRoutesAnnotation,
  routesAskedBy,
} from "./annotations.ts";
export { autoPoolLabels, autoPoolName } from "./auto-pools.ts";
export { judge, type Rejection, rejectionsOf } from "./checks.ts";
export { type Choice, Chooser, type Evidence, type UsageSnapshot } from "./choice.ts";
export { formatExhausted, formatShortage, type SetAside, type Shortage } from "./exhausted.ts";
export { formatVerdict } from "./format.ts";
export { asksForOwner, masterOf, networkPools, selectionFacts } from "./input.ts";
export { outOfScope } from "./namespace-scope.ts";
export { type PoolView, poolView } from "./pool.ts";
export { type Addressed, attachRoutes, type Route, routesOf, unmatchedRoutes } from "./routes.ts";
export { type Decision, decide, refuseRepeated, type SelectionInput } from "./select.ts";
export { parseSubnetAnnotations, subnetAnnotationKeys } from "./subnet-annotations.ts";
export { type Demand, type Demands, subjectOfDemand } from "./subnets/demands.ts";
export {
  type PoolAction,
  type PoolParts,
  planSubnet,
  type SubnetFacts,
  type SubnetPlan,
  type Unmet,
} from "./subnets/plan.ts";
export {
  demandsOfWorkload,
  ownerStateOf,
  unusableFor,
  type WorkloadKind,
  type WorkloadObject,
  workloadKindOf,
  workloadKinds,
} from "./subnets/workloads.ts";
