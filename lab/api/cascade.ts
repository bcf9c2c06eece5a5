import { crdFinalizer } from "./builtins.ts";
import { crdTable, type Registry } from "./registry.ts";
import { type Change, keyOf, type Store } from "./store.ts";
import { type KubeObject, listAt, type ObjectMeta, textAt } from "./types.ts";
import type { Writer } from "./writer.ts";

/**
 * What follows from a deletion: dependents of a vanished owner go, and so does the content of a namespace or definition
 * that is being deleted, which then goes itself. It all happens within the write that caused it, where a real cluster
 * takes a moment.
 */
export class Cascade {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #writer: Writer;
  /** Each removal asks whether it was the last: not while the removals are ours. */
  #emptying = false;
  readonly #uids = new Set<string>();
  /** By the owner's uid: the dependents' tables and metadata, by their uid. */
  readonly #dependents = new Map<string, Map<string, { readonly table: string; readonly metadata: ObjectMeta }>>();

  constructor(store: Store, registry: Registry, writer: Writer) {
    this.#store = store;
    this.#registry = registry;
    this.#writer = writer;
    store.listenAll((change) => this.#follow(change));
  }

  /** Takes the owner out of its dependents' references, so that they survive it. */
  orphan(owner: KubeObject): void {
    for (const { table, metadata } of [...(this.#dependents.get(owner.metadata.uid)?.values() ?? [])]) {
      const dependent = this.#store.get(table, keyOf(metadata));
      if (dependent === undefined) continue;
      const ownerReferences = (dependent.metadata.ownerReferences ?? []).filter(
        ({ uid }) => uid !== owner.metadata.uid,
      );
      this.#store.put(table, { ...dependent, metadata: { ...dependent.metadata, ownerReferences } });
    }
  }

  #follow(change: Change): void {
    this.#index(change);
    const { table, object, type } = change;
    if (type === "DELETED") {
      for (const { table: at, metadata } of [...(this.#dependents.get(object.metadata.uid)?.values() ?? [])]) {
        this.#collect(at, metadata);
      }
      this.#finish(object, table);
      return;
    }
    if (object.metadata.ownerReferences !== undefined) this.#collect(table, object.metadata);
    if (object.metadata.deletionTimestamp === undefined) return;
    if (table === "/namespaces") this.#emptyNamespace(object);
    if (table === crdTable) this.#emptyDefinition(object);
  }

  #index({ type, table, object, previous }: Change): void {
    const { uid } = object.metadata;
    if (type === "DELETED") this.#uids.delete(uid);
    else this.#uids.add(uid);
    for (const owner of previous?.metadata.ownerReferences ?? []) {
      const held = this.#dependents.get(owner.uid);
      held?.delete(uid);
      if (held?.size === 0) this.#dependents.delete(owner.uid);
    }
    if (type === "DELETED") return;
    for (const owner of object.metadata.ownerReferences ?? []) {
      const held = this.#dependents.get(owner.uid) ?? new Map();
      this.#dependents.set(owner.uid, held.set(uid, { table, metadata: object.metadata }));
    }
  }

  /** Deletes a dependent none of whose owners exists. An owner of a kind that nobody serves may exist elsewhere. */
  #collect(table: string, { namespace, name, uid }: ObjectMeta): void {
    const resource = this.#registry.byTable(table);
    const object = this.#store.get(table, keyOf({ namespace, name }));
    if (resource === undefined || object?.metadata.uid !== uid || object.metadata.deletionTimestamp !== undefined)
      return;
    const owners = object.metadata.ownerReferences ?? [];
    const gone = owners.every(
      (owner) => !this.#uids.has(owner.uid) && this.#registry.byKind(owner.apiVersion, owner.kind) !== undefined,
    );
    if (owners.length > 0 && gone) this.#writer.delete(resource, object);
  }

  /** After a removal: was it the last thing that a namespace or definition waited for? */
  #finish(removed: KubeObject, table: string): void {
    const namespace = this.#store.get("/namespaces", keyOf({ name: removed.metadata.namespace ?? "" }));
    if (namespace?.metadata.deletionTimestamp !== undefined) this.#emptyNamespace(namespace);
    const [group = "", plural = ""] = table.split("/");
    const definition = this.#store.get(crdTable, keyOf({ name: `${plural}.${group}` }));
    if (definition?.metadata.deletionTimestamp !== undefined) this.#emptyDefinition(definition);
  }

  #emptyNamespace(namespace: KubeObject): void {
    if (this.#emptying) return;
    if (textAt(namespace, "status", "phase") !== "Terminating") {
      this.#store.put("/namespaces", { ...namespace, status: { phase: "Terminating" } });
      return;
    }
    const { name } = namespace.metadata;
    const remaining = () =>
      this.#store.tables().some((table) => this.#store.list(table, { namespace: name }).length > 0);
    this.#emptying = true;
    for (const table of this.#store.tables()) this.#deleteAll(table, name);
    this.#emptying = false;
    const current = this.#store.get("/namespaces", keyOf({ name }));
    if (remaining() || current === undefined || listAt(current, "spec", "finalizers").length === 0) return;
    this.#release("/namespaces", { ...current, spec: { finalizers: [] } });
  }

  #emptyDefinition({ metadata: { name } }: KubeObject): void {
    if (this.#emptying) return;
    const [plural = "", ...group] = name.split(".");
    const table = `${group.join(".")}/${plural}`;
    this.#emptying = true;
    this.#deleteAll(table);
    this.#emptying = false;
    const current = this.#store.get(crdTable, keyOf({ name }));
    if (this.#store.list(table).length > 0 || !current?.metadata.finalizers?.includes(crdFinalizer)) return;
    const finalizers = current.metadata.finalizers.filter((finalizer) => finalizer !== crdFinalizer);
    this.#release(crdTable, { ...current, metadata: { ...current.metadata, finalizers } });
  }

  #deleteAll(table: string, namespace?: string): void {
    const resource = this.#registry.byTable(table);
    if (resource === undefined) return;
    for (const object of this.#store.list(table, namespace === undefined ? {} : { namespace })) {
      if (object.metadata.deletionTimestamp === undefined) this.#writer.delete(resource, object);
    }
  }

  #release(table: string, object: KubeObject): void {
    const resource = this.#registry.byTable(table);
    const old = this.#store.get(table, keyOf(object.metadata));
    if (resource !== undefined && old !== undefined) this.#writer.update(resource, old, object);
  }
}
