/**
 * The kinds of our API and the configuration: types, resources, defaults and rules of each kind, rendering of networks, and
 * decoding of conf.yml. Pure: plain data in, plain data out.
 *
 * It does not read or write objects, and has no schema at run time: TypeBox schemas (`<kind>/schema.ts`) become the chart's CRDs
 * and, in the compiler only, the types here. Imports #ip, #base and types of #kube; every later module may import it.
 */
export { annotations, bridgeResourcePrefix, uninstallAnnotation } from "./annotations.ts";
export { completeUid, doneInPart, isLost, isTakeOver, lostToken, partlyLost, takeOverToken } from "./closure.ts";
export { decodeSettings, type Settings } from "./config.ts";
export { coordinatorDefaults, defaultCoordinator } from "./coordinator/defaults.ts";
export { coordinatorRules, linkMtuMin, validateCoordinator } from "./coordinator/rules.ts";
export {
  type SpiderCoordinator,
  type SpiderCoordinatorSpec,
  type SpiderCoordinatorStatus,
  spiderCoordinators,
} from "./coordinator/types.ts";
export { readDoubts, writeDoubts } from "./doubts.ts";
export { type SpiderEndpoint, type SpiderEndpointIp, spiderEndpoints } from "./endpoint/types.ts";
export { apiGroup, apiVersion, finalizer } from "./group.ts";
export { type SpiderIPAddress, type SpiderIPAddressSpec, spiderIPAddresses } from "./ipaddress/types.ts";
export { defaultPool, linkToSubnet, subnetNameOf } from "./ippool/defaults.ts";
export {
  isAutoPool,
  isPoolRefusedByCel,
  type PoolContext,
  poolRules,
  removedAddresses,
  validatePool,
} from "./ippool/rules.ts";
export { type SpiderIPPool, type SpiderIPPoolSpec, type SpiderIPPoolStatus, spiderIPPools } from "./ippool/types.ts";
export { labels, labelValue, programSelector } from "./labels.ts";
export { defaultMultusConfig } from "./multusconfig/defaults.ts";
export { renderNetwork } from "./multusconfig/render.ts";
export { checkInjection, multusConfigRules, validateMultusConfig, warnOfMultusConfig } from "./multusconfig/rules.ts";
export {
  type InjectionKey,
  injectedResource,
  injectionKeys,
  injectionOrder,
  networkNameOf,
} from "./multusconfig/typed.ts";
export { type SpiderMultusConfig, type SpiderMultusConfigSpec, spiderMultusConfigs } from "./multusconfig/types.ts";
export { ignoredKeys, ignoredKeysOfNetwork, tellIgnoredKeys } from "./network/ignored-keys.ts";
export { type NetworkAttachmentDefinition, networkAttachmentDefinitions } from "./network/types.ts";
export { type SpiderPoolUsage, type SpiderPoolUsageSpec, spiderPoolUsages } from "./poolusage/types.ts";
export { defaultReservedIp } from "./reservedip/defaults.ts";
export { reservedIpRules, validateReservedIp } from "./reservedip/rules.ts";
export { type SpiderReservedIP, spiderReservedIPs } from "./reservedip/types.ts";
export { AddressIndex, filtered, type Neighbours } from "./rules/address-index.ts";
export { effectiveSet, familyOf, warnOfAddresses } from "./rules/addresses.ts";
export { deletionRefusal, isDeletionGuarded } from "./rules/deletion.ts";
export { trySetOf } from "./rules/elements.ts";
export { causeReasons, formatReason, formatViolation, type Violation } from "./rules/violation.ts";
export type { LabelSelector } from "./schema/fields.ts";
export type { Submitted } from "./submitted.ts";
export {
  type ApplicationName,
  applicationKey,
  formatControlledIPPools,
  parseApplicationKey,
  parseControlledIPPools,
} from "./subnet/controlled.ts";
export { defaultSubnet } from "./subnet/defaults.ts";
export { isSubnetRefusedByCel, subnetRules, validateSubnet } from "./subnet/rules.ts";
export { type ControlledIPPools, type SpiderSubnet, type SpiderSubnetSpec, spiderSubnets } from "./subnet/types.ts";
