import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "#base";
import { ApiFailure, alreadyExists, badRequest, conflict, forbidden, invalid, notFound } from "../failure.ts";
import { copyOf, groupVersion, type Resource } from "../resource.ts";
import { type Fields, fieldsAt, isFields, type KubeObject, numberAt, type ObjectMeta, textAt } from "../types.ts";
import { checkFinalizers, checkIdentity, mergedMeta, metadataErrors, nameOf } from "./metadata.ts";
import { keyOf, type Objects } from "./store.ts";

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
  readonly #store: Objects;
  readonly #clock: Clock;

  constructor(store: Objects, clock: Clock) {
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
    const name = nameOf(resource, given);
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
  const wrong = metadataErrors(object.metadata);
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
