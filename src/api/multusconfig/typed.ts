import { annotations } from "../annotations.ts";
import type { Submitted } from "../submitted.ts";
import type { CniType, SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

/** kubectl's own note on an object: the text that was applied. */
export const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** The property of `spec` that describes a network of each type; custom is described by JSON text. */
export const typedProperties = {
  macvlan: "macvlan",
  ipvlan: "ipvlan",
  vlan: "vlan",
  sriov: "sriov",
  ovs: "ovs",
  "ib-sriov": "ibsriov",
  ipoib: "ipoib",
} as const satisfies Readonly<Record<Exclude<CniType, "custom">, keyof SpiderMultusConfigSpec>>;

/** macvlan, ipvlan and vlan: made on top of one interface of the node, or of several joined in a bond. */
export type MasterNetwork = NonNullable<SpiderMultusConfigSpec["macvlan" | "ipvlan" | "vlan"]>;

/** The network of a type with masters, and its path. */
export function masterNetwork(spec: SpiderMultusConfigSpec): readonly [string, MasterNetwork] | undefined {
  const { cniType } = spec;
  if (cniType !== "macvlan" && cniType !== "ipvlan" && cniType !== "vlan") return undefined;
  const network = spec[cniType];
  return network && [`spec.${cniType}`, network];
}

/** The description that belongs to `cniType`; undefined for custom, and where it is missing. */
export function typedNetwork(spec: SpiderMultusConfigSpec) {
  const { cniType = "custom" } = spec;
  return cniType === "custom" ? undefined : spec[typedProperties[cniType]];
}

/** The resource that Pods on the network ask for; empty where there is none. The master's name stands for it in ipoib. */
export function resourceOf(spec: SpiderMultusConfigSpec): string {
  const { cniType, sriov, ibsriov, ipoib } = spec;
  if (cniType === "sriov") return sriov?.resourceName ?? "";
  if (cniType === "ib-sriov") return ibsriov?.resourceName ?? "";
  if (cniType === "ipoib") return ipoib?.master ?? "";
  return masterNetwork(spec)?.[1].rdmaResourceName ?? "";
}

/** The annotations by which Pods get networks injected; the first that has a value counts. They are labels of networks, too. */
export const injectionKeys = [annotations.rdmaResourceInject, annotations.networkResourceInject] as const;
/** An annotation by whose value a Pod asks for all networks that have it. */
export type InjectionKey = (typeof injectionKeys)[number];

/** The resource that is injected into Pods of the network: `resourceOf`, but a master is none. Undefined where there is none. */
export function injectedResource(spec: SpiderMultusConfigSpec): string | undefined {
  return spec.cniType === "ipoib" ? undefined : resourceOf(spec) || undefined;
}

/** By which networks of one injection are put in order: bond, first master, or resource; empty where there is none. */
export function injectionOrder(spec: SpiderMultusConfigSpec): string {
  const [, network] = masterNetwork(spec) ?? [];
  if (network === undefined) return resourceOf(spec);
  return (network.master.length > 1 ? network.bond?.name : network.master[0]) ?? "";
}

/** The name of the NetworkAttachmentDefinition that the object is rendered into; undefined where the object has no name yet. */
export function networkNameOf({ metadata }: Submitted<SpiderMultusConfig>): string | undefined {
  return metadata.annotations?.[annotations.networkName] ?? metadata.name;
}

/** undefined: it is not JSON. */
export function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
