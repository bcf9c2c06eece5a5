import { type SpiderIPPool, spiderIPPools } from "#api";
import { abortable, type Clock, formatError, type Logger, never, type Signal } from "#base";
import { type PoolView, poolView } from "#ipam";
import { isEarlier, type KubeClient, type KubeObject, metadataOf, retry, type Store } from "#kube";

/**
 * If the watch of the pools was silent for longer, they are listed. It is a little longer than the time between the server's
 * bookmarks. The controller keeps a deleted pool for 120 s, until creates that were decided by older news (44 s) have ended.
 */
const unheardMsMax = 75_000;

/** All pools at one moment, by name. */
export interface PoolsNow {
  readonly pools: ReadonlyMap<string, PoolView>;
  /** Malformed pools, each with the sentence that says why. */
  readonly broken: ReadonlyMap<string, string>;
}

interface PoolCacheOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Metadata only: a pool's status may have hundreds of kilobytes, and changes with every allocation. */
  readonly metadata: Store<KubeObject>;
}

/** All pools, decoded. A pool is fetched again when its metadata shows that its spec has changed. */
export class PoolCache {
  readonly #options: PoolCacheOptions;
  readonly #pools = new Map<string, PoolView>();
  readonly #broken = new Map<string, string>();
  /** By name: the version of the pool that is kept or on its way, and the newest resourceVersion that the watch told with it. */
  readonly #versions = new Map<string, { readonly version: string; at: string | undefined }>();
  readonly #fetching = new Map<string, Promise<void>>();
  #change = Promise.withResolvers<void>();
  /** Aborted when the program ends. A fetch does not end with the call that asked for it, because others use it, too. */
  #signal: AbortSignal = never;
  #listedAtMs = Number.NEGATIVE_INFINITY;
  #listing: Promise<void> | undefined;

  constructor(options: PoolCacheOptions) {
    this.#options = options;
  }

  /** Watches the metadata from now on. */
  start(o: Signal): void {
    const { metadata } = this.#options;
    this.#signal = o.signal;
    metadata.changed((name, now) => this.#follow(name, now, o));
    for (const pool of metadata.list()) this.#follow(pool.metadata.name, pool, o);
  }

  /** The pools, as of recent news of the watch. Waits for pools that are being fetched. */
  async now(o: Signal): Promise<PoolsNow> {
    const { metadata, clock } = this.#options;
    await metadata.synced(o);
    if (clock.monotonicMs() - Math.max(metadata.heardAtMs ?? 0, this.#listedAtMs) > unheardMsMax) {
      // If asking again does not help, the ADD fails with the server's error.
      this.#listing ??= retry(() => this.#list(), { signal: this.#signal, clock }).finally(() => {
        this.#listing = undefined;
      });
      await abortable(this.#listing, o.signal);
    }
    while (this.#fetching.size > 0) {
      await abortable(Promise.all(this.#fetching.values()), o.signal);
    }
    return { pools: this.#pools, broken: this.#broken };
  }

  /** The server may be of another history, in which the same generation is another spec: what is told next is fetched. */
  distrust(): void {
    this.#versions.clear();
  }

  /** Resolves when a pool came, went or has another spec; call it before `now`, so that nothing between them is missed. */
  nextChange(): Promise<void> {
    return this.#change.promise;
  }

  #tell(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** Lists what a silent watch may have missed, and opens the watch again, because its connection may be half open. */
  async #list(): Promise<void> {
    const signal = this.#signal;
    const { client, clock, metadata } = this.#options;
    metadata.doubt();
    const startMs = clock.monotonicMs();
    // The watch may be back before the list has ended, with newer pools than that has.
    const before = new Map(this.#versions);
    const names = new Set<string>();
    for await (const pool of client.listAll(metadataOf(spiderIPPools), { signal })) {
      const { name, resourceVersion = "" } = pool.metadata;
      names.add(name);
      if (!isEarlier(resourceVersion, this.#versions.get(name)?.at)) this.#follow(name, pool, { signal });
    }
    for (const [name, known] of before) {
      if (!names.has(name) && this.#versions.get(name) === known) this.#forget(name);
    }
    this.#listedAtMs = startMs;
  }

  #follow(name: string, now: KubeObject | undefined, o: Signal): void {
    if (now === undefined) {
      this.#forget(name);
      return;
    }
    // Changes of labels do not change the generation, but a label makes a pool an automatic one.
    const { uid, generation, deletionTimestamp, labels, resourceVersion: at } = now.metadata;
    const version = JSON.stringify([uid, generation, deletionTimestamp, labels]);
    const known = this.#versions.get(name);
    if (known?.version === version) {
      known.at = at;
      return;
    }
    this.#versions.set(name, { version, at });
    const fetching = this.#fetch(name, version, o).finally(() => {
      if (this.#fetching.get(name) === fetching) this.#fetching.delete(name);
    });
    this.#fetching.set(name, fetching);
  }

  async #fetch(name: string, version: string, { signal }: Signal): Promise<void> {
    const { client, clock, log } = this.#options;
    try {
      // Even a refusal is tried again, because nobody else would ask for this version.
      const retryable = () => this.#versions.get(name)?.version === version;
      // No older than what the watch told: the server answers from what it keeps of the watch in memory. Without it, it would
      // read and decode what etcd has, a status of up to 100 kB with it, for each of a thousand agents.
      const get = (o: Signal) =>
        client.get(spiderIPPools, { name }, { ...o, resourceVersion: this.#versions.get(name)?.at });
      const pool = await retry(get, { signal, clock, retryable });
      // A newer version that was seen meanwhile has its own fetch.
      if (!retryable()) return;
      if (pool === undefined) this.#forget(name);
      else this.#keep(name, pool);
    } catch (err) {
      if (!signal.aborted)
        log.warn({ pool: name, err: formatError(err) }, "a superseded version of a pool was not read");
    }
  }

  #keep(name: string, pool: SpiderIPPool): void {
    try {
      this.#pools.set(name, poolView(pool));
      this.#broken.delete(name);
    } catch (error) {
      this.#pools.delete(name);
      this.#broken.set(name, formatError(error));
    }
    this.#tell();
  }

  #forget(name: string): void {
    this.#versions.delete(name);
    this.#pools.delete(name);
    this.#broken.delete(name);
    this.#tell();
  }
}
