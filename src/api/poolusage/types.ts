import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { poolUsageSpec } from "./schema.ts";

/** `spec`, as the schema has it. */
export type SpiderPoolUsageSpec = DeepReadonly<Static<typeof poolUsageSpec>>;

/** Which addresses of a pool are taken. The leader publishes it as a hint; the create of the claim decides. */
export interface SpiderPoolUsage extends KubeObject {
  readonly spec: SpiderPoolUsageSpec;
}

/** The cluster-scoped resource; an object has its pool's name. */
export const spiderPoolUsages: Resource<SpiderPoolUsage> = ours("spiderpoolusages", "SpiderPoolUsage", false);
