/**
 * Open vSwitch's configuration database: one connection, a live picture of bridges, ports and mirrors, and the transactions
 * that a Pod needs: attach its port to a bridge (which is made where that is asked for), give the port its part in a mirror,
 * and take both back.
 *
 * It does not configure bridges, uplinks or flows, never touches a port or a mirror that it does not own
 * (external_ids:owner), and knows neither links nor Pods. Imports only base. The plugins, the doctor, the agent and
 * the command line (on a node without agent) may import it.
 */
export { createOvs } from "./client.ts";
export { isEndpoint } from "./endpoint.ts";
export { hasRole } from "./mirrors.ts";
export {
  type BridgeInfo,
  type DatapathType,
  type MirrorRole,
  type Ovs,
  type OvsPort,
  type OvsState,
  type PortSpec,
  portOwnerTag,
  type Vlan,
} from "./types.ts";
