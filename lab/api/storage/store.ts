import type { KubeObject, WatchEventType } from "../types.ts";

/** One write, in the form for watches. */
export interface Change {
  readonly table: string;
  readonly type: WatchEventType;
  readonly resourceVersion: number;
  /** The new state of the object. For a removal, its last state with the removal's resourceVersion. */
  readonly object: KubeObject;
  readonly previous: KubeObject | undefined;
}

interface Table {
  objects: Map<string, KubeObject>;
  /** The sorted keys; undefined after a key was added or removed. */
  sorted: readonly string[] | undefined;
  history: Change[];
  /** The resourceVersion of the newest change that is no longer in `history`. */
  forgotten: number;
  readonly listeners: Set<(change: Change) => void>;
}

/**
 * Objects by table and key, with one counter of resource versions. Stored objects are never changed in place: every write puts
 * a new one. The store knows nothing about kinds or rules.
 */
export class Store {
  readonly #tables = new Map<string, Table>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #historyMin: number;
  #resourceVersion = 1;

  /** `historyMin`: a table remembers at least so many changes, and at most twice as many, for watches that start in the past. */
  constructor({ historyMin = 4096 }: { readonly historyMin?: number } = {}) {
    this.#historyMin = historyMin;
  }

  /** The resourceVersion of the latest write. */
  get resourceVersion(): number {
    return this.#resourceVersion;
  }

  get(table: string, key: string): KubeObject | undefined {
    return this.#tables.get(table)?.objects.get(key);
  }

  /** All objects of a table, or of one namespace in it, sorted by key. */
  list(table: string, namespace?: string): readonly KubeObject[] {
    const held = this.#table(table);
    held.sorted ??= [...held.objects.keys()].sort();
    const prefix = namespace === undefined ? "" : `${namespace}/`;
    return held.sorted.filter((key) => key.startsWith(prefix)).flatMap((key) => held.objects.get(key) ?? []);
  }

  /** The objects that name an owner, with their tables. */
  dependentsOf(uid: string): readonly (readonly [table: string, object: KubeObject])[] {
    const owned = (object: KubeObject) => object.metadata.ownerReferences?.some((owner) => owner.uid === uid);
    return [...this.#tables].flatMap(([name, { objects }]) =>
      [...objects.values()].filter(owned).map((object) => [name, object] as const),
    );
  }

  /** Stores an object under a new resourceVersion and returns it as stored. */
  put(table: string, object: KubeObject): KubeObject {
    const { objects } = this.#table(table);
    const key = keyOf(object.metadata);
    const previous = objects.get(key);
    const stored = this.#stamp(object);
    objects.set(key, stored);
    this.#announce(table, previous === undefined ? "ADDED" : "MODIFIED", stored, previous);
    return stored;
  }

  /** Removes the object with the key of `last`. Watches see `last` as its final state. */
  remove(table: string, last: KubeObject): KubeObject {
    const { objects } = this.#table(table);
    const key = keyOf(last.metadata);
    const previous = objects.get(key);
    const stamped = this.#stamp(last);
    objects.delete(key);
    this.#announce(table, "DELETED", stamped, previous);
    return stamped;
  }

  /** Changes after `resourceVersion`, oldest first; undefined if some of them are forgotten. */
  since(table: string, resourceVersion: number): readonly Change[] | undefined {
    const held = this.#table(table);
    if (resourceVersion < held.forgotten) return undefined;
    return held.history.filter((change) => change.resourceVersion > resourceVersion);
  }

  /** The oldest resourceVersion that a watch of this table can start from. */
  oldest(table: string): number {
    return this.#table(table).forgotten;
  }

  /** Calls `listener` for each change of one table, synchronously, until the returned function is called. */
  listen(table: string, listener: (change: Change) => void): () => void {
    const { listeners } = this.#table(table);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** {@link listen} for all tables. */
  listenAll(listener: (change: Change) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Makes a backup, and returns a function that restores it, as an administrator does with etcd, versions included. Watches must
   * have ended by then. After everything is restored, listeners are told what changed by that, deletions first.
   */
  backup(): () => void {
    const version = this.#resourceVersion;
    const saved = new Map([...this.#tables].map(([name, { objects }]) => [name, new Map(objects)]));
    return () => {
      const changes = [...this.#tables].flatMap(([name, table]) => {
        const before = table.objects;
        const after = new Map(saved.get(name));
        Object.assign(table, { objects: after, sorted: undefined, history: [], forgotten: version });
        return differences(name, before, after, version);
      });
      this.#resourceVersion = version;
      for (const change of changes.sort((a, b) => Number(b.type === "DELETED") - Number(a.type === "DELETED"))) {
        for (const listener of this.#tables.get(change.table)?.listeners ?? []) listener(change);
        for (const listener of this.#listeners) listener(change);
      }
    };
  }

  tables(): readonly string[] {
    return [...this.#tables.keys()];
  }

  #table(name: string): Table {
    let table = this.#tables.get(name);
    if (table === undefined) {
      table = { objects: new Map(), sorted: undefined, history: [], forgotten: 0, listeners: new Set() };
      this.#tables.set(name, table);
    }
    return table;
  }

  #stamp(object: KubeObject): KubeObject {
    this.#resourceVersion += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#resourceVersion) } };
  }

  #announce(name: string, type: WatchEventType, object: KubeObject, previous: KubeObject | undefined): void {
    const table = this.#table(name);
    if (type !== "MODIFIED") table.sorted = undefined;
    const change: Change = { table: name, type, resourceVersion: this.#resourceVersion, object, previous };
    table.history.push(change);
    if (table.history.length > this.#historyMin * 2) {
      const dropped = table.history.splice(0, this.#historyMin);
      table.forgotten = dropped.at(-1)?.resourceVersion ?? table.forgotten;
    }
    for (const listener of table.listeners) listener(change);
    for (const listener of this.#listeners) listener(change);
  }
}

/** The part of a {@link Store} that writes need. */
export type Objects = Pick<Store, "get" | "dependentsOf" | "put" | "remove">;

/** The objects of a store for a dry run: what would be written is returned, and forgotten. */
export function withoutWrites(store: Store): Objects {
  return {
    get: (table, key) => store.get(table, key),
    dependentsOf: (uid) => store.dependentsOf(uid),
    put: (_table, object) => object,
    remove: (_table, last) => last,
  };
}

/** The changes that lead from one state of a table to another. */
function differences(
  table: string,
  before: ReadonlyMap<string, KubeObject>,
  after: ReadonlyMap<string, KubeObject>,
  resourceVersion: number,
): readonly Change[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((key): readonly Change[] => {
    const previous = before.get(key);
    const now = after.get(key);
    const object = now ?? previous;
    if (previous === now || object === undefined) return [];
    const type = now === undefined ? "DELETED" : previous === undefined ? "ADDED" : "MODIFIED";
    return [{ table, type, resourceVersion, object, previous }];
  });
}

/** `namespace/name`; `/name` for what has no namespace. */
export function keyOf(ref: { readonly namespace?: string | undefined; readonly name: string }): string {
  return `${ref.namespace ?? ""}/${ref.name}`;
}
