import { randomInt, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "#base";
import {
  ApiFailure,
  alreadyExists,
  badRequest,
  conflict,
  type FieldError,
  forbidden,
  invalid,
  modified,
  notFound,
} from "../failure.ts";
import { copyOf, groupVersion, type Resource } from "../resource.ts";
import {
  type Fields,
  fieldsAt,
  isFields,
  type KubeObject,
  numberAt,
  type ObjectMeta,
  type OwnerReference,
  textAt,
} from "../types.ts";
import { keyOf, type Store } from "./store.ts";

/** How a write treats fields that the schema does not know. */
export interface WriteOptions {
  /** Refuse fields that the schema does not know; they are dropped otherwise. */
  readonly strict?: boolean;
  /** Called for each field that was dropped. */
  readonly dropped?: (field: string) => void;
}

interface UpdateOptions extends WriteOptions {
  /** Change the status alone. */
  readonly status?: boolean;
}

/** Preconditions of a delete (409 if the object has another UID or version), and the time that a Pod gets to end. */
interface DeleteOptions {
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  /** The grace period of a Pod; undefined for the one in its spec. */
  readonly gracePeriodSeconds?: number | undefined;
  /** What it owns outlives it. */
  readonly orphan?: boolean;
}

/** The rules of writing: names, versions, generations, defaults and schemas, finalizers, graceful deletion. */
export class Writer {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Now or `inSeconds` later, in the format of metadata: UTC in whole seconds. */
  now(inSeconds = 0): string {
    return new Date(this.#clock.wall().getTime() + inSeconds * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  }

  /** Creates an object. `namespace` is undefined for cluster-scoped resources. Throws the refusals of a POST. */
  create(
    resource: Resource,
    namespace: string | undefined,
    body: Readonly<Fields>,
    options: WriteOptions = {},
  ): KubeObject {
    checkEnvelope(resource, body);
    const given = fieldsAt(body, "metadata") as unknown as Readonly<ObjectMeta>;
    if ((given.namespace ?? "") !== "" && given.namespace !== namespace) {
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
    }
    if (textAt(given, "resourceVersion") !== "") {
      throw new ApiFailure(500, "", "resourceVersion should not be set on objects to be created");
    }
    const name = nameFor(resource, given);
    this.#checkNamespace(resource, namespace, name);
    const { apiVersion, kind, metadata: _, ...rest } = copyOf(body);
    const object: KubeObject = {
      apiVersion: String(apiVersion),
      kind: String(kind),
      metadata: {
        ...copyOf(given),
        name,
        ...(namespace !== undefined && { namespace }),
        uid: randomUUID(),
        resourceVersion: "",
        creationTimestamp: this.now(),
        ...(countsGenerations(resource) && { generation: 1 }),
      },
      ...rest,
    };
    delete object.metadata.deletionTimestamp;
    delete object.metadata.deletionGracePeriodSeconds;
    if (resource.subresources.includes("status")) delete object["status"];
    admit(resource, object, undefined, options);
    if (this.#store.get(resource.table, keyOf(object.metadata)) !== undefined) throw alreadyExists(resource, name);
    return this.#store.put(resource.table, object);
  }

  /**
   * Replaces `old` by `body`, or only its status. Fields that the client may not change are kept. If nothing differs, nothing is
   * written. The object is removed if it is being deleted and has no finalizer left.
   */
  update(resource: Resource, old: KubeObject, body: Readonly<Fields>, options: UpdateOptions = {}): KubeObject {
    const { status: onlyStatus = false } = options;
    checkEnvelope(resource, body);
    const given = fieldsAt(body, "metadata") as unknown as Readonly<ObjectMeta>;
    checkIdentity(resource, old, given);
    const next = copyOf({
      ...(onlyStatus ? old : body),
      apiVersion: groupVersion(resource),
      kind: resource.kind,
      metadata: onlyStatus && resource.custom ? old.metadata : mergedMeta(old.metadata, given),
      ...(resource.subresources.includes("status") && { status: (onlyStatus ? body : old)["status"] }),
    }) as unknown as KubeObject;
    checkFinalizers(resource, old, next);
    admit(resource, next, old, options);
    if (isDeepStrictEqual(next, { ...old, apiVersion: next.apiVersion })) return old;
    if (countsGenerations(resource) && changesGeneration(resource, old, next)) {
      next.metadata.generation = (old.metadata.generation ?? 0) + 1;
    }
    const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = next.metadata;
    const ended = deletionTimestamp !== undefined && deletionGracePeriodSeconds === 0 && !isHeld(next);
    return ended ? this.#store.remove(resource.table, next) : this.#store.put(resource.table, next);
  }

  /**
   * Removes an object, or marks it as being deleted if it has finalizers or a Pod's grace period. Returns the object if it still
   * exists, undefined if it is gone.
   */
  delete(resource: Resource, old: KubeObject, options: DeleteOptions = {}): KubeObject | undefined {
    checkPreconditions(resource, old, options);
    if (options.orphan === true) this.#orphan(old.metadata.uid);
    const graceSeconds = resource.table === "/pods" ? podGraceSeconds(old, options.gracePeriodSeconds) : 0;
    const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = old.metadata;
    if (!isHeld(old) && graceSeconds === 0) {
      this.#store.remove(resource.table, old);
      return undefined;
    }
    if (deletionTimestamp !== undefined && graceSeconds >= deletionGracePeriodSeconds) return old;
    const metadata: ObjectMeta = {
      ...old.metadata,
      deletionTimestamp: this.now(graceSeconds),
      deletionGracePeriodSeconds: graceSeconds,
      ...(old.metadata.generation !== undefined && { generation: old.metadata.generation + 1 }),
    };
    return this.#store.put(resource.table, { ...old, metadata });
  }

  /** Takes the owner out of its dependents, which then outlive it. */
  #orphan(owner: string): void {
    for (const [table, { metadata, ...rest }] of this.#store.dependentsOf(owner)) {
      const ownerReferences = (metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner);
      this.#store.put(table, { ...rest, metadata: { ...metadata, ownerReferences } } as KubeObject);
    }
  }

  #checkNamespace(resource: Resource, namespace: string | undefined, name: string): void {
    if (namespace === undefined) return;
    const found = this.#store.get("/namespaces", keyOf({ name: namespace }));
    if (found === undefined) throw notFound({ group: "", plural: "namespaces", kind: "Namespace" }, namespace);
    if (found.metadata.deletionTimestamp !== undefined) {
      const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
      throw forbidden(resource, name, why);
    }
  }
}

const nameRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
  "with an alphanumeric character";

function nameFor(resource: Resource, given: Readonly<ObjectMeta>): string {
  const { name = "", generateName = "" } = given;
  if (name !== "") {
    if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name) || name.length > 253) {
      const message = `Invalid value: ${JSON.stringify(name)}: ${nameRule}`;
      throw invalid(resource, name, [{ field: "metadata.name", reason: "FieldValueInvalid", message }]);
    }
    return name;
  }
  if (generateName === "") {
    const message = "Required value: name or generateName is required";
    throw invalid(resource, name, [{ field: "metadata.name", reason: "FieldValueRequired", message }]);
  }
  return generateName + randomSuffix();
}

function randomSuffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("");
}

function isHeld({ metadata: { finalizers = [] } }: KubeObject): boolean {
  return finalizers.length > 0;
}

function checkEnvelope(resource: Resource, body: Readonly<Fields>): void {
  const expected = groupVersion(resource);
  if (body["apiVersion"] !== expected) {
    const found = String(body["apiVersion"] ?? "");
    throw badRequest(`the API version in the data (${found}) does not match the expected API version (${expected})`);
  }
  if (body["kind"] !== resource.kind) {
    throw badRequest(
      `${String(body["kind"] ?? "")} in version "${resource.version}" cannot be handled as a ${resource.kind}`,
    );
  }
}

/** Runs the rules of all resources, then the resource's own. */
function admit(
  resource: Resource,
  object: KubeObject,
  old: KubeObject | undefined,
  { strict = false, dropped = () => {} }: WriteOptions,
): void {
  const owners = (object.metadata.ownerReferences ?? []).filter(({ controller }) => controller === true);
  const wrong = [
    ...labelErrors(object.metadata.labels ?? {}),
    ...(owners.length > 1 ? [tooManyControllers(owners)] : []),
  ];
  if (wrong.length > 0) throw invalid(resource, object.metadata.name, wrong);
  const { errors, unknown } = resource.admit(object, old);
  if (strict && unknown.length > 0) {
    const texts = unknown.map((field) => `unknown field "${field}"`).join(", ");
    const { kind, version } = resource;
    throw badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${texts}`);
  }
  if (errors.length > 0) throw invalid(resource, object.metadata.name, errors);
  unknown.forEach(dropped);
}

const labelRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
  "with an alphanumeric character";

function labelErrors(labels: Readonly<Record<string, string>>): readonly FieldError[] {
  return Object.values(labels)
    .filter((value) => !/^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/.test(value))
    .map((value) => {
      const message = `Invalid value: ${JSON.stringify(value)}: ${labelRule}`;
      return { field: "metadata.labels", reason: "FieldValueInvalid", message };
    });
}

function tooManyControllers(owners: readonly OwnerReference[]): FieldError {
  const [first, second] = owners.map(({ kind, name }) => `${kind}/${name}`);
  const message = `Invalid value: Only one reference can have Controller set to true. Found "true" in references for ${first} and ${second}`;
  return { field: "metadata.ownerReferences", reason: "FieldValueInvalid", message };
}

function checkIdentity(resource: Resource, old: KubeObject, given: Readonly<ObjectMeta>): void {
  const { name, uid, resourceVersion } = old.metadata;
  if (given.name !== name) {
    const found = given.name ?? "";
    throw badRequest(`the name of the object (${found}) does not match the name on the URL (${name})`);
  }
  if ((given.uid ?? "") !== "" && given.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${uid}`;
    throw conflict(resource, name, why);
  }
  if ((given.resourceVersion ?? "") === "") {
    if (!resource.custom && resource.plural !== "leases") return;
    const message = "Invalid value: 0x0: must be specified for an update";
    throw invalid(resource, name, [{ field: "metadata.resourceVersion", reason: "FieldValueInvalid", message }]);
  }
  if (given.resourceVersion !== resourceVersion) throw conflict(resource, name, modified);
}

/** The server's own fields from `old`, the client's from `given`. */
function mergedMeta(old: ObjectMeta, given: Readonly<ObjectMeta>): Readonly<Fields> {
  const { labels = {}, annotations = {}, finalizers = [], ownerReferences = [] } = given;
  const changeable = { labels, annotations, finalizers, ownerReferences };
  const entries = Object.entries(changeable).map(([field, value]) => [field, isEmpty(value) ? undefined : value]);
  return { ...old, ...Object.fromEntries(entries) }; // what is undefined is not copied
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

function checkFinalizers(resource: Resource, old: KubeObject, next: KubeObject): void {
  if (old.metadata.deletionTimestamp === undefined) return;
  const added = (next.metadata.finalizers ?? []).filter((name) => !old.metadata.finalizers?.includes(name));
  if (added.length === 0) return;
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`;
  throw invalid(resource, next.metadata.name, [
    { field: "metadata.finalizers", reason: "FieldValueForbidden", message },
  ]);
}

function countsGenerations({ custom, subresources }: Resource): boolean {
  return custom || subresources.includes("status");
}

/** The object without metadata and, if status is a subresource, without status. */
function changesGeneration(resource: Resource, old: KubeObject, next: KubeObject): boolean {
  const content = (object: KubeObject) => {
    const { apiVersion: _apiVersion, metadata: _metadata, status, ...rest } = object;
    return resource.subresources.includes("status") ? rest : { ...rest, status };
  };
  return !isDeepStrictEqual(content(old), content(next));
}

function checkPreconditions(resource: Resource, old: KubeObject, options: DeleteOptions): void {
  const { name, uid, resourceVersion } = old.metadata;
  if (options.uid !== undefined && options.uid !== uid) {
    const why = `the UID in the precondition (${options.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`;
    throw conflict(resource, name, why);
  }
  if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion) {
    const why = `the ResourceVersion in the precondition (${options.resourceVersion}) does not match the ResourceVersion in record (${resourceVersion}). The object might have been modified`;
    throw conflict(resource, name, why);
  }
}

/** A Pod that is on no node or that has ended needs no grace period. */
function podGraceSeconds(pod: KubeObject, asked: number | undefined): number {
  const ended = ["Succeeded", "Failed"].includes(textAt(pod, "status", "phase"));
  if (textAt(pod, "spec", "nodeName") === "" || ended) return 0;
  return Math.max(0, asked ?? numberAt(pod, "spec", "terminationGracePeriodSeconds"));
}

/** A body as an object, or a 400. */
export function asFields(body: unknown): Readonly<Fields> {
  if (!isFields(body)) throw badRequest("the object provided is unrecognized: a JSON object is expected");
  return body;
}
