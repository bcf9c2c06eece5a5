import { type Ip, IpSet, ipFromValue, ipValue } from "#ip";

/** When an address that was taken is tried again. Its holder may be gone, and no message would say so. */
export const metMsMax = 30_000;

/** How many taken addresses are remembered. The oldest is forgotten first. */
export const metMax = 4096;

/** The use of a pool at one time, from the published usage or from a list of claims. */
export interface UsageSnapshot {
  /** Addresses with a claim. Some may be outside the pool. */
  readonly used: IpSet;
  /** Free addresses that are handed out last, because neighbour caches may still have their last holders. */
  readonly cooling: IpSet;
  /** The rank of this node among those that draw from the pool now (0 ≤ rank < ranks), so that they begin apart. */
  readonly share?: { readonly rank: number; readonly ranks: number } | undefined;
  /** The parts of the pool that were granted to this node, for the Pods that wait on it, and to other ones. */
  readonly granted?: { readonly own: IpSet; readonly others: IpSet } | undefined;
}

/**
 * A pool with at most so many addresses is small. Nodes that draw from one pool at once must not follow each other, so a node
 * goes on elsewhere after each collision. In a small pool it does so only after the second one, because many nodes cannot draw
 * from it anyway: two Pods on two nodes get the first two addresses of an idle pool.
 */
const fewAddresses = 64n;

/** How far the next place is after a collision, as a part of the free addresses. By the golden ratio, places never come close. */
const stride = (Math.sqrt(5) - 1) / 2;

interface ChooserOptions {
  /** The addresses of the pool. */
  readonly set: IpSet;
  readonly reserved: IpSet;
}

/** Why no address is left to try. The caller decides whether the pool is exhausted or must be looked at again. */
export interface Evidence {
  /** How many addresses the pool has, less the reserved ones. */
  readonly allowed: bigint;
  /** How many of them are free according to the newest usage. If 0, that alone says that the pool is exhausted. */
  readonly freeByUsage: bigint;
  /** How many of the free ones we have claimed since, and how many turned out to be taken. */
  readonly own: bigint;
  readonly met: bigint;
}

/** The address to try next, or that the pool seems to have none. `cooling`: it was released recently. */
export type Choice =
  | { readonly kind: "address"; readonly ip: Ip; readonly cooling: boolean }
  | { readonly kind: "exhausted"; readonly evidence: Evidence };

interface Tier {
  readonly free: IpSet;
  readonly cooling: boolean;
  /** Where this node begins, or goes on after a collision. */
  start: Ip;
  /** Where the next search begins. Everything from `start` up to here, coming round, is blocked. */
  cursor: Ip;
}

/**
 * Chooses which address of one pool to try next. It is a guess: creating the claim decides. Addresses that are known to be used,
 * ours or taken are never offered. Every other address is offered before it gives up, cooling ones last.
 *
 * Cost: O(intervals) for a new snapshot; for a choice O(log intervals) for each run of own or taken addresses that it passes, and
 * each is passed once. The cost does not depend on the size of the pool or the number of used addresses.
 */
export class Chooser {
  #allowed: IpSet;
  #usage: UsageSnapshot;
  /** The free addresses of the snapshot, first those that are not cooling. */
  #tiers: readonly Tier[] = [];
  /** Our addresses, in use or being created. A snapshot does not change them, because it may be older than the create. */
  #own: IpSet;
  #met: IpSet;
  /** When each address of `#met` turned out to be taken, oldest first. */
  readonly #metAtMs = new Map<bigint, number>();
  readonly #spot: number;
  /** How many collisions there were, until a snapshot has our share or there was none for {@link metMsMax}. */
  #meetings = 0;
  #metLastMs = 0;
  /** Whether we begin at our spot rather than at the lowest free address. */
  #isApart = false;
  /** How often we went on elsewhere. */
  #leaps = 0;
  /** Addresses that we have just released and that are not yet among the cooling ones of a snapshot. */
  #released: IpSet;

  /** @param spot the node's place, from 0 to 1, where it goes on after collisions if no share is known */
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

  /** To be called when the pool or the reserved addresses have changed. */
  setAllowed({ set, reserved }: ChooserOptions): void {
    this.#allowed = set.subtract(reserved);
    this.#rebuild();
  }

  /** To be called with a newer snapshot. Forgets which addresses were taken, because the snapshot knows better. */
  setUsage(usage: UsageSnapshot): void {
    this.#usage = usage;
    this.#released = IpSet.empty(this.#allowed.family);
    this.#met = this.#released;
    this.#metAtMs.clear();
    this.#rebuild();
  }

  /** The address to try next. It counts as ours from now on, until `meet` or `release` is called. */
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

  /** To be called after a collision: somebody else has a claim on the address. */
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

  /** To be called for a claim of ours that was not chosen here: from before a restart, or adopted. */
  adopt(ip: Ip): void {
    this.#forgetMet(ipValue(ip));
    this.#released = this.#released.remove(ip);
    this.#own = this.#own.add(ip);
  }

  /** To be called when a claim of ours is deleted or was never made. The address comes last until the next snapshot. */
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

  /** To be called if several Pods come at once: then there are probably some on other nodes, too. */
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
    const { used, cooling, share, granted } = this.#usage;
    if (share !== undefined) this.#follow();
    const free = this.#allowed.subtract(used);
    const warm = free.subtract(cooling);
    const parts = granted === undefined ? [warm] : this.#partsOf(warm, granted);
    const tiers = [
      ...parts.map((of) => ({ free: of, cooling: false })),
      { free: free.intersect(cooling), cooling: true },
    ];
    this.#tiers = tiers.flatMap((tier) => {
      const start = this.#startOf(tier.free, share) ?? tier.free.first;
      return start === undefined ? [] : [{ ...tier, start, cursor: start }];
    });
  }

  #partsOf(free: IpSet, { own, others }: NonNullable<UsageSnapshot["granted"]>): readonly IpSet[] {
    return [free.intersect(own), free.subtract(own).subtract(others), free.intersect(others)];
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

/** The lowest address of `set` from `from` on that is in none of the `blocked` sets. */
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
