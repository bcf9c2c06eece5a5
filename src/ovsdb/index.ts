/**
 * Open vSwitch's configuration database: one connection, a live picture of bridges and ports, and the two transactions
 * that a Pod needs (attach its port to a bridge, take it off again).
 *
 * It does not create or configure bridges, uplinks, flows or mirrors, never touches a port that it does not own
 * (external_ids:owner), and knows neither links nor Pods. Imports only base. The agent and the plugins may import it.
 */
export { createOvs, type OvsOptions } from "./client.ts";
export { isEndpoint } from "./endpoint.ts";
export {
  type BridgeInfo,
  type Ovs,
  type OvsPort,
  type OvsState,
  type PortOwner,
  type PortSpec,
  portOwnerTag,
  type Vlan,
} from "./types.ts";
