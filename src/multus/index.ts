/**
 * Which networks a Pod gets, as the meta-plugin decides it: annotations and references resolved into an ordered list of
 * delegates, what each delegate is called with, who holds the default routes, and the network-status text. Pure: it reads
 * no file and no API, executes nothing and knows no plugin; the agent does. Imports ip, base and cni; plugins, agent,
 * controller and ctl may import it.
 */
export { assignDevices, planDelegates } from "./delegates.ts";
export { deviceInfoCapability, deviceInfoFile, devicePluginFile } from "./device-info.ts";
export { addedInterfaceMessage, addFailure, capabilityArgs, delegateArgs } from "./execute.ts";
export { clusterNetworkKey, netAttachDefOf, slotOf } from "./net-attach-def.ts";
export { networkNotFound, type Resolved, resolveReference, resolveSelection } from "./resolve.ts";
export { applyDefaultRoutes, type DefaultRoutePlan, isDefault, planDefaultRoutes } from "./routes.ts";
export { defaultNetworkAnnotation, networksAnnotation, parseDefaultNetwork, parseNetworks } from "./selection.ts";
export { decodeSettings, type MultusSettings } from "./settings.ts";
export { type Attached, addressesOfStatus, formatNetworkStatus, networkStatusAnnotation } from "./status.ts";
export type { ConfigSource, Delegate, Nad, NetworkSelection } from "./types.ts";
