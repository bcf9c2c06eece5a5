import { SpiderError } from "#base";

/** The metadata that the server sets or keeps for every object. Fields have their names on the wire. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  /** Opaque: compare for equality only. */
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

/** The object that an object goes with: the garbage collector deletes it after its last owner. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Any object as the server stores it. Items of lists carry neither `apiVersion` nor `kind`. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** An object to be created: what the server sets is absent; `apiVersion` and `kind` are filled in by the client. */
export type Draft<T extends KubeObject> = Omit<T, "apiVersion" | "kind" | "metadata"> & {
  readonly metadata: DraftMeta;
};

type DraftMeta = Pick<ObjectMeta, "namespace" | "labels" | "annotations" | "ownerReferences" | "finalizers"> &
  ({ readonly name: string } | { readonly generateName: string });

declare const objectType: unique symbol;

/** One REST resource. `T` exists for the compiler only. */
export interface Resource<T extends KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Only metadata is asked for and decoded (see {@link metadataOf}). */
  readonly metadataOnly?: true;
  readonly [objectType]?: T;
}

/** The name of an object. It has a `namespace` exactly if the resource is namespaced. */
export interface ObjectRef {
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** The same resource read as `PartialObjectMetadata`: the server sends neither spec nor status. */
export function metadataOf(resource: Resource<KubeObject>): Resource<KubeObject> {
  return { ...resource, metadataOnly: true };
}

/** `v1` or `group/version`. */
export function apiVersionOf({ group, version }: Resource<KubeObject>): string {
  return group === "" ? version : `${group}/${version}`;
}

/** The inverse of {@link apiVersionOf}. */
export function parseApiVersion(apiVersion: string): { readonly group: string; readonly version: string } {
  const slash = apiVersion.indexOf("/");
  return { group: slash < 0 ? "" : apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

/** The one owner that manages the object, if there is any. */
export function controllerOf({ metadata }: Pick<KubeObject, "metadata">): OwnerReference | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller === true);
}

/** The key of an object in stores and queues: `namespace/name`, or `name` of a cluster-scoped one. */
export function keyOf({ namespace, name }: ObjectRef): string {
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The inverse of {@link keyOf}. */
export function parseKey(key: string): ObjectRef {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The path of a collection; without `namespace` that of all namespaces. */
export function collectionPath(resource: Resource<KubeObject>, namespace?: string): string {
  const root = resource.group === "" ? "/api" : `/apis/${segment(resource.group, "group")}`;
  const base = `${root}/${segment(resource.version, "version")}`;
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${segment(namespace, "namespace")}` : "";
  return `${base}${scope}/${segment(resource.plural, "plural")}`;
}

/** The path of one object, or of its subresource. Throws `API_NAME_INVALID` for names that no object can have. */
export function objectPath(resource: Resource<KubeObject>, ref: ObjectRef, subresource?: string): string {
  if (resource.namespaced !== (ref.namespace !== undefined)) {
    throw new TypeError(
      `'namespace' must ${resource.namespaced ? "" : "not "}be given for ${resource.plural}: current value is ${ref.namespace}`,
    );
  }
  const path = `${collectionPath(resource, ref.namespace)}/${segment(ref.name, "name")}`;
  return subresource === undefined ? path : `${path}/${segment(subresource, "subresource")}`;
}

/** The API server's own rule for path segments; it keeps a name taken from an annotation from reaching another object. */
function segment(value: string, what: string): string {
  if (value === "" || value === "." || value === ".." || /[/%?#\s]/.test(value) || value.length > 253) {
    throw new SpiderError("API_NAME_INVALID", "not a name that a Kubernetes object can have", {
      details: {
        what,
        value: value.slice(0, 300),
        allowed: "1 to 253 characters without / % ? # and spaces; not . or ..",
      },
    });
  }
  return encodeURIComponent(value);
}
