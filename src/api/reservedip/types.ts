import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { reservedIpSpec } from "./schema.ts";

/** `spec`, as the schema has it. */
export type SpiderReservedIPSpec = DeepReadonly<Static<typeof reservedIpSpec>>;

/** Addresses that no pool hands out. */
export interface SpiderReservedIP extends KubeObject {
  readonly spec: SpiderReservedIPSpec;
}

/** The cluster-scoped resource. */
export const spiderReservedIPs: Resource<SpiderReservedIP> = ours("spiderreservedips", "SpiderReservedIP", false);
