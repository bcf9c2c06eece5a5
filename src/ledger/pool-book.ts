import { type SpiderPoolUsage, spiderPoolUsages } from "#api";
import { type Clock, formatError, type Logger, type Signal, withTimeout } from "#base";
import { type Family, type Ip, IpSet, parseIpSet } from "#ip";
import { Chooser, type PoolView, type UsageSnapshot } from "#ipam";
import { type KubeClient, WatchedStore } from "#kube";

/** The usage of a pool is watched while it is drawn from and this long after. */
const usageIdleMs = 5_000;
/** How long the first ADD of a pool waits for its usage; without it choosing is only a worse guess. */
const firstUsageMs = 500;

export interface PoolBookOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** Addresses that no pool may hand out. */
  readonly reserved: (family: Family) => IpSet;
}

/** A chooser for each pool that this node draws from, fed with the pool's published usage while it is in use. */
export class PoolBook {
  readonly #options: PoolBookOptions;
  readonly #pages = new Map<string, Page>();

  constructor(options: PoolBookOptions) {
    this.#options = options;
  }

  /** The chooser of `pool` as the pool is now; `held` are the addresses in it that this node already has. */
  async chooser(pool: PoolView, held: () => Iterable<Ip>, o: Signal): Promise<Chooser> {
    const reserved = this.#options.reserved(pool.family);
    let page = this.#pages.get(pool.uid);
    if (page === undefined) {
      page = new Page(this.#options, pool, reserved);
      for (const ip of held()) page.chooser.adopt(ip);
      this.#pages.set(pool.uid, page);
    } else page.update(pool, reserved);
    await page.use(o);
    return page.chooser;
  }

  /** A claim of ours is gone. */
  release(poolUid: string, ip: Ip): void {
    this.#pages.get(poolUid)?.chooser.release(ip);
  }

  /** A claim that was made elsewhere (before a restart, by adoption) is ours. */
  adopt(poolUid: string, ip: Ip): void {
    this.#pages.get(poolUid)?.chooser.adopt(ip);
  }

  /** Replaces what is known of the pool's use by an authoritative list. */
  setUsed(poolUid: string, used: IpSet): void {
    this.#pages.get(poolUid)?.setUsed(used);
  }

  stop(): void {
    for (const page of this.#pages.values()) page.stop();
    this.#pages.clear();
  }
}

interface Watching {
  readonly store: WatchedStore<SpiderPoolUsage>;
  readonly stop: AbortController;
}

class Page {
  readonly chooser: Chooser;
  readonly #options: PoolBookOptions;
  #pool: PoolView;
  #reserved: IpSet;
  #watching: Watching | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: PoolBookOptions, pool: PoolView, reserved: IpSet) {
    this.#options = options;
    this.#pool = pool;
    this.#reserved = reserved;
    this.chooser = new Chooser({ set: pool.set, reserved });
  }

  update(pool: PoolView, reserved: IpSet): void {
    if (pool.generation === this.#pool.generation && reserved === this.#reserved) return;
    this.#pool = pool;
    this.#reserved = reserved;
    this.chooser.setAllowed({ set: pool.set, reserved });
  }

  /** Keeps the usage watched for a while from now on; at the first use waits a moment for it. */
  async use({ signal }: Signal): Promise<void> {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.stop(), usageIdleMs).unref();
    this.#watching ??= this.#watch();
    const { store } = this.#watching;
    if (store.isSynced) return;
    using patience = withTimeout(signal, firstUsageMs, () => new Error("usage not known yet"));
    await store.synced({ signal: patience }).catch((err: unknown) => {
      signal.throwIfAborted();
      this.#options.log.debug({ pool: this.#pool.name, err: formatError(err) }, "choosing without usage");
    });
  }

  setUsed(used: IpSet): void {
    this.chooser.setUsage({ used, cooling: IpSet.empty(this.#pool.family) });
  }

  stop(): void {
    clearTimeout(this.#idle);
    this.#watching?.stop.abort(new Error("the pool is idle"));
    this.#watching = undefined;
  }

  #watch(): Watching {
    const { client, clock, log } = this.#options;
    const { name } = this.#pool;
    const store = new WatchedStore({
      client,
      clock,
      log,
      resource: spiderPoolUsages,
      fieldSelector: `metadata.name=${name}`,
    });
    const stop = new AbortController();
    store.changed((_key, usage) => {
      if (usage !== undefined && usage.spec.poolUID === this.#pool.uid) this.chooser.setUsage(this.#snapshot(usage));
    });
    store.run({ signal: stop.signal }).catch((err: unknown) => {
      if (!stop.signal.aborted) log.warn({ pool: name, err }, "the usage of a pool cannot be watched");
    });
    return { store, stop };
  }

  #snapshot({ spec }: SpiderPoolUsage): UsageSnapshot {
    const { family } = this.#pool;
    const rank = spec.nodes?.indexOf(this.#options.node) ?? -1;
    const ranks = spec.nodes?.length ?? 0;
    return {
      used: parseIpSet(spec.used ?? [], family),
      cooling: parseIpSet(spec.cooling ?? [], family),
      share: rank >= 0 && ranks > 1 ? { rank, ranks } : undefined,
    };
  }
}
