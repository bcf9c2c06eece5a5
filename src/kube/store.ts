import { type Clock, type Logger, type Signal, SpiderError } from "#base";
import type { KubeClient, Selection } from "./client.ts";
import type { KubeObject, Resource } from "./resource.ts";

/** Told after the store changed; `now` is undefined where the object is gone, `before` where it is new. */
export type StoreListener<T> = (key: string, now: T | undefined, before: T | undefined) => void;

/** A local view of a collection, kept by a watch. It lags; it never shows an object that never existed. */
export interface Store<T> {
  get(key: string): T | undefined;
  /** The objects of which the named index gives `value`; throws TypeError for an index that was not declared. */
  by(index: string, value: string): readonly T[];
  list(): readonly T[];
  /** Resolves when the first list is complete. */
  synced(o: Signal): Promise<void>;
  readonly isSynced: boolean;
  /** Monotonic time of the last word of the server (list, event, bookmark); undefined before the first. */
  readonly heardAtMs: number | undefined;
  /** Returns the function that ends it. A deletion may be seen as an absence after a relist; several changes may come as one. */
  changed(listener: StoreListener<T>): () => void;
  /** Resolves with the object (or its absence) as soon as the predicate holds for it. */
  waitFor(key: string, predicate: (now: T | undefined) => boolean, o: Signal): Promise<T | undefined>;
}

export interface StoreOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Index name → the values under which an object is found. */
  readonly indexes?: Readonly<Record<string, (object: T) => readonly string[]>>;
  /** Drops what nobody reads before it is kept. `metadata.managedFields` is always dropped. */
  readonly trim?: (object: T) => T;
  /** Deep-freezes what is stored: for tests. */
  readonly freeze?: boolean;
  readonly random?: () => number;
}

/** The store that a watch fills. Give `run` to a supervisor; until then it stays empty. */
export class WatchedStore<T extends KubeObject> implements Store<T> {
  readonly isSynced = false;
  readonly heardAtMs: number | undefined;
  constructor(_options: StoreOptions<T>) {}
  get(_key: string): T | undefined {
    throw notYet();
  }
  by(_index: string, _value: string): readonly T[] {
    throw notYet();
  }
  list(): readonly T[] {
    throw notYet();
  }
  synced(_o: Signal): Promise<void> {
    throw notYet();
  }
  changed(_listener: StoreListener<T>): () => void {
    throw notYet();
  }
  waitFor(_key: string, _predicate: (now: T | undefined) => boolean, _o: Signal): Promise<T | undefined> {
    throw notYet();
  }
  /** Lists and watches until the signal aborts. */
  run(_o: Signal): Promise<void> {
    throw notYet();
  }
}

function notYet(): SpiderError {
  return new SpiderError("NOT_YET", "not yet");
}
