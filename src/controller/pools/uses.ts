import type { SpiderIPAddress, SpiderIPPool } from "#api";
import { type Clock, never, SpiderError } from "#base";
import { type Ip, IpSet, type RangeEntry, RangeIndex } from "#ip";
import { type PoolView, poolView } from "#ipam";
import type { Source, Store } from "#kube";
import type { Claim, PoolUse, WaitingNode } from "#ledger";
import { keptClaimOf } from "./kept-claim.ts";
import { rangeOf, Strays } from "./strays.ts";

/** How many addresses of one pool cool at once; beyond that, the oldest are forgotten. */
const coolingMax = 8_192;

/** A node that has claimed nothing for so long is no longer taken to have Pods that wait, whatever it said then. */
const waitingMsMax = 5_000;

/** One pool and who has its addresses, as the watches show it. */
export class PoolMembers implements PoolUse {
  view: PoolView;
  /** How many claims were made in it since this process began to watch. */
  allocations = 0;
  /** How many of the pool's own addresses are claimed, by purpose. Holds count as reserved. */
  readonly held = { used: 0, reserved: 0, quarantined: 0 };
  /** Counts changes of the pool's use. */
  changes = 0;
  readonly #claims = new Map<string, Claim>();
  readonly #nodes = new Map<string, number>();
  /** Claims that no Pod has: there are few, and they need not be looked for among the others. */
  readonly #aside = new Map<string, Claim>();
  /** What the newest claim of each node said of Pods that wait there, oldest first. */
  readonly #waiting = new Map<string, { readonly waiting: number; readonly last: Ip; readonly atMs: number }>();
  /** Released addresses, in the order of their release. */
  readonly #cooling = new Map<string, { readonly ip: Ip; readonly sinceMs: number }>();
  readonly #coolDownMs: number;
  #used: IpSet | undefined;

  /** `coolDownMs`: used if the pool itself does not say. */
  constructor(view: PoolView, coolDownMs: number) {
    this.view = view;
    this.#coolDownMs = coolDownMs;
  }

  /** Addresses in use. Computed at the first call, then kept up to date. */
  get used(): IpSet {
    this.#used ??= IpSet.ofIps(
      this.view.family,
      [...this.#claims.values()].map(({ ip }) => ip),
    );
    return this.#used;
  }

  /** The claims; can be iterated any number of times. */
  get claims(): Iterable<Claim> {
    return { [Symbol.iterator]: () => this.#claims.values() };
  }

  get aside(): Iterable<Claim> {
    return this.#aside.values();
  }

  get isEmpty(): boolean {
    return this.#claims.size === 0;
  }

  get nodeCount(): number {
    return this.#nodes.size;
  }

  get nodes(): readonly string[] {
    return [...this.#nodes.keys()].sort();
  }

  /**
   * Addresses released so recently that they are handed out last, because neighbours may still have the former MAC address
   * in their caches; and when this set changes next.
   */
  cooling(nowMs: number): { readonly set: IpSet; readonly nextMs: number | undefined } {
    const coolDownMs = this.view.coolDownMs ?? this.#coolDownMs;
    for (const [name, { sinceMs }] of this.#cooling) {
      if (sinceMs + coolDownMs > nowMs) break;
      this.#cooling.delete(name);
    }
    const [first] = this.#cooling.values();
    const ips = [...this.#cooling.values()].map(({ ip }) => ip).filter((ip) => this.view.set.contains(ip));
    return { set: IpSet.ofIps(this.view.family, ips), nextMs: first && first.sinceMs + coolDownMs };
  }

  /** Takes note of a claim that was just made. */
  note({ ip, spec: { node, waiting = 0 } }: Claim, nowMs: number): void {
    if (node === undefined) return;
    this.allocations += 1;
    this.#waiting.delete(node);
    if (waiting > 0) this.#waiting.set(node, { waiting, last: ip, atMs: nowMs });
  }

  /** The nodes on which Pods wait for addresses of the pool. */
  waiting(nowMs: number): readonly WaitingNode[] {
    for (const [node, { atMs }] of this.#waiting) {
      if (nowMs - atMs < waitingMsMax) break;
      this.#waiting.delete(node);
    }
    return [...this.#waiting].map(([node, { waiting, last }]) => ({ node, waiting, last }));
  }

  put(claim: Claim): void {
    if (claim.ip.family !== this.view.family) return;
    const before = this.#claims.get(claim.name);
    if (before?.resourceVersion === claim.resourceVersion) return;
    this.#claims.set(claim.name, claim);
    if (claim.spec.purpose === "Hold" || claim.spec.purpose === "Quarantine") this.#aside.set(claim.name, claim);
    else this.#aside.delete(claim.name);
    this.#used = this.#used?.add(claim.ip);
    this.#cooling.delete(claim.name);
    if (before !== undefined) this.#count(before, -1);
    this.#count(claim, 1);
    this.changes += 1;
  }

  /** Removes a claim that is gone, which starts its address's cooling; false if it was not in this pool. */
  drop({ name, ip }: Claim, nowMs: number): boolean {
    if (!this.forget(name)) return false;
    this.#cooling.delete(name);
    this.#cooling.set(name, { ip, sinceMs: nowMs });
    const [oldest] = this.#cooling.keys();
    if (this.#cooling.size > coolingMax && oldest !== undefined) this.#cooling.delete(oldest);
    return true;
  }

  /** Removes a claim that no longer belongs to this pool. */
  forget(name: string): boolean {
    const claim = this.#claims.get(name);
    if (claim === undefined) return false;
    this.#claims.delete(name);
    this.#aside.delete(name);
    this.#used = this.#used?.remove(claim.ip);
    this.#count(claim, -1);
    this.changes += 1;
    return true;
  }

  #count({ ip, spec: { node, purpose } }: Claim, by: 1 | -1): void {
    const state = purpose === "Hold" ? "reserved" : purpose === "Quarantine" ? "quarantined" : "used";
    if (this.view.set.contains(ip)) this.held[state] += by;
    if (node === undefined) return;
    const count = (this.#nodes.get(node) ?? 0) + by;
    if (count === 0) this.#nodes.delete(node);
    else this.#nodes.set(node, count);
  }
}

/**
 * Who has addresses of which pool, updated claim by claim: an event costs the same with ten claims as with 300,000. A claim
 * belongs to the pool whose UID it carries and to every pool that contains its address. The latter is searched only if the
 * former does not contain it (a stray: its pool was edited, deleted or created again), because valid pools share no
 * address.
 */
export class PoolUses {
  readonly #stores: readonly [Store<SpiderIPPool>, Store<SpiderIPAddress>];
  readonly #clock: Clock;
  readonly #coolDownMs: number;
  readonly #byName = new Map<string, PoolMembers>();
  readonly #byUid = new Map<string, PoolMembers>();
  /** Where each pool's addresses are in {@link PoolUses.#byAddress}. */
  readonly #ranges = new Map<PoolMembers, readonly RangeEntry<PoolMembers>[]>();
  readonly #byAddress = new RangeIndex<PoolMembers>();
  readonly #strays = new Strays();
  readonly #listeners = new Set<(pool: string) => void>();
  /** Whether the first list of claims is over: what it told was not made just now. */
  #isFollowing = false;

  /** Follows the stores from now on; pass them before they run. `coolDownMs`: for pools that do not say. */
  constructor(
    pools: Store<SpiderIPPool>,
    claims: Store<SpiderIPAddress>,
    { clock, coolDownMs }: { readonly clock: Clock; readonly coolDownMs: number },
  ) {
    this.#stores = [pools, claims];
    this.#clock = clock;
    this.#coolDownMs = coolDownMs;
    pools.changed((name, now) => (now === undefined ? this.#removePool(name) : this.#putPool(now)));
    claims.changed((_name, now, before) => this.#followClaim(now, before));
    void claims.synced({ signal: never }).then(() => {
      this.#isFollowing = true;
    });
  }

  /** The members of a pool; undefined if there is no such pool or it cannot be decoded. */
  get(pool: string): PoolMembers | undefined {
    return this.#byName.get(pool);
  }

  list(): readonly PoolMembers[] {
    return [...this.#byName.values()];
  }

  /** Gives the names of all pools, and again each one whose spec or use changes. */
  source(): Source {
    return {
      synced: async (o) => void (await Promise.all(this.#stores.map((store) => store.synced(o)))),
      subscribe: (add) => {
        for (const name of this.#byName.keys()) add(name);
        this.#listeners.add(add);
        return () => this.#listeners.delete(add);
      },
    };
  }

  #putPool(pool: SpiderIPPool): void {
    const { name, generation, deletionTimestamp } = pool.metadata;
    const known = this.#byName.get(name);
    const terminating = deletionTimestamp !== undefined;
    // Most changes of a pool are our own status writes.
    if (known?.view.generation === generation && known?.view.terminating === terminating) return;
    const view = tryView(pool);
    if (view === undefined) {
      this.#removePool(name);
      return;
    }
    const members = known ?? new PoolMembers(view, this.#coolDownMs);
    const candidates = new Map(
      [...members.claims, ...this.#strays.of(view.uid, view.set)].map((one) => [one.name, one]),
    );
    for (const claim of members.claims) members.forget(claim.name);
    this.#byUid.delete(members.view.uid);
    members.view = view;
    this.#byName.set(name, members);
    this.#byUid.set(view.uid, members);
    this.#index(members, view.set);
    for (const claim of candidates.values()) this.#assign(claim);
    this.#tell(members);
  }

  #removePool(name: string): void {
    const members = this.#byName.get(name);
    if (members === undefined) return;
    this.#byName.delete(name);
    this.#byUid.delete(members.view.uid);
    this.#index(members, undefined);
    for (const claim of members.claims) this.#assign(claim);
    this.#tell(members);
  }

  /** Has the pool found by these addresses, and no others. */
  #index(members: PoolMembers, set: IpSet | undefined): void {
    for (const entry of this.#ranges.get(members) ?? []) this.#byAddress.delete(entry);
    if (set === undefined) this.#ranges.delete(members);
    else
      this.#ranges.set(
        members,
        set.ranges.map((range) => this.#byAddress.add(range, members)),
      );
  }

  #followClaim(now: SpiderIPAddress | undefined, before: SpiderIPAddress | undefined): void {
    const claim = now && keptClaimOf(now);
    const gone = before && keptClaimOf(before);
    if (claim !== undefined) {
      if (gone !== undefined && gone.spec.poolUID !== claim.spec.poolUID) {
        for (const members of this.#holdersOf(gone)) if (members.forget(gone.name)) this.#tell(members);
      }
      this.#assign(claim);
      const own = this.#byUid.get(claim.spec.poolUID);
      if (before === undefined && this.#isFollowing) own?.note(claim, this.#clock.monotonicMs());
      return;
    }
    if (gone === undefined) return;
    this.#strays.delete(gone.name);
    for (const members of this.#holdersOf(gone)) {
      if (members.drop(gone, this.#clock.monotonicMs())) this.#tell(members);
    }
  }

  #assign(claim: Claim): void {
    const holders = this.#holdersOf(claim);
    const own = this.#byUid.get(claim.spec.poolUID);
    if (own?.view.set.contains(claim.ip) === true) this.#strays.delete(claim.name);
    else this.#strays.put(claim);
    for (const members of holders) {
      members.put(claim);
      this.#tell(members);
    }
  }

  /** The pool whose UID it carries and, if that does not have its address, those that have it. */
  #holdersOf({ ip, spec }: Claim): ReadonlySet<PoolMembers> {
    const own = this.#byUid.get(spec.poolUID);
    if (own?.view.set.contains(ip) === true) return new Set([own]);
    const holders = this.#byAddress.overlapping(rangeOf(ip));
    return new Set(own === undefined ? holders : [own, ...holders]);
  }

  #tell({ view }: PoolMembers): void {
    for (const listener of this.#listeners) listener(view.name);
  }
}

function tryView(pool: SpiderIPPool): PoolView | undefined {
  try {
    return poolView(pool);
  } catch (error) {
    if (error instanceof SpiderError) return undefined;
    throw error;
  }
}
