import type { KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";

/** Addresses that no pool may hand out. */
export interface SpiderReservedIP extends KubeObject {
  readonly spec: { readonly ipVersion?: 4 | 6; readonly ips?: readonly string[] };
}

export const spiderReservedIPs: Resource<SpiderReservedIP> = ours("spiderreservedips", "SpiderReservedIP");
