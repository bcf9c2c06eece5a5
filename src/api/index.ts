/**
 * The objects of our API and its configuration: types, resources, defaults and rules of each kind, the rendering of networks
 * and the decoding of conf.yml. Pure: plain data in, plain data out.
 *
 * It will not read or write objects, and holds no schema at run time: TypeBox schemas (`<kind>/schema.ts`) become the CRDs of
 * the chart and, in the compiler only, the types here. Imports #ip, #base and types of #kube; every module after it may import it.
 */
export {
  type CoordinatorOverrides,
  type SpiderCoordinator,
  type SpiderCoordinatorSpec,
  type SpiderCoordinatorStatus,
  spiderCoordinators,
} from "./coordinator/types.ts";
export {
  type SpiderEndpoint,
  type SpiderEndpointIp,
  type SpiderEndpointStatus,
  spiderEndpoints,
} from "./endpoint/types.ts";
export { apiGroup, apiVersion, finalizer } from "./group.ts";
export {
  type ClaimPurpose,
  type SpiderIPAddress,
  type SpiderIPAddressSpec,
  spiderIPAddresses,
} from "./ipaddress/types.ts";
export {
  type AllocatedIPs,
  type SpiderIPPool,
  type SpiderIPPoolSpec,
  type SpiderIPPoolStatus,
  spiderIPPools,
} from "./ippool/types.ts";
export {
  type CniType,
  type SpiderMultusConfig,
  type SpiderMultusConfigSpec,
  spiderMultusConfigs,
} from "./multusconfig/types.ts";
export { type NetworkAttachmentDefinition, networkAttachmentDefinitions } from "./network/types.ts";
export { type SpiderPoolUsage, type SpiderPoolUsageSpec, spiderPoolUsages } from "./poolusage/types.ts";
export { type SpiderReservedIP, type SpiderReservedIPSpec, spiderReservedIPs } from "./reservedip/types.ts";
export type { LabelSelector } from "./schema/fields.ts";
export {
  type ControlledIPPools,
  type SpiderSubnet,
  type SpiderSubnetSpec,
  type SpiderSubnetStatus,
  spiderSubnets,
} from "./subnet/types.ts";
