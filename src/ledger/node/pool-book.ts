import { createHash } from "node:crypto";
import { labelValue, type SpiderPoolUsage, spiderIPAddresses, spiderPoolUsages } from "#api";
import { abortable, type Clock, type Logger, type Signal, within } from "#base";
import { type Family, type Ip, IpSet, tryParseClaimName } from "#ip";
import { type Choice, Chooser, type Evidence, type PoolView, type SetAside, type UsageSnapshot } from "#ipam";
import { type KubeClient, metadataOf, WatchedStore } from "#kube";
import { setAsideIn, snapshotOf } from "./snapshot.ts";
import { Turns } from "./turns.ts";

/**
 * A pool's usage is watched if the pool is drawn from more often than this, and until this long afterwards. For a Pod now and
 * then it is only read: that comes from the server's memory over an existing connection. A watch needs a list and a connection.
 */
const usageIdleMs = 5_000;
/** How long the first ADD of a pool waits for its usage. Without the usage, the choice is only a worse guess. */
const firstUsageMs = 500;
/** How long the next usage is waited for. During allocations the leader publishes more often than this. */
const nextUsageMs = 1_200;
/** If nothing was published for so long, nothing has changed, or there is no leader. */
const silentMs = 30_000;
/** How often a node lists a pool's claims at most. A list is expensive for the API server. */
const lookEveryMs = 30_000;
/** How long a pool counts as exhausted without asking again. Newer usage ends that. */
const exhaustedMs = 5_000;
/** How many pools are remembered. The one that was drawn from longest ago is forgotten first. */
const pagesMax = 256;

interface PoolBookOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** Addresses that no pool may hand out. */
  readonly reserved: (family: Family) => IpSet;
  /** Ends all watches. */
  readonly signal: AbortSignal;
}

/** A chooser for each pool that this node draws from, fed with the pool's published usage while it is in use. */
export class PoolBook {
  readonly #options: PoolBookOptions;
  readonly #pages = new Map<string, Page>();

  constructor(options: PoolBookOptions) {
    this.#options = options;
  }

  /** The page of `pool`; `held` are the addresses in it that this node already has. */
  open(pool: PoolView, held: () => Iterable<Ip>): Page {
    let page = this.#pages.get(pool.uid);
    if (page === undefined) {
      page = new Page(this.#options, pool);
      for (const ip of held()) page.chooser.adopt(ip);
    }
    this.#keep(pool.uid, page);
    return page;
  }

  /** An address that counted as ours has no claim: it was deleted or never made. */
  release(ip: Ip): void {
    for (const { chooser } of this.#ofFamily(ip)) chooser.release(ip);
  }

  /** An address that counted as ours has another claim. */
  meet(ip: Ip): void {
    for (const { chooser } of this.#ofFamily(ip)) chooser.meet(ip, this.#options.clock.monotonicMs());
  }

  /** A claim is ours, whether it was made by a guess or otherwise (before a restart, by adoption). */
  adopt(poolUid: string, ip: Ip): void {
    this.#pages.get(poolUid)?.adopt(ip);
  }

  /** Moves the page to the end of the order, so that the first page is the one that was not used for longest. */
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

/** What this node knows about one pool. */
export class Page {
  readonly #chooser: Chooser;
  /** To be entered before `next` is called, so that the choice uses what is known when the create is sent. */
  readonly turns: Turns = new Turns();
  readonly #options: PoolBookOptions;
  #pool: PoolView;
  #reserved: IpSet;
  #watching: Watching | undefined;
  /** How many ADDs draw from the pool now, and since when none does. */
  #users = 0;
  #restsSinceMs = Number.NEGATIVE_INFINITY;
  #isIdling = false;
  #looking: Promise<void> | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #drawnAtMs = Number.NEGATIVE_INFINITY;
  #usage: UsageSnapshot | undefined;
  #aside: SetAside | undefined;
  /** The newest usage, until somebody chooses: among many nodes it is published far more often than one of them draws. */
  #unread: SpiderPoolUsage | undefined;
  #usageAtMs = Number.NEGATIVE_INFINITY;
  /** When a usage was published that is newer than one that was known: what is read first may be of any time before. */
  #newsAtMs = Number.NEGATIVE_INFINITY;
  #nextUsage = Promise.withResolvers<void>();
  #exhaustedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: PoolBookOptions, pool: PoolView) {
    this.#options = options;
    this.#pool = pool;
    this.#reserved = options.reserved(pool.family);
    this.#chooser = new Chooser({ set: pool.set, reserved: this.#reserved }, { spot: spotOf(options.node) });
  }

  get family(): Family {
    return this.#pool.family;
  }

  /** How many addresses are set aside, by the newest usage. It has no part in the choice. */
  get aside(): SetAside | undefined {
    return this.#aside;
  }

  /** How many Pods want an address of the pool for which no create is under way: what the leader is told with each claim. */
  get waiting(): number {
    return Math.max(0, this.#users - this.turns.inside);
  }

  /** The chooser, with the newest usage. */
  get chooser(): Chooser {
    const published = this.#unread;
    this.#unread = undefined;
    try {
      if (published !== undefined) this.#know(published);
    } catch (err) {
      this.#options.log.warn({ pool: this.#pool.name, err }, "the usage of a pool has no meaning");
    }
    return this.#chooser;
  }

  /**
   * The address to try next, according to this view of the pool; the claim must be written with the same view. While a pool is
   * being edited, ADDs with an older and a newer view use the same page.
   */
  next(pool: PoolView): Choice {
    const reserved = this.#options.reserved(pool.family);
    if (pool.generation !== this.#pool.generation || reserved !== this.#reserved) {
      this.#pool = pool;
      this.#reserved = reserved;
      this.chooser.setAllowed({ set: pool.set, reserved });
    }
    if (this.#users > 1) this.chooser.crowd();
    return this.chooser.next(this.#options.clock.monotonicMs());
  }

  /** An address is ours, whatever the usage says: newer usage is read only when somebody chooses. */
  adopt(ip: Ip): void {
    this.#chooser.adopt(ip);
  }

  /** Takes note of the outcome of a create: the claim, or undefined if somebody else has the address. Returns the same. */
  tried<T>(ip: Ip, claim: T | undefined): T | undefined {
    if (claim === undefined) {
      this.#watching ??= this.#watch(); // Others draw from it, too.
      this.chooser.meet(ip, this.#options.clock.monotonicMs());
      this.turns.met();
    } else this.turns.made();
    return claim;
  }

  /** Runs `act` when the usage is known, or after a short wait for it. Watches the usage if the pool is drawn from often. */
  async drawn<T>(act: () => Promise<T>, o: Signal): Promise<T> {
    const { clock } = this.#options;
    this.#users += 1;
    const nowMs = clock.monotonicMs();
    const isAlone = this.#watching === undefined && this.#users === 1 && nowMs - this.#drawnAtMs > usageIdleMs;
    this.#drawnAtMs = nowMs;
    try {
      if (isAlone) await within(this.#read(), firstUsageMs, { clock, ...o });
      else {
        this.#watching ??= this.#watch();
        const { store } = this.#watching;
        if (!store.isSynced) await within(store.synced(o), firstUsageMs, { clock, ...o });
      }
      return await act();
    } finally {
      this.#users -= 1;
      if (this.#users === 0) void this.#idle();
    }
  }

  /**
   * To be called when the chooser has nothing left. True if there is news: choose again. False if the pool is exhausted,
   * according to usage that came after the ADD began (`sinceMs`), or to a list of the claims if no usage comes.
   */
  async recheck({ freeByUsage }: Evidence, sinceMs: number, o: Signal): Promise<boolean> {
    const { clock } = this.#options;
    if (clock.monotonicMs() < this.#exhaustedUntilMs) return false;
    const isTold = freeByUsage === 0n && this.#newsAtMs > sinceMs;
    if (!isTold) {
      this.#watching ??= this.#watch();
      const isSpeaking = clock.monotonicMs() - this.#usageAtMs < silentMs;
      if (isSpeaking && (await within(this.#nextUsage.promise, nextUsageMs, { clock, ...o }))) return true;
      if (await this.look(o)) return true;
    }
    this.#exhaustedUntilMs = clock.monotonicMs() + exhaustedMs;
    return false;
  }

  /**
   * Lists the pool's claims, unless that was done a short while ago. Callers at the same time share one list. False if there is
   * no news.
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

  /** Ends the watch of the pool's usage. */
  stop(): void {
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
    const { chooser } = this; // The getter has taken the usage that was published last.
    const { cooling = IpSet.empty(family), share } = this.#usage ?? {};
    chooser.setUsage({ used: IpSet.ofIps(family, used), cooling, share });
    this.#lookedAtMs = clock.monotonicMs();
  }

  #watch(): Watching {
    const { client, clock, log, signal } = this.#options;
    const { name } = this.#pool;
    const store = new WatchedStore({
      client,
      clock,
      log,
      resource: spiderPoolUsages,
      fieldSelector: `metadata.name=${name}`,
      // There is one object at most.
      pageItems: 0,
    });
    const stop = new AbortController();
    store.changed((_key, usage) => {
      if (usage !== undefined) this.#take(usage, { news: store.isSynced });
    });
    const over = AbortSignal.any([signal, stop.signal]);
    store.run({ signal: over }).catch((err: unknown) => {
      if (!over.aborted) log.warn({ pool: name, err }, "the usage of a pool cannot be watched");
    });
    return { store, stop };
  }

  /** Reads the usage once. A failure is only logged: without the usage, the choice is only a worse guess. */
  async #read(): Promise<void> {
    const { client, log, signal } = this.#options;
    const { name } = this.#pool;
    try {
      const usage = await client.get(spiderPoolUsages, { name }, { signal, resourceVersion: "0" });
      // If there is a watch by now, its news is newer.
      if (usage !== undefined && this.#watching === undefined) this.#take(usage, { news: false });
    } catch (err) {
      if (!signal.aborted) log.warn({ pool: name, err }, "the usage of a pool cannot be read");
    }
  }

  #take(published: SpiderPoolUsage, { news }: { readonly news: boolean }): void {
    if (published.spec.poolUID !== this.#pool.uid) return;
    this.#unread = published;
    this.#aside = setAsideIn(published);
    this.#usageAtMs = this.#options.clock.monotonicMs();
    if (!news) return;
    this.#newsAtMs = this.#usageAtMs;
    this.#exhaustedUntilMs = Number.NEGATIVE_INFINITY;
    this.#nextUsage.resolve();
    this.#nextUsage = Promise.withResolvers();
  }

  #know(published: SpiderPoolUsage): void {
    const usage = snapshotOf(published, this.family, this.#options.node);
    this.#usage = usage;
    this.#chooser.setUsage(usage);
    const isGranted = usage.granted?.own.isEmpty === false;
    this.turns.among(usage.share?.ranks ?? 1, { granted: isGranted ? published.spec.grants?.length : 0 });
  }

  /** Ends the watch when nobody has drawn for a while. One call at a time does so for all. */
  async #idle(): Promise<void> {
    const { clock, signal } = this.#options;
    this.#restsSinceMs = clock.monotonicMs();
    if (this.#isIdling || this.#watching === undefined) return;
    this.#isIdling = true;
    const leftMs = () => this.#restsSinceMs + usageIdleMs - clock.monotonicMs();
    while (!signal.aborted && leftMs() > 0) await clock.sleep(leftMs(), { signal }).catch(() => {});
    this.#isIdling = false;
    if (this.#users > 0) return;
    this.stop();
    this.turns.rested();
  }
}

/** A number between 0 and 1 that differs from node to node. */
function spotOf(node: string): number {
  return createHash("sha256").update(node).digest().readUInt32BE() / 2 ** 32;
}
