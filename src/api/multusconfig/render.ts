import { isJsonObject, SpiderError } from "#base";
import type { Draft } from "#kube";
import { annotations } from "../annotations.ts";
import type { CoordinatorOverrides } from "../coordinator/types.ts";
import { apiGroup, apiVersion } from "../group.ts";
import type { NetworkAttachmentDefinition } from "../network/types.ts";
import { lastApplied, type MasterNetwork, masterNetwork, networkNameOf } from "./typed.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

/** An object ready to be created, with its name. */
type RenderedNetwork = Draft<NetworkAttachmentDefinition> & { readonly metadata: { readonly name: string } };

type Plugin = Readonly<Record<string, unknown>>;

const defaultCniVersion = "0.3.1";

/**
 * Renders the NetworkAttachmentDefinition of an admitted SpiderMultusConfig. The same object gives the same text, byte for byte,
 * so a difference means that somebody changed one of the two. Throws SpiderError `MULTUS_CONFIG_INVALID` if the block that
 * `cniType` names is missing, or text that must be JSON is not.
 */
export function renderNetwork(config: SpiderMultusConfig): RenderedNetwork {
  const { name, namespace, uid } = config.metadata;
  const text = renderConfig(config);
  const owner = { apiVersion: `${apiGroup}/${apiVersion}`, kind: "SpiderMultusConfig", name, uid };
  return {
    metadata: {
      name: networkNameOf(config) ?? name,
      ...(namespace !== undefined && { namespace }),
      annotations: renderAnnotations(config),
      ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: true }],
    },
    spec: text === "" ? {} : { config: text },
  };
}

function renderAnnotations({ metadata, spec }: SpiderMultusConfig): Readonly<Record<string, string>> {
  // A copy of it would confuse `kubectl apply` of the network.
  const { [lastApplied]: _, ...copied } = metadata.annotations ?? {};
  const resource = advertisedResource(spec);
  return resource === undefined ? copied : { ...copied, [annotations.resourceName]: resource };
}

/** The resource that a Pod on the network must request, if the network gives the Pod a device. */
function advertisedResource({ cniType, sriov, ibsriov, ovs }: SpiderMultusConfigSpec): string | undefined {
  if (cniType === "sriov") return sriov?.resourceName;
  if (cniType === "ib-sriov") return ibsriov?.resourceName;
  return cniType === "ovs" && ovs?.deviceID ? `ovs-cni.network.kubevirt.io/${ovs.bridge}` : undefined;
}

function renderConfig(config: SpiderMultusConfig): string {
  const { cniType = "custom", customCNI = "" } = config.spec;
  if (cniType === "custom") return customCNI;
  const notes = config.metadata.annotations ?? {};
  return JSON.stringify({
    cniVersion: notes[annotations.cniVersion] ?? defaultCniVersion,
    name: notes[annotations.cniConfigName] ?? networkNameOf(config),
    plugins: renderPlugins(config),
  });
}

function renderPlugins(config: SpiderMultusConfig): readonly Plugin[] {
  const { cniType, sriov, chainCNIJsonData = [], enableCoordinator = true, coordinator } = config.spec;
  const own = cniType === "sriov" ? sriov : undefined;
  return [
    ...renderIfacer(config.spec),
    renderMain(config),
    ...(own?.rdmaIsolation ? [{ type: "rdma" }] : []),
    ...chainCNIJsonData.map((text, index) => sortedJson(config, `spec.chainCNIJsonData[${index}]`, text)),
    ...(enableCoordinator ? [renderCoordinator(coordinator)] : []),
    // Last, because a later plugin would set the MTU again.
    ...(own?.mtu ? [{ type: "tuning", mtu: own.mtu }] : []),
  ];
}

/** The plugin that makes the node's VLAN interface or bond below the Pod's NIC. The vlan plugin makes its VLAN itself. */
function renderIfacer(spec: SpiderMultusConfigSpec): readonly Plugin[] {
  const [, network] = masterNetwork(spec) ?? [];
  if (network === undefined) return [];
  const vlanId = spec.cniType === "vlan" ? 0 : (network.vlanID ?? 0);
  if (vlanId === 0 && network.master.length < 2) return [];
  const { bond } = network;
  return [
    {
      ...(vlanId !== 0 && { vlanID: vlanId }),
      type: "ifacer",
      interfaces: network.master,
      ...(bond && { bond: compact({ name: bond.name, mode: bond.mode, options: bond.options }) }),
    },
  ];
}

/** The plugin that makes the Pod's NIC, with keys in the order of former versions. */
function renderMain(config: SpiderMultusConfig): Plugin {
  const { spec } = config;
  const { cniType, macvlan, ipvlan, vlan, sriov, ibsriov, ipoib, ovs } = spec;
  const ipam = (network: Pooled) => renderIpam(spec, network.ippools);
  switch (cniType) {
    case "macvlan":
      if (!macvlan) break;
      return compact({
        type: "macvlan",
        master: onVlan(macvlan),
        mode: "bridge",
        mtu: macvlan.mtu,
        ipam: ipam(macvlan),
      });
    case "ipvlan":
      if (!ipvlan) break;
      return compact({ type: "ipvlan", master: onVlan(ipvlan), mtu: ipvlan.mtu, ipam: ipam(ipvlan) });
    case "vlan": {
      if (!vlan) break;
      const { vlanMode = "manual", vlanID, mtu } = vlan;
      const vlanId = vlanMode === "manual" ? vlanID : undefined;
      return compact({ type: "vlan", master: masterOf(vlan), vlanMode, vlanId, mtu, ipam: ipam(vlan) });
    }
    case "sriov":
      if (!sriov) break;
      return compact({
        vlan: sriov.vlanID,
        min_tx_rate: sriov.minTxRateMbps,
        max_tx_rate: sriov.maxTxRateMbps,
        type: "sriov",
        ipam: ipam(sriov),
      });
    case "ib-sriov":
      if (!ibsriov) break;
      return compact({
        type: "ib-sriov",
        pkey: ibsriov.pkey,
        link_state: ibsriov.linkState,
        rdmaIsolation: ibsriov.rdmaIsolation,
        ibKubernetesEnabled: ibsriov.enableIbKubernetes,
        ipam: ipam(ibsriov),
      });
    case "ipoib":
      if (!ipoib) break;
      return compact({ type: "ipoib", master: ipoib.master, ipam: ipam(ipoib) });
    case "ovs":
      if (!ovs) break;
      return compact({
        vlan: ovs.vlan,
        type: "ovs",
        bridge: ovs.bridge,
        deviceID: ovs.deviceID || undefined,
        ipam: ipam(ovs),
        trunk: ovs.trunk?.length ? ovs.trunk.map(({ minID, maxID, id }) => compact({ minID, maxID, id })) : undefined,
      });
  }
  throw invalidConfig(config, "spec.cniType", `the object of ${cniType} is missing`);
}

type Pooled = Pick<NonNullable<SpiderMultusConfigSpec["sriov"]>, "ippools">;

/** Our IPAM with the network's pools; absent if the network has no addresses. */
function renderIpam({ cniType, disableIPAM }: SpiderMultusConfigSpec, ippools: Pooled["ippools"]): Plugin | undefined {
  if (disableIPAM) return undefined;
  const { ipv4 = [], ipv6 = [], matchMasterSubnet = false } = ippools ?? {};
  return {
    type: "spiderpool",
    ...(ipv4.length > 0 && { default_ipv4_ippool: ipv4 }),
    ...(ipv6.length > 0 && { default_ipv6_ippool: ipv6 }),
    ...(matchMasterSubnet && cniType === "sriov" && { match_master_subnet: true }),
  };
}

/** Only fields that the user set: all others come from the SpiderCoordinator when a Pod starts. */
function renderCoordinator(spec: CoordinatorOverrides = {}): Plugin {
  const { hijackCIDR = [], policyRoutes = [] } = spec;
  return compact({
    txQueueLen: spec.txQueueLen,
    vethLinkAddress: spec.vethLinkAddress || undefined,
    vethMTU: spec.vethMTU,
    tunePodRoutes: spec.tunePodRoutes,
    podMACPrefix: spec.podMACPrefix || undefined,
    mode: spec.mode,
    type: "coordinator",
    podDefaultRouteNic: spec.podDefaultRouteNIC || undefined,
    podRPFilter: spec.podRPFilter,
    hijackCIDR: hijackCIDR.length > 0 ? hijackCIDR : undefined,
    policyRoutes: policyRoutes.length > 0 ? policyRoutes.map(({ dst, gw }) => ({ dst, gw })) : undefined,
  });
}

/** The parent interface of macvlan and ipvlan: master or bond, or the VLAN interface that ifacer makes on it. */
function onVlan(network: MasterNetwork): string {
  const { vlanID = 0 } = network;
  return vlanID === 0 ? masterOf(network) : `${masterOf(network)}.${vlanID}`;
}

function masterOf({ master, bond }: MasterNetwork): string {
  return (master.length > 1 ? bond?.name : master[0]) ?? "";
}

/** Removes keys without a value, keeping the order. */
function compact(plugin: Plugin): Plugin {
  return Object.fromEntries(Object.entries(plugin).filter(([, value]) => value !== undefined));
}

function sortedJson(config: SpiderMultusConfig, field: string, text: string): Plugin {
  try {
    return JSON.parse(text, (_key, value: unknown) =>
      isJsonObject(value) ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))) : value,
    ) as Plugin;
  } catch (error) {
    throw invalidConfig(config, field, "it is not JSON", error);
  }
}

function invalidConfig({ metadata }: SpiderMultusConfig, field: string, reason: string, cause?: unknown): SpiderError {
  return new SpiderError("MULTUS_CONFIG_INVALID", "a SpiderMultusConfig cannot be rendered", {
    details: { namespace: metadata.namespace, name: metadata.name, field, reason },
    cause,
  });
}
