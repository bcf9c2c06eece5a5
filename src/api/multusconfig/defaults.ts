import { annotations } from "../annotations.ts";
import { isTerminating } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

type Ippools = NonNullable<SpiderMultusConfigSpec["macvlan"]>["ippools"];

/** Annotations that are also labels, so that networks can be listed by them. */
const selectable: readonly string[] = [annotations.rdmaResourceInject, annotations.networkResourceInject];

const pools = (ippools: Ippools) => ({ ipv4: [], ipv6: [], ...ippools });

/**
 * The object with what is filled in at every create and update. Only values that mean the same as their absence are filled
 * in: `ovs.vlan` (0 is the access VLAN 0, absent is a trunk) and the coordinator's fields (absent inherits from the
 * SpiderCoordinator) stay as the user left them.
 */
export function defaultMultusConfig(config: SpiderMultusConfig): SpiderMultusConfig;
export function defaultMultusConfig(config: Submitted<SpiderMultusConfig>): Submitted<SpiderMultusConfig>;
export function defaultMultusConfig(config: Submitted<SpiderMultusConfig>): Submitted<SpiderMultusConfig> {
  if (isTerminating(config)) return config;
  const { coordinator, ...spec } = config.spec;
  const { cniType = "custom" } = spec;
  return {
    ...config,
    metadata: { ...config.metadata, ...labelsOf(config.metadata) },
    spec: {
      ...spec,
      cniType,
      ...typed(spec),
      chainCNIJsonData: spec.chainCNIJsonData ?? [],
      ...(cniType === "custom"
        ? { customCNI: spec.customCNI ?? "", enableCoordinator: false }
        : coordinator && { coordinator }),
    },
  };
}

function typed({ macvlan, ipvlan, vlan, sriov, ovs, ibsriov, ipoib }: SpiderMultusConfigSpec) {
  return {
    ...(macvlan && { macvlan: withMaster(macvlan) }),
    ...(ipvlan && { ipvlan: withMaster(ipvlan) }),
    ...(vlan && { vlan: withVlanMode(vlan) }),
    ...(sriov && {
      sriov: {
        resourceName: "",
        vlanID: 0,
        mtu: 0,
        minTxRateMbps: 0,
        maxTxRateMbps: 0,
        rdmaIsolation: false,
        ...sriov,
        ippools: { matchMasterSubnet: false, ...pools(sriov.ippools) },
      },
    }),
    ...(ovs && { ovs: { ...ovs, ippools: pools(ovs.ippools) } }),
    ...(ibsriov && {
      ibsriov: {
        resourceName: "",
        pkey: "",
        linkState: "enable" as const,
        rdmaIsolation: true,
        enableIbKubernetes: false,
        ...ibsriov,
        ippools: pools(ibsriov.ippools),
      },
    }),
    ...(ipoib && { ipoib: { ...ipoib, ippools: pools(ipoib.ippools) } }),
  };
}

type Mastered = NonNullable<SpiderMultusConfigSpec["macvlan"]>;
type Vlan = NonNullable<SpiderMultusConfigSpec["vlan"]>;

function withMaster(network: Mastered): Mastered {
  return { vlanID: 0, ...masterDefaults(network) };
}

function withVlanMode(network: Vlan): Vlan {
  const { vlanMode = "manual" } = network;
  return { ...(vlanMode === "manual" && { vlanID: 0 }), ...masterDefaults(network), vlanMode };
}

function masterDefaults<N extends Mastered>(network: N): N {
  const { bond, ippools } = network;
  return {
    mtu: 0,
    rdmaResourceName: "",
    ...network,
    ...(bond && { bond: { options: "", ...bond } }),
    ippools: pools(ippools),
  };
}

/** The labels with those of `selectable` as the annotations have them, and without those that they no longer have. */
function labelsOf({ labels, annotations: given }: Submitted<SpiderMultusConfig>["metadata"]) {
  const kept = Object.entries(labels ?? {}).filter(([key]) => !selectable.includes(key));
  const copied = Object.entries(given ?? {}).filter(([key]) => selectable.includes(key));
  return labels === undefined && copied.length === 0 ? {} : { labels: Object.fromEntries([...kept, ...copied]) };
}
