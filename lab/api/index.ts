/**
 * The lab's stand-in for the Kubernetes API server: in process, over plain HTTP (to admission webhooks, too), without TLS. It
 * implements what the product, the lab's own controllers and kubectl (1.31 and later) depend on: resource versions, conflicts,
 * watches, finalizers, owner references, patches, CRD schemas, tables, logs and exec. Of RBAC it has only `http/rights.ts`,
 * which limits named callers to their rules. Scheduler, controllers and kubelets are its clients. Everything is in memory and
 * ends with the process.
 *
 * Differences from a real server: it refuses a CRD with a schema keyword that it does not implement, and CEL rules have only the
 * functions that the product's definitions use; built-in kinds have few defaults and no schema (unknown fields stay, immutable
 * fields can be changed); defaults of a definition reach stored objects with their next write; versions of a kind differ in name
 * only; foreground deletion happens in the background, and at once; Events do not expire; there are no
 * server-side apply or protobuf (answers are JSON for clients that take it, too), no SPDY, port-forward, attach or evict.
 *
 * `http/` understands requests and answers them, `storage/` keeps objects and has the rules of writing and watching, `kinds/` has
 * the built-in kinds and makes kinds of definitions, `printing/` turns objects into the rows that kubectl shows.
 *
 * Imports #base and npm packages only; anything under `lab/` may import it, nothing under `src/` does.
 */

export { createLabClient, isStatus, type LabClient } from "./client.ts";
export type { Webhooks } from "./http/admission.ts";
export type { Listener } from "./http/listen.ts";
export type { Rights, RightsRule } from "./http/rights.ts";
export { quantityValue } from "./kinds/quantity.ts";
export { createApiServer, definitionsIn, type LabApi } from "./server.ts";
export {
  type ApiResponse,
  at,
  type Fields,
  type KubeObject,
  listAt,
  type ObjectMeta,
  textAt,
  type WatchEventType,
} from "./types.ts";
