import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { multusConfigSpec } from "./schema.ts";

export type SpiderMultusConfigSpec = DeepReadonly<Static<typeof multusConfigSpec>>;
export type CniType = NonNullable<SpiderMultusConfigSpec["cniType"]>;

/** A network in typed form; the controller renders it into a NetworkAttachmentDefinition. */
export interface SpiderMultusConfig extends KubeObject {
  readonly spec: SpiderMultusConfigSpec;
}

export const spiderMultusConfigs: Resource<SpiderMultusConfig> = ours(
  "spidermultusconfigs",
  "SpiderMultusConfig",
  true,
);
