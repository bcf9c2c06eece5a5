import { isDeepStrictEqual } from "node:util";
import { contentFinalizer } from "../kinds/builtins.ts";
import type { KubeObject } from "../types.ts";
import { crdTable, type Registry } from "./registry.ts";
import { type Change, keyOf, type Store } from "./store.ts";
import type { Writer } from "./writer.ts";

const namespaceTable = "/namespaces";

/**
 * Deletes what a deletion entails: the dependents of an owner that is gone, and the content of a namespace or definition that
 * is being deleted, and then this object itself. All of that happens within the write that caused it; a real cluster takes a
 * moment.
 */
export class Cascade {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #writer: Writer;
  /** The UIDs of all existing objects. */
  readonly #uids = new Set<string>();
  /** True while this class removes objects, so that it does not react to its own removals. */
  #emptying = false;

  constructor(store: Store, registry: Registry, writer: Writer) {
    this.#store = store;
    this.#registry = registry;
    this.#writer = writer;
    store.listenAll((change) => this.#follow(change));
  }

  #follow({ type, table, object }: Change): void {
    const { uid, namespace: name = "", deletionTimestamp } = object.metadata;
    if (type !== "DELETED") {
      this.#uids.add(uid);
      this.#collect(table, object);
      if (deletionTimestamp !== undefined) this.#empty(table, object);
      return;
    }
    this.#uids.delete(uid);
    for (const [at, dependent] of this.#store.dependentsOf(uid)) this.#collect(at, dependent);
    const namespace = this.#store.get(namespaceTable, keyOf({ name }));
    if (namespace?.metadata.deletionTimestamp !== undefined) this.#empty(namespaceTable, namespace);
    const definition = this.#store.get(crdTable, keyOf({ name: table.split("/").reverse().join(".") }));
    if (definition?.metadata.deletionTimestamp !== undefined) this.#empty(crdTable, definition);
  }

  /** Deletes a dependent if none of its owners exists. An owner of a kind that is not served counts as existing. */
  #collect(table: string, object: KubeObject): void {
    const { ownerReferences = [] } = object.metadata;
    const gone = ownerReferences.every(
      ({ uid, apiVersion, kind }) => !this.#uids.has(uid) && this.#registry.byKind(apiVersion, kind) !== undefined,
    );
    if (ownerReferences.length > 0 && gone) this.#delete(table, object);
  }

  /** Deletes the content of a namespace or definition, and removes its finalizer when nothing is left. */
  #empty(table: string, holder: KubeObject): void {
    const { name, finalizers = [] } = holder.metadata;
    const resource = this.#registry.byTable(table);
    if (this.#emptying || resource === undefined || !finalizers.includes(contentFinalizer)) return;
    const held = () => {
      if (table === crdTable)
        return this.#listed([
          name
            .split(/\.(.*)/s)
            .slice(0, 2)
            .reverse()
            .join("/"),
        ]);
      return this.#listed(this.#store.tables(), name);
    };
    this.#emptying = true;
    for (const [at, object] of held()) this.#delete(at, object);
    this.#emptying = false;
    if (held().length > 0) {
      const status = { phase: "Terminating" };
      if (table === namespaceTable && !isDeepStrictEqual(holder["status"], status)) {
        this.#store.put(table, { ...holder, status });
      }
      return;
    }
    const metadata = { ...holder.metadata, finalizers: finalizers.filter((one) => one !== contentFinalizer) };
    this.#writer.update(resource, holder, { ...holder, metadata });
  }

  #listed(tables: readonly string[], namespace?: string): readonly (readonly [table: string, object: KubeObject])[] {
    return tables.flatMap((table) => this.#store.list(table, namespace).map((object) => [table, object] as const));
  }

  #delete(table: string, object: KubeObject): void {
    const resource = this.#registry.byTable(table);
    if (resource !== undefined && object.metadata.deletionTimestamp === undefined)
      this.#writer.delete(resource, object);
  }
}
