/**
 * The lab's stand-in for the Kubernetes API server: in process, plain HTTP, without TLS, RBAC or admission. It keeps what
 * the product, the lab's own controllers and kubectl (1.31 and later) can tell apart from a real one: resource versions,
 * conflicts, watches, finalizers, owner references, patches, CRD schemas, tables, logs and exec. It runs no scheduler, no
 * controller and no kubelet: those are clients of it. Everything is in memory and gone with the process.
 *
 * Imports #base and npm packages only; anything under `lab/` may import it, nothing under `src/` does.
 */
export {
  createLabClient,
  isStatus,
  type LabClient,
  type ListOptions,
  type ObjectList,
  type ObjectRef,
  type Watch,
  type WatchOptions,
} from "./client.ts";
export type { KubeletAddress } from "./kubelet.ts";
export type { Listener, ListenOptions } from "./listen.ts";
export { createApiServer, type LabApi, type LabApiOptions } from "./server.ts";
export {
  type ApiRequest,
  type ApiResponse,
  at,
  type Fields,
  fieldsAt,
  isFields,
  type KubeObject,
  listAt,
  numberAt,
  type ObjectMeta,
  type OwnerReference,
  textAt,
  type WatchEventType,
} from "./types.ts";
