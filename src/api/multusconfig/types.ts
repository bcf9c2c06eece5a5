import type { KubeObject, Resource } from "#kube";
import type { CoordinatorSpec } from "../coordinator/types.ts";
import { ours } from "../group.ts";

/** A typed front of a NetworkAttachmentDefinition: the controller renders one from it. */
export interface SpiderMultusConfig extends KubeObject {
  readonly spec: SpiderMultusConfigSpec;
}

export const cniTypes = ["macvlan", "ipvlan", "vlan", "sriov", "ovs", "ib-sriov", "ipoib", "custom"] as const;
export type CniType = (typeof cniTypes)[number];

export interface SpiderMultusConfigSpec {
  readonly cniType?: CniType;
  readonly macvlan?: MasterConfig;
  readonly ipvlan?: MasterConfig;
  readonly vlan?: MasterConfig & { readonly vlanMode?: "manual" | "auto" };
  readonly sriov?: SriovConfig;
  readonly ovs?: OvsConfigSpec;
  readonly ibsriov?: IbSriovConfig;
  readonly ipoib?: { readonly master: string; readonly ippools?: IppoolNames };
  /** JSON text; may be empty. */
  readonly customCNI?: string;
  readonly enableCoordinator?: boolean;
  readonly disableIPAM?: boolean;
  readonly coordinator?: CoordinatorSpec;
  /** JSON texts of plugin objects. */
  readonly chainCNIJsonData?: readonly string[];
}

export interface IppoolNames {
  readonly ipv4?: readonly string[];
  readonly ipv6?: readonly string[];
  readonly matchMasterSubnet?: boolean;
}

export interface BondConfig {
  readonly name: string;
  readonly mode: number;
  readonly options?: string;
}

export interface MasterConfig {
  readonly master: readonly string[];
  readonly mtu?: number;
  readonly vlanID?: number;
  readonly bond?: BondConfig;
  readonly rdmaResourceName?: string;
  readonly ippools?: IppoolNames;
}

export interface SriovConfig {
  readonly resourceName?: string;
  readonly vlanID?: number;
  readonly mtu?: number;
  readonly minTxRateMbps?: number;
  readonly maxTxRateMbps?: number;
  readonly rdmaIsolation?: boolean;
  readonly ippools?: IppoolNames;
}

export interface IbSriovConfig {
  readonly resourceName?: string;
  readonly pkey?: string;
  readonly linkState?: "auto" | "enable" | "disable";
  readonly rdmaIsolation?: boolean;
  readonly enableIbKubernetes?: boolean;
  readonly ippools?: IppoolNames;
}

export interface OvsConfigSpec {
  readonly bridge: string;
  readonly vlan?: number;
  readonly trunk?: readonly { readonly minID?: number; readonly maxID?: number; readonly id?: number }[];
  readonly deviceID?: string;
  readonly ippools?: IppoolNames;
}

export const spiderMultusConfigs: Resource<SpiderMultusConfig> = ours(
  "spidermultusconfigs",
  "SpiderMultusConfig",
  true,
);
