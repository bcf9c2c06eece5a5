import { annotations } from "../annotations.ts";
import type { Submitted } from "../submitted.ts";
import type { CniType, SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

/** kubectl's annotation with the manifest that was last applied. */
export const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** The block in `spec` for each type of network. Custom has none: it is JSON text. */
export const typedProperties = {
  macvlan: "macvlan",
  ipvlan: "ipvlan",
  vlan: "vlan",
  sriov: "sriov",
  ovs: "ovs",
  "ib-sriov": "ibsriov",
  ipoib: "ipoib",
} as const satisfies Readonly<Record<Exclude<CniType, "custom">, keyof SpiderMultusConfigSpec>>;

/** macvlan, ipvlan and vlan: made on one interface of the node, or on a bond of several. */
export type MasterNetwork = NonNullable<SpiderMultusConfigSpec["macvlan" | "ipvlan" | "vlan"]>;

/** The block of a type with masters, and its path. */
export function masterNetwork(spec: SpiderMultusConfigSpec): readonly [string, MasterNetwork] | undefined {
  const { cniType } = spec;
  if (cniType !== "macvlan" && cniType !== "ipvlan" && cniType !== "vlan") return undefined;
  const network = spec[cniType];
  return network && [`spec.${cniType}`, network];
}

/** The block that belongs to `cniType`; undefined for custom, and if it is missing. */
export function typedNetwork(spec: SpiderMultusConfigSpec) {
  const { cniType = "custom" } = spec;
  return cniType === "custom" ? undefined : spec[typedProperties[cniType]];
}

/** The resource that Pods on the network request; empty if there is none. For ipoib it is the master's name. */
export function resourceOf(spec: SpiderMultusConfigSpec): string {
  const { cniType, sriov, ibsriov, ipoib } = spec;
  if (cniType === "sriov") return sriov?.resourceName ?? "";
  if (cniType === "ib-sriov") return ibsriov?.resourceName ?? "";
  if (cniType === "ipoib") return ipoib?.master ?? "";
  return masterNetwork(spec)?.[1].rdmaResourceName ?? "";
}

/** The annotations that inject networks into Pods; the first that has a value counts. Networks also have them as labels. */
export const injectionKeys = [annotations.rdmaResourceInject, annotations.networkResourceInject] as const;
/** An annotation by which a Pod requests all networks with the same value. */
export type InjectionKey = (typeof injectionKeys)[number];

/** The resource injected into Pods of the network: that of `resourceOf`, except a master's name. Undefined if there is none. */
export function injectedResource(spec: SpiderMultusConfigSpec): string | undefined {
  return spec.cniType === "ipoib" ? undefined : resourceOf(spec) || undefined;
}

/** The sort key of networks in one injection: bond, first master, or resource; empty if there is none. */
export function injectionOrder(spec: SpiderMultusConfigSpec): string {
  const [, network] = masterNetwork(spec) ?? [];
  if (network === undefined) return resourceOf(spec);
  return (network.master.length > 1 ? network.bond?.name : network.master[0]) ?? "";
}

/** The name of the NetworkAttachmentDefinition into which the object is rendered; undefined if the object has no name yet. */
export function networkNameOf({ metadata }: Submitted<SpiderMultusConfig>): string | undefined {
  return metadata.annotations?.[annotations.networkName] ?? metadata.name;
}

/** The parsed text; undefined if it is not JSON. */
export function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
