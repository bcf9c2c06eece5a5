import { annotations } from "../annotations.ts";
import type { Submitted } from "../submitted.ts";
import type { CniType, SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

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

/** The name of the NetworkAttachmentDefinition that the object is rendered into; undefined where the object has no name yet. */
export function networkNameOf({ metadata }: Submitted<SpiderMultusConfig>): string | undefined {
  return metadata.annotations?.[annotations.networkName] ?? metadata.name;
}
