import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { multusConfigSpec } from "./schema.ts";

/** `spec`, as the schema has it. */
export type SpiderMultusConfigSpec = DeepReadonly<Static<typeof multusConfigSpec>>;
/** The plugin that makes the NIC: `macvlan`, `ovs` …; `custom` for a configuration written by hand. */
export type CniType = NonNullable<SpiderMultusConfigSpec["cniType"]>;

/** A network in typed form; the controller renders it into a NetworkAttachmentDefinition. */
export interface SpiderMultusConfig extends KubeObject {
  readonly spec: SpiderMultusConfigSpec;
}

/** The namespaced resource; its NetworkAttachmentDefinition is in the same namespace. */
export const spiderMultusConfigs: Resource<SpiderMultusConfig> = ours(
  "spidermultusconfigs",
  "SpiderMultusConfig",
  true,
);
