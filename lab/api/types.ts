/** One call as it travels over HTTP; `path` carries the query. The same shape as the product's Kubernetes transport. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** `headers` have lower-case names. Whoever stops reading `body` early aborts the call's signal. */
export interface ApiResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
}

/** A JSON object whose fields nobody has checked. Read it with {@link at} and its siblings. */
export type Fields = { [field: string]: unknown };

/** The object that an object goes with: the garbage collector deletes it after its last owner. */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** `metadata` of a stored object: the server has set name, UID, version and creation time. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  generateName?: string;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
}

/** Any object that the server stores. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** What happened to the object of a watch event. */
export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED";

/** The value at a path of field names and list positions, or undefined if the path ends early. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const step of path) {
    if (typeof found !== "object" || found === null) return undefined;
    found = (found as Fields)[step];
  }
  return found;
}

/** {@link at}, or "" where no text is there. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path);
  return typeof found === "string" ? found : "";
}

/** {@link at}, or 0 if no number is there. */
export function numberAt(value: unknown, ...path: readonly (string | number)[]): number {
  const found = at(value, ...path);
  return typeof found === "number" ? found : 0;
}

/** {@link at}, or an empty list where no list is there. */
export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? found : [];
}

/** {@link at}, or an empty object where no object is there. */
export function fieldsAt(value: unknown, ...path: readonly (string | number)[]): Readonly<Fields> {
  const found = at(value, ...path);
  return isFields(found) ? found : {};
}

/** True for a JSON object: not null, not a list. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
