import { type SpiderPoolUsage, spiderIPAddresses, spiderPoolUsages } from "#api";
import { abortable, type Clock, formatError, type Logger, type Signal, withTimeout } from "#base";
import { type Family, type Ip, IpSet, parseIpSet, tryParseClaimName } from "#ip";
import { Chooser, type PoolView, type UsageSnapshot } from "#ipam";
import { type KubeClient, metadataOf, WatchedStore } from "#kube";
import { labelValue } from "./claim.ts";

/** The usage of a pool is watched while it is drawn from and this long after. */
const usageIdleMs = 5_000;
/** How long the first ADD of a pool waits for its usage; without it choosing is only a worse guess. */
const firstUsageMs = 500;
/** An authoritative list of one pool's claims is made at most this often; "exhausted" is believed as long. */
const lookEveryMs = 5_000;
/** Pools that are remembered; the one that was drawn from longest ago is forgotten first. */
const pagesMax = 256;

export interface PoolBookOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** Addresses that no pool may hand out. */
  readonly reserved: (family: Family) => IpSet;
  readonly signal: AbortSignal;
}

/** A chooser for each pool that this node draws from, fed with the pool's published usage while it is in use. */
export class PoolBook {
  readonly #options: PoolBookOptions;
  readonly #pages = new Map<string, Page>();

  constructor(options: PoolBookOptions) {
    this.#options = options;
  }

  /** The page of `pool` as the pool is now; `held` are the addresses in it that this node already has. */
  async open(pool: PoolView, held: () => Iterable<Ip>, o: Signal): Promise<Page> {
    const reserved = this.#options.reserved(pool.family);
    let page = this.#pages.get(pool.uid);
    if (page === undefined) {
      page = new Page(this.#options, pool, reserved);
      for (const ip of held()) page.chooser.adopt(ip);
    } else page.update(pool, reserved);
    this.#keep(pool.uid, page);
    await page.use(o);
    return page;
  }

  /** An address that counted as ours is not: its claim is gone or was never made. */
  release(ip: Ip): void {
    for (const { chooser } of this.#ofFamily(ip)) chooser.release(ip);
  }

  /** An address that counted as ours has another claim. */
  meet(ip: Ip): void {
    for (const { chooser } of this.#ofFamily(ip)) chooser.meet(ip, this.#options.clock.monotonicMs());
  }

  /** A claim that was made elsewhere (before a restart, by adoption) is ours. */
  adopt(poolUid: string, ip: Ip): void {
    this.#pages.get(poolUid)?.chooser.adopt(ip);
  }

  stop(): void {
    for (const page of this.#pages.values()) page.stop();
    this.#pages.clear();
  }

  /** To the end of the order: the first page is the one that was not used for longest. */
  #keep(uid: string, page: Page): void {
    this.#pages.delete(uid);
    this.#pages.set(uid, page);
    const [oldest] = this.#pages;
    if (this.#pages.size <= pagesMax || oldest === undefined) return;
    oldest[1].stop();
    this.#pages.delete(oldest[0]);
  }

  #ofFamily({ family }: Ip): readonly Page[] {
    return [...this.#pages.values()].filter((page) => page.family === family);
  }
}

interface Watching {
  readonly store: WatchedStore<SpiderPoolUsage>;
  readonly stop: AbortController;
}

/** What is known here of one pool. */
export class Page {
  readonly chooser: Chooser;
  readonly #options: PoolBookOptions;
  #pool: PoolView;
  #reserved: IpSet;
  #watching: Watching | undefined;
  #idle: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: PoolBookOptions, pool: PoolView, reserved: IpSet) {
    this.#options = options;
    this.#pool = pool;
    this.#reserved = reserved;
    this.chooser = new Chooser({ set: pool.set, reserved });
  }

  get family(): Family {
    return this.#pool.family;
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

  /**
   * Looks authoritatively who holds what in the pool, unless that was done a moment ago; callers at the same time share one
   * list. False: nothing new was learnt.
   */
  async look({ signal }: Signal): Promise<boolean> {
    if (this.#looking === undefined) {
      if (this.#options.clock.monotonicMs() - this.#lookedAtMs < lookEveryMs) return false;
      this.#looking = this.#list().finally(() => {
        this.#looking = undefined;
      });
    }
    await abortable(this.#looking, signal);
    return true;
  }

  stop(): void {
    clearTimeout(this.#idle);
    this.#watching?.stop.abort(new Error("the pool is idle"));
    this.#watching = undefined;
  }

  async #list(): Promise<void> {
    const { client, clock, signal } = this.#options;
    const { name, family } = this.#pool;
    const used: Ip[] = [];
    const selection = { signal, labelSelector: `pool=${labelValue(name)}` };
    for await (const { metadata } of client.listAll(metadataOf(spiderIPAddresses), selection)) {
      const ip = tryParseClaimName(metadata.name);
      if (ip?.family === family) used.push(ip);
    }
    this.chooser.setUsage({ used: IpSet.ofIps(family, used), cooling: IpSet.empty(family) });
    this.#lookedAtMs = clock.monotonicMs();
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
