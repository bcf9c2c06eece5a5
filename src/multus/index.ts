/**
 * Which networks a Pod gets, as a meta-plugin decides it: resolves annotations and references into an ordered list of
 * delegates, says what each delegate is called with and which network has the default routes, and formats network-status.
 * The module is pure: the agent reads the files and the API for it, and executes the plugins. It imports api, ip and cni; the
 * doctor, the agent and the command line may import it.
 */
export { assignDevices, planDelegates } from "./delegates.ts";
export { deviceInfoCapability, deviceInfoFile, devicePluginFile } from "./device-info.ts";
export {
  addedInterfaceMessage,
  addFailure,
  addressNotGivenMessage,
  capabilityArgs,
  delegateArgs,
  withoutAddFailure,
} from "./execute.ts";
export { clusterNetworkKey, netAttachDefOf, slotOf } from "./net-attach-def.ts";
export { networkNotFound, resolveSelection } from "./resolve.ts";
export { applyDefaultRoutes, type DefaultRoutePlan, planDefaultRoutes } from "./routes.ts";
export {
  defaultNetworkAnnotation,
  networksAnnotation,
  nicNameOf,
  parseDefaultNetwork,
  parseNetworks,
} from "./selection.ts";
export { decodeSettings, type MultusSettings } from "./settings.ts";
export { type Attached, addressesOfStatus, formatNetworkStatus, networkStatusAnnotation } from "./status.ts";
export type { ConfigSource, Delegate, NetworkSelection } from "./types.ts";
