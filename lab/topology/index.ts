/**
 * The lab's machines and wires: nodes as namespaces with an Open vSwitch of their own, a management network, and the
 * switch with its gateway. Everything is made inside the caller's namespaces, which must be the lab's own, and vanishes with
 * them: nothing here is written to the host's file system and no link is made in its network.
 *
 * It knows nothing of Kubernetes or of the product. May be imported by anything under `lab/`, by `bench/` and by tests.
 */
export { createBridges } from "./bridges.ts";
export { run } from "./command.ts";
export { enterLab, labNamespaces } from "./isolation.ts";
export { createNetworks, managementGateway, type Networks, type NodePlan, nodePlan, nodesMax } from "./networks.ts";
export {
  forkedChild,
  type LabNode,
  type NodeProcess,
  type NodeProgram,
  spawnProgram,
  startNode,
} from "./node.ts";
export { createDatabase, startOpenVswitch } from "./openvswitch.ts";
