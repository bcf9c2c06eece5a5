import { type Ip, IpSet, ipFromValue, ipValue } from "#ip";

/** An address met as taken is tried again after this long: its holder may be gone, and nobody would tell us. */
export const metMsMax = 30_000;

/** How many addresses met as taken are remembered; the oldest is forgotten first. */
export const metMax = 4096;

/** What is known of a pool's use at one moment, from the published usage or from a list of claims. */
export interface UsageSnapshot {
  /** Claimed by anybody. Addresses outside the pool do no harm. */
  readonly used: IpSet;
  /** Free, but released so recently that others may still have them in their neighbour caches: handed out last. */
  readonly cooling: IpSet;
  /** The place of this node among the nodes that draw from the pool now (0 ≤ rank < ranks): they start apart. */
  readonly share?: { readonly rank: number; readonly ranks: number } | undefined;
}

/**
 * Nodes that draw from one pool at once are not to follow each other: who meets somebody goes on elsewhere, each time. In pools of
 * so few addresses, where no crowd can be, only who meets a second one does: two Pods on two nodes get an idle pool's first two
 * addresses.
 */
const fewAddresses = 64n;

/** How much further the next place is after each meeting, as a part of what is free: no two of many places come close (golden ratio). */
const stride = (Math.sqrt(5) - 1) / 2;

interface ChooserOptions {
  /** What the pool may hand out. */
  readonly set: IpSet;
  readonly reserved: IpSet;
}

/** Why no address is left to try. The caller decides whether this is enough to say "exhausted" or a fresh look is due. */
export interface Evidence {
  /** How many addresses the pool may hand out, reserved ones taken off. */
  readonly allowed: bigint;
  /** How many of those the newest usage shows as free. 0: the usage by itself says that the pool is exhausted. */
  readonly freeByUsage: bigint;
  /** Of the free ones: our own creates since, and those met as taken since. */
  readonly own: bigint;
  readonly met: bigint;
}

/** The address to try next, or that the pool has none as far as is known here. `cooling`: it was released a short while ago. */
export type Choice =
  | { readonly kind: "address"; readonly ip: Ip; readonly cooling: boolean }
  | { readonly kind: "exhausted"; readonly evidence: Evidence };

interface Tier {
  readonly free: IpSet;
  readonly cooling: boolean;
  /** Where this node begins, or goes on since it met somebody. */
  start: Ip;
  /** Where the next search begins: all from `start` up to it, coming round, is known to be blocked. */
  cursor: Ip;
}

/**
 * Which address of one pool to try next. A guess: creating the claim decides. It never offers an address that it knows to be
 * used, ours or met as taken; it offers every other one before it gives up, those that cool down last.
 *
 * Cost: a new snapshot O(intervals); a choice O(log intervals) for each run of own or met addresses crossed, and each is
 * crossed once. Neither depends on how many addresses the pool has or how many are used.
 */
export class Chooser {
  #allowed: IpSet;
  #usage: UsageSnapshot;
  /** Free by the snapshot, first those that are not cooling. */
  #tiers: readonly Tier[] = [];
  /** Ours, in use or being created. Never forgotten, whatever a snapshot says: it may be older than the create. */
  #own: IpSet;
  #met: IpSet;
  /** When each of `#met` was met, oldest first. */
  readonly #metAtMs = new Map<bigint, number>();
  readonly #spot: number;
  /** How often we met somebody, over snapshots, until one tells our share or none was met for {@link metMsMax}. */
  #meetings = 0;
  #metLastMs = 0;
  /** We begin at our spot, not at the lowest free address. */
  #isApart = false;
  /** How often we went on elsewhere. */
  #leaps = 0;
  /** Ours until just now, and not yet among the cooling ones of a snapshot. */
  #released: IpSet;

  /** @param spot between 0 and 1, of the node: where it goes on while others take what it would, and no share is known */
  constructor({ set, reserved }: ChooserOptions, { spot = 0 }: { readonly spot?: number } = {}) {
    const none = IpSet.empty(set.family);
    this.#usage = { used: none, cooling: none };
    this.#own = none;
    this.#met = none;
    this.#released = none;
    this.#allowed = set.subtract(reserved);
    this.#spot = spot;
    this.#rebuild();
  }

  /** The pool or the reserved addresses changed. */
  setAllowed({ set, reserved }: ChooserOptions): void {
    this.#allowed = set.subtract(reserved);
    this.#rebuild();
  }

  /** A newer view of who uses what. What was met as taken is forgotten: the snapshot knows better. */
  setUsage(usage: UsageSnapshot): void {
    this.#usage = usage;
    this.#released = IpSet.empty(this.#allowed.family);
    this.#met = this.#released;
    this.#metAtMs.clear();
    this.#rebuild();
  }

  /** The address to create next; it counts as ours from here on, until `met` or `released` says otherwise. */
  next(nowMs: number): Choice {
    this.#forgetOldMet(nowMs);
    const blocked = [this.#own, this.#met, this.#released];
    for (const tier of this.#tiers) {
      const { free, start, cursor, cooling } = tier;
      const ip = firstOutside(free, blocked, cursor) ?? firstOutside(free, blocked, free.first ?? start);
      if (ip === undefined) continue;
      tier.cursor = ip;
      return this.#choose(ip, cooling);
    }
    const left = this.#released.intersect(this.#allowed).subtract(this.#usage.used).first;
    if (left !== undefined) return this.#choose(left, true);
    return { kind: "exhausted", evidence: this.#evidence() };
  }

  /** The create of this address was answered by "exists", and the claim is not ours. */
  meet(ip: Ip, nowMs: number): void {
    this.#own = this.#own.remove(ip);
    this.#met = this.#met.add(ip);
    this.#metAtMs.delete(ipValue(ip));
    this.#metAtMs.set(ipValue(ip), nowMs);
    this.#metLastMs = nowMs;
    this.#meetings += 1;
    if (this.#isApart || this.#usage.share !== undefined) this.#leap();
    else if (this.#meetings > 1 || this.#allowed.size > fewAddresses) this.#part();
    const [oldest] = this.#metAtMs.keys();
    if (this.#metAtMs.size > metMax && oldest !== undefined) this.#forgetMet(oldest);
  }

  /** A claim of this node that was made elsewhere: before a restart, by adoption. */
  adopt(ip: Ip): void {
    this.#forgetMet(ipValue(ip));
    this.#released = this.#released.remove(ip);
    this.#own = this.#own.add(ip);
  }

  /** A claim of ours is gone, or the create was never sent. The address comes last until a snapshot tells more. */
  release(ip: Ip): void {
    if (!this.#own.contains(ip)) return;
    this.#own = this.#own.remove(ip);
    this.#released = this.#released.add(ip);
  }

  #choose(ip: Ip, cooling: boolean): Choice {
    this.#released = this.#released.remove(ip);
    this.#own = this.#own.add(ip);
    return { kind: "address", ip, cooling };
  }

  /** Several Pods at once: as likely as not, on other nodes, too. */
  crowd(): void {
    if (!this.#isApart && this.#usage.share === undefined && this.#allowed.size > fewAddresses) this.#part();
  }

  #part(): void {
    this.#isApart = true;
    this.#rebuild();
  }

  #leap(): void {
    this.#leaps += 1;
    const place = (this.#spot + this.#leaps * stride) % 1;
    for (const tier of this.#tiers) {
      tier.start = tier.free.nth(BigInt(Math.floor(place * Number(tier.free.size)))) ?? tier.start;
      tier.cursor = tier.start;
    }
  }

  #startOf(free: IpSet, share: UsageSnapshot["share"]): Ip | undefined {
    if (share !== undefined) return free.nth((free.size * BigInt(share.rank)) / BigInt(share.ranks));
    return this.#isApart ? free.nth(BigInt(Math.floor(this.#spot * Number(free.size)))) : free.first;
  }

  #follow(): void {
    this.#meetings = 0;
    this.#isApart = false;
  }

  #rebuild(): void {
    const { used, cooling, share } = this.#usage;
    if (share !== undefined) this.#follow();
    const free = this.#allowed.subtract(used);
    const tiers = [
      { free: free.subtract(cooling), cooling: false },
      { free: free.intersect(cooling), cooling: true },
    ];
    this.#tiers = tiers.flatMap((tier) => {
      const start = this.#startOf(tier.free, share) ?? tier.free.first;
      return start === undefined ? [] : [{ ...tier, start, cursor: start }];
    });
  }

  #evidence(): Evidence {
    const free = this.#allowed.subtract(this.#usage.used);
    return {
      allowed: this.#allowed.size,
      freeByUsage: free.size,
      own: free.intersect(this.#own).size,
      met: free.intersect(this.#met).size,
    };
  }

  #forgetOldMet(nowMs: number): void {
    if (this.#meetings > 0 && nowMs - this.#metLastMs >= metMsMax) {
      this.#follow();
      this.#rebuild();
    }
    for (const [value, atMs] of this.#metAtMs) {
      if (nowMs - atMs < metMsMax) return;
      this.#forgetMet(value);
    }
  }

  #forgetMet(value: bigint): void {
    if (!this.#metAtMs.delete(value)) return;
    this.#met = this.#met.remove(ipFromValue(this.#allowed.family, value));
    for (const tier of this.#tiers) tier.cursor = tier.start;
  }
}

/** The lowest address of `set`, from `from` on, that is in none of the `blocked` sets. */
function firstOutside(set: IpSet, blocked: readonly IpSet[], from: Ip): Ip | undefined {
  let at = set.atOrAfter(from);
  while (at !== undefined) {
    const candidate = at;
    const run = blocked.map((block) => block.rangeOf(candidate)).find((found) => found !== undefined);
    if (run === undefined) return candidate;
    const { last } = set;
    if (last === undefined || ipValue(run.last) >= ipValue(last)) return undefined;
    at = set.atOrAfter(ipFromValue(set.family, ipValue(run.last) + 1n));
  }
  return undefined;
}
