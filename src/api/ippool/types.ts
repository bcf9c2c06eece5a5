import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { poolSpec, poolStatus } from "./schema.ts";

/** `spec`, as the schema has it. */
export type SpiderIPPoolSpec = DeepReadonly<Static<typeof poolSpec>>;
/** `status`: a view that the leader derives from claims. */
export type SpiderIPPoolStatus = DeepReadonly<Static<typeof poolStatus>>;

/** Addresses of one CIDR and who may have them. `ipVersion` is always set once the object was admitted. */
export interface SpiderIPPool extends KubeObject {
  readonly spec: SpiderIPPoolSpec;
  readonly status?: SpiderIPPoolStatus;
}

/** The cluster-scoped resource. */
export const spiderIPPools: Resource<SpiderIPPool> = ours("spiderippools", "SpiderIPPool", false);
