/**
 * The lab's control plane besides the API server: scheduler, Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, and the
 * watch over nodes' leases. They do what examples and kubectl can tell apart from Kubernetes' own, and no more; nothing looks at
 * the schedule of CronJobs.
 *
 * Speaks only to the API. May be imported by anything under `lab/` and by tests.
 */
export { type Controllers, startControllers } from "./controllers.ts";
export { apiTime, type Happening, recordEvent } from "./events.ts";
export {
  conditionOf,
  type DaemonSet,
  type Deployment,
  type Job,
  type Lease,
  type Node,
  type Pod,
  type ReplicaSet,
  type StatefulSet,
} from "./kinds.ts";
export { Worker } from "./worker.ts";
