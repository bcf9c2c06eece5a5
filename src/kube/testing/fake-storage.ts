import { isDeepStrictEqual } from "node:util";

/** A stored object: plain JSON that is never changed in place. */
export interface StoredObject {
  readonly metadata: StoredMeta;
  readonly [field: string]: unknown;
}

export interface StoredMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** One commit. `after` is undefined for a deletion; `last` then is the object with the deletion's own version. */
export interface Commit {
  readonly version: number;
  /** `group/version/plural` of the collection. */
  readonly collection: string;
  readonly key: string;
  readonly before: StoredObject | undefined;
  readonly after: StoredObject | undefined;
  readonly last: StoredObject;
}

/** A refusal, as the API server words it. */
export class FakeRefusal extends Error {
  readonly status: number;
  readonly reason: string;
  readonly retryAfterS: number | undefined;

  constructor(status: number, reason: string, message: string, retryAfterS?: number) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.retryAfterS = retryAfterS;
  }
}

/** Objects, one counter of versions over all, and every commit since the last compaction. */
export class FakeStorage {
  readonly #collections = new Map<string, Map<string, StoredObject>>();
  readonly #now: () => Date;
  readonly #onCommit: (commit: Commit) => void;
  #history: Commit[] = [];
  #version = 1;
  #compactedVersion = 0;
  #uids = 0;

  constructor(options: { readonly now: () => Date; readonly onCommit: (commit: Commit) => void }) {
    this.#now = options.now;
    this.#onCommit = options.onCommit;
  }

  get version(): number {
    return this.#version;
  }

  /** Every commit that is still known, oldest first. */
  get history(): readonly Commit[] {
    return this.#history;
  }

  get(collection: string, key: string): StoredObject | undefined {
    return this.#collections.get(collection)?.get(key);
  }

  /** In the order of keys, as etcd gives them. */
  list(collection: string): readonly StoredObject[] {
    const objects = [...(this.#collections.get(collection)?.entries() ?? [])];
    return objects.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** Commits after `version`, or undefined if they are compacted away. */
  since(version: number): readonly Commit[] | undefined {
    return version < this.#compactedVersion ? undefined : this.#history.filter((commit) => commit.version > version);
  }

  /** Forgets all commits: watches from before get 410. */
  compact(): void {
    this.#compactedVersion = this.#version;
    this.#history = [];
  }

  /** Returns what brings all of this moment back, the counter of versions included. */
  snapshot(): () => void {
    const version = this.#version;
    const collections = [...this.#collections].map(([name, objects]) => [name, new Map(objects)] as const);
    return () => {
      this.#version = version;
      this.#history = this.#history.filter((commit) => commit.version <= version);
      this.#compactedVersion = Math.min(this.#compactedVersion, version);
      this.#collections.clear();
      for (const [name, objects] of collections) this.#collections.set(name, new Map(objects));
    };
  }

  /** Stores a new object with uid, version and creation time of its own. */
  create(collection: string, key: string, draft: object, metadata: Readonly<Record<string, unknown>>): StoredObject {
    if (this.get(collection, key) !== undefined) {
      throw new FakeRefusal(
        409,
        "AlreadyExists",
        `${collection.split("/").at(-1)} "${metadata["name"]}" already exists`,
      );
    }
    this.#uids += 1;
    return this.#commit(collection, key, undefined, {
      ...draft,
      metadata: {
        ...metadata,
        name: String(metadata["name"]),
        // Names are made of the last group's first digits: they differ, as those of a real server do.
        uid: `00000000-0000-4000-8000-${String(this.#uids).padStart(5, "0").padEnd(12, "0")}`,
        resourceVersion: "",
        generation: 1,
        creationTimestamp: this.#timestamp(),
      },
    });
  }

  /** Stores a new version of `before`, unless nothing changed; removes it where its last finalizer went. */
  replace(collection: string, key: string, before: StoredObject, next: StoredObject): StoredObject {
    const { metadata: oldMeta, status: _old, ...oldRest } = before;
    const { metadata: newMeta, status: _new, ...newRest } = next;
    const moved = !isDeepStrictEqual(oldRest, newRest);
    const { uid, resourceVersion, generation = 1, creationTimestamp, deletionTimestamp } = oldMeta;
    const metadata: StoredMeta = {
      ...newMeta,
      uid,
      resourceVersion,
      generation: moved ? generation + 1 : generation,
      creationTimestamp,
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    };
    if (isDeepStrictEqual({ ...next, metadata }, before)) return before;
    if (deletionTimestamp !== undefined && (metadata.finalizers ?? []).length === 0)
      return this.remove(collection, key, before);
    return this.#commit(collection, key, before, { ...next, metadata });
  }

  /** Removes the object, or only marks it while finalizers hold it. */
  delete(collection: string, key: string, before: StoredObject): StoredObject {
    if ((before.metadata.finalizers ?? []).length === 0) return this.remove(collection, key, before);
    if (before.metadata.deletionTimestamp !== undefined) return before;
    const metadata = { ...before.metadata, deletionTimestamp: this.#timestamp(), deletionGracePeriodSeconds: 0 };
    return this.#commit(collection, key, before, { ...before, metadata });
  }

  remove(collection: string, key: string, before: StoredObject): StoredObject {
    this.#version += 1;
    this.#collections.get(collection)?.delete(key);
    const last = withVersion(before, this.#version);
    this.#record({ version: this.#version, collection, key, before, after: undefined, last });
    return last;
  }

  #commit(collection: string, key: string, before: StoredObject | undefined, next: StoredObject): StoredObject {
    this.#version += 1;
    const after = withVersion(structuredClone(next), this.#version);
    const objects = this.#collections.get(collection) ?? new Map<string, StoredObject>();
    this.#collections.set(collection, objects.set(key, after));
    this.#record({ version: this.#version, collection, key, before, after, last: after });
    return after;
  }

  #record(commit: Commit): void {
    this.#history.push(commit);
    this.#onCommit(commit);
  }

  #timestamp(): string {
    return this.#now()
      .toISOString()
      .replace(/\.\d+Z$/, "Z");
  }
}

function withVersion(object: StoredObject, version: number): StoredObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
}
