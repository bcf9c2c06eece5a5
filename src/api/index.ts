/**
 * The objects of the Kubernetes API that are ours, and those that we write in others' formats: types, schemas, defaults,
 * rules, rendering. Pure: it reads and writes nothing. Imports #ip, #base and the types of #kube; everything after it may
 * import it.
 */
export * from "./coordinator/types.ts";
export * from "./endpoint/types.ts";
export { group, type LabelSelectorJson, type RouteJson, version } from "./group.ts";
export * from "./ipaddress/types.ts";
export * from "./ippool/types.ts";
export * from "./multusconfig/types.ts";
export * from "./nad/types.ts";
export * from "./poolusage/types.ts";
export * from "./reservedip/types.ts";
export * from "./subnet/types.ts";
