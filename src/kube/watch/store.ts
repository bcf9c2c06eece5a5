import { abortable, type Clock, Index, type Logger, type Signal } from "#base";
import type { KubeClient, Selection } from "../client.ts";
import { type KubeObject, keyOf, type Resource } from "../kinds/resource.ts";
import { limits } from "../limits.ts";
import type { WatchChange } from "./watch-step.ts";
import { runWatcher } from "./watcher.ts";

/** Told after the store changed; `now` is undefined if the object is gone, `before` if it is new. */
type StoreListener<T> = (key: string, now: T | undefined, before: T | undefined) => void;

/** A local view of a collection, kept by a watch. It lags; it never shows an object that never existed. */
export interface Store<T extends KubeObject> {
  get(key: string): T | undefined;
  /** The objects of which the named index gives `value`; throws TypeError for an index that was not declared. */
  by(index: string, value: string): readonly T[];
  list(): readonly T[];
  /** Resolves when the first list is complete. */
  synced(o: Signal): Promise<void>;
  readonly isSynced: boolean;
  /** Monotonic time of the last word of the server (list, event, bookmark); undefined before the first. */
  readonly heardAtMs: number | undefined;
  /**
   * Returns the function that ends it. Changes may be merged, and a deletion may be reported late, after an interrupted watch.
   * But a name that comes back with another UID is always reported as gone first.
   */
  changed(listener: StoreListener<T>): () => void;
  /** How often the watch was interrupted by a failure. */
  readonly breaks: number;
  /** Up to which resourceVersion all is shown; undefined before the first list. */
  readonly version: string | undefined;
  /**
   * Calls the listener when the server's versions ran back: etcd was restored to an earlier state, so that deleted objects exist
   * again and newer ones are missing. The store shows that a moment later. It does not notice if the versions have caught up
   * before it is connected again. Returns the function that ends it.
   */
  rewound(listener: () => void): () => void;
  /**
   * For a caller that knows of a change which the watch should have reported long ago: the connection may be half open, which
   * looks like a collection that nobody changes. If the server has been silent for a while, the watch is opened again from
   * where it stands, which costs one request.
   */
  doubt(): void;
  /** Lists everything again. For callers that know that the server's history no longer contains this state. */
  relist(): void;
  /** Resolves with the object (or its absence) as soon as the predicate holds for it. */
  waitFor(key: string, predicate: (now: T | undefined) => boolean, o: Signal): Promise<T | undefined>;
}

/** Which objects are watched, how they are indexed, and which parts of them are kept. */
export interface StoreOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Index name → the values under which an object is found. */
  readonly indexes?: Readonly<Record<string, (object: T) => readonly string[]>>;
  /** Drops fields that nobody reads, before an object is kept. Must keep `metadata`. */
  readonly trim?: (object: T) => T;
  /** More objects than this are listed as a stream, or in pages of this size. For tests. @default 500 */
  readonly pageItems?: number;
  /** Deep-freezes stored objects. For tests. */
  readonly freeze?: boolean;
  /** @default Math.random */
  readonly random?: () => number;
}

/** The store that a watch fills. Give `run` to a supervisor; until then it stays empty. */
export class WatchedStore<T extends KubeObject> implements Store<T> {
  readonly #options: StoreOptions<T>;
  readonly #objects = new Map<string, T>();
  readonly #indexes: ReadonlyMap<string, Index<T>>;
  readonly #listeners = new Set<StoreListener<T>>();
  readonly #rewindListeners = new Set<() => void>();
  readonly #synced = Promise.withResolvers<void>();
  #isSynced = false;
  #heardAtMs: number | undefined;
  #breaks = 0;
  #version: string | undefined;
  #watch: { readonly openedAtMs: number; readonly renew: () => void } | undefined;
  #relist: () => void = () => {};
  /** The server may be of another history, in which the same version is another state. */
  #distrusts = false;

  constructor(options: StoreOptions<T>) {
    this.#options = options;
    const indexes = Object.entries(options.indexes ?? {});
    this.#indexes = new Map(indexes.map(([name, valuesOf]) => [name, new Index(valuesOf)]));
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  get heardAtMs(): number | undefined {
    return this.#heardAtMs;
  }

  get breaks(): number {
    return this.#breaks;
  }

  get version(): string | undefined {
    return this.#version;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  by(index: string, value: string): readonly T[] {
    const found = this.#indexes.get(index);
    if (found === undefined) throw new TypeError(`'index' must be one of those declared: current value is ${index}`);
    return found.get(value);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  synced({ signal }: Signal): Promise<void> {
    return this.#isSynced && !signal.aborted ? this.#synced.promise : abortable(this.#synced.promise, signal);
  }

  doubt(): void {
    const { clock, log, resource } = this.#options;
    if (this.#watch === undefined) return;
    const { openedAtMs, renew } = this.#watch;
    if (clock.monotonicMs() - Math.max(openedAtMs, this.#heardAtMs ?? openedAtMs) < limits.watchDoubtMs) return;
    log.info({ resource: resource.plural }, "a watch that misses what it should tell is opened anew");
    renew();
  }

  relist(): void {
    this.#distrusts = true;
    this.#relist();
  }

  changed(listener: StoreListener<T>): () => void {
    const own: StoreListener<T> = (...change) => listener(...change);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  rewound(listener: () => void): () => void {
    const own = () => listener();
    this.#rewindListeners.add(own);
    return () => this.#rewindListeners.delete(own);
  }

  async waitFor(key: string, predicate: (now: T | undefined) => boolean, { signal }: Signal): Promise<T | undefined> {
    signal.throwIfAborted();
    const now = this.get(key);
    if (predicate(now)) return now;
    const met = Promise.withResolvers<T | undefined>();
    const end = this.changed((changed) => {
      if (changed !== key) return;
      const object = this.get(key);
      if (predicate(object)) met.resolve(object);
    });
    try {
      return await abortable(met.promise, signal);
    } finally {
      end();
    }
  }

  /** Lists and watches until the signal aborts, then resolves. Call it once. */
  run({ signal }: Signal): Promise<void> {
    const { clock, random = Math.random } = this.#options;
    const onChange = (change: WatchChange<T>) => this.#apply(change);
    const onHeard = (version: string | undefined) => {
      this.#heardAtMs = clock.monotonicMs();
      this.#version = version ?? this.#version;
    };
    const onRewound = () => {
      this.#distrusts = true;
      this.#tellRewound();
    };
    const onBroken = () => {
      this.#breaks += 1;
    };
    const onOpened = (renew: () => void) => {
      this.#watch = { openedAtMs: clock.monotonicMs(), renew };
    };
    const onStarted = (relist: () => void) => {
      this.#relist = relist;
    };
    return runWatcher(
      { ...this.#options, random, onChange, onHeard, onRewound, onBroken, onOpened, onStarted },
      { signal },
    );
  }

  #apply(change: WatchChange<T>): void {
    switch (change.kind) {
      case "put":
        this.#tell(change.object, this.#put(change.object));
        break;
      case "removed":
        this.#tell(undefined, this.#remove(keyOf(change.object.metadata)));
        break;
      case "replaced": {
        // Everything is stored before listeners are called, so that none of them sees half of a list.
        const { objects } = change;
        const gone = this.#missing(objects).map((key) => this.#remove(key));
        // There may be 300,000: nothing is made for each of them.
        const before = objects.map((object) => this.#put(object));
        this.#isSynced = true;
        this.#distrusts = false;
        for (const object of gone) this.#tell(undefined, object);
        for (const [at, now] of objects.entries()) this.#tell(now, before[at]);
        this.#synced.resolve();
      }
    }
  }

  /** The keys that a new list does not have. */
  #missing(objects: readonly T[]): readonly string[] {
    if (this.#objects.size === 0) return [];
    const keys = new Set(objects.map(({ metadata }) => keyOf(metadata)));
    return [...this.#objects.keys()].filter((key) => !keys.has(key));
  }

  /** Returns the object that it replaces, or `now` itself if the store already has that. */
  #put(now: T): T | undefined {
    const key = keyOf(now.metadata);
    const before = this.#objects.get(key);
    if (!this.#distrusts && before?.metadata.resourceVersion === now.metadata.resourceVersion) return now;
    if (this.#options.freeze === true) deepFreeze(now);
    this.#objects.set(key, now);
    for (const index of this.#indexes.values()) index.move(before, now);
    return before;
  }

  /** Returns what was there. */
  #remove(key: string): T | undefined {
    const before = this.#objects.get(key);
    if (before === undefined) return undefined;
    this.#objects.delete(key);
    for (const index of this.#indexes.values()) index.move(before, undefined);
    return before;
  }

  #tellRewound(): void {
    const { log, resource } = this.#options;
    log.warn({ resource: resource.plural }, "the API server was put back to an earlier state");
    for (const listener of [...this.#rewindListeners]) listener();
  }

  #tell(now: T | undefined, before: T | undefined): void {
    const either = now ?? before;
    if (either === undefined || now === before) return;
    const key = keyOf(either.metadata);
    const another = now !== undefined && before !== undefined && now.metadata.uid !== before.metadata.uid;
    if (another) this.#tellOne(key, undefined, before);
    this.#tellOne(key, now, another ? undefined : before);
  }

  #tellOne(...change: Parameters<StoreListener<T>>): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(...change);
      } catch (err) {
        // One listener's mistake must not stop the watch that feeds all the others.
        this.#options.log.error(
          { err, resource: this.#options.resource.plural, key: change[0] },
          "a store listener failed",
        );
      }
    }
  }
}

function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
}
