import { isTerminating } from "../rules/defaults.ts";
import { checkValue } from "../rules/selector.ts";
import type { Submitted } from "../submitted.ts";
import { injectionKeys, lastApplied, tryParseJson } from "./typed.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

type Ippools = NonNullable<SpiderMultusConfigSpec["macvlan"]>["ippools"];

/** Annotations that are copied to labels, so that networks can be listed by them. */
const selectable: readonly string[] = injectionKeys;

const pools = (ippools: Ippools) => ({ ipv4: [], ipv6: [], ...ippools });

/**
 * Fills in defaults at every create and update, but only where a value means the same as its absence. So `ovs.vlan` (0 is access
 * VLAN 0, absent is a trunk) and the coordinator's fields (absent ones are inherited from the SpiderCoordinator) stay as they
 * are. `old` is the stored object, for an update.
 */
export function defaultMultusConfig(config: SpiderMultusConfig, old?: SpiderMultusConfig): SpiderMultusConfig;
export function defaultMultusConfig(
  config: Submitted<SpiderMultusConfig>,
  old?: SpiderMultusConfig,
): Submitted<SpiderMultusConfig>;
export function defaultMultusConfig(
  config: Submitted<SpiderMultusConfig>,
  old?: SpiderMultusConfig,
): Submitted<SpiderMultusConfig> {
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
        : { ...(coordinator && { coordinator }), ...(old && coordinatorSwitch(config, old)) }),
    },
  };
}

/**
 * Custom networks have no coordinator, so an earlier admission wrote `enableCoordinator: false` into them. A user who turns one
 * into a typed network (the empty default network, for instance) did not ask for that: it counts only if the user wrote it.
 */
function coordinatorSwitch({ metadata, spec }: Submitted<SpiderMultusConfig>, old: SpiderMultusConfig) {
  const inherited = (old.spec.cniType ?? "custom") === "custom" && old.spec.enableCoordinator === false;
  if (!inherited || spec.enableCoordinator !== false || saysCoordinator(metadata)) return {};
  return { enableCoordinator: true };
}

/** Whether the user's own manifest has `enableCoordinator`, as client-side or server-side apply record it. */
function saysCoordinator(metadata: Submitted<SpiderMultusConfig>["metadata"] & { readonly managedFields?: unknown }) {
  const applied = tryParseJson(metadata.annotations?.[lastApplied] ?? "");
  const managers = Array.isArray(metadata.managedFields) ? metadata.managedFields : [];
  return (
    at(applied, "spec", "enableCoordinator") !== undefined ||
    managers.some(
      (manager: unknown) =>
        at(manager, "operation") === "Apply" && at(manager, "fieldsV1", "f:spec", "f:enableCoordinator") !== undefined,
    )
  );
}

function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (object, key) => (typeof object === "object" && object !== null ? Reflect.get(object, key) : undefined),
    value,
  );
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

/** The labels, with every label of `selectable` equal to its annotation, or absent if the annotation is. */
function labelsOf({ labels, annotations: given }: Submitted<SpiderMultusConfig>["metadata"]) {
  const kept = Object.entries(labels ?? {}).filter(([key]) => !selectable.includes(key));
  // Values that no label may have are left to validation, whose message names the annotation.
  const copied = Object.entries(given ?? {}).filter(
    ([key, value]) => selectable.includes(key) && checkValue(key, value).length === 0,
  );
  return labels === undefined && copied.length === 0 ? {} : { labels: Object.fromEntries([...kept, ...copied]) };
}
