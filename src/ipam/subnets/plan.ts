import {
  AddressIndex,
  applicationKey,
  type ControlledIPPools,
  defaultPool,
  effectiveSet,
  familyOf,
  isAutoPool,
  annotations as keys,
  labels,
  labelValue,
  parseControlledIPPools,
  type SpiderIPPool,
  type SpiderSubnet,
  type Submitted,
  trySetOf,
} from "#api";
import { clampCount, type Family, formatIpSet, IpSet } from "#ip";
import { applicationLabels, autoPoolLabels, autoPoolName } from "../auto-pools.ts";
import type { Demand } from "./demands.ts";

/** How many addresses are held at a time before a pool loses them. Each hold is a write. */
const heldAtOnceMax = 256n;

/** What is known of the addresses of one pool. */
export interface PoolParts {
  /** Addresses in use or kept for a Pod. */
  readonly claimed: IpSet;
  /** Addresses that we hold, so that nobody claims them while the pool loses them. Some may already be outside the pool. */
  readonly held: IpSet;
}

/** The state of an automatic pool's application. `elsewhere`: its NIC uses another subnet now. */
export type OwnerState = "lives" | "gone" | "elsewhere" | "unknown";

/** What the plan of one subnet depends on. */
export interface SubnetFacts {
  readonly subnet: SpiderSubnet;
  /** The parts that applications need. */
  readonly demands: readonly Demand[];
  /** All pools of the subnet's CIDR. */
  readonly pools: readonly SpiderIPPool[];
  /** Whether a pool of any subnet has this name. */
  readonly isTaken: (poolName: string) => boolean;
  readonly useOf: (pool: SpiderIPPool) => PoolParts;
  readonly ownerOf: (pool: SpiderIPPool) => OwnerState;
  readonly reserved: IpSet;
}

/** A write to a pool, or to claims that hold its addresses. `isMoved`: its application uses another subnet now. */
export type PoolAction =
  | { readonly kind: "create"; readonly draft: PoolDraft; readonly demand: Demand }
  | { readonly kind: "update"; readonly pool: SpiderIPPool; readonly draft: PoolDraft; readonly demand: Demand }
  | { readonly kind: "hold" | "unhold"; readonly pool: SpiderIPPool; readonly ips: IpSet }
  | { readonly kind: "delete"; readonly pool: SpiderIPPool; readonly why: string; readonly isMoved: boolean };

/** A pool as it should be. */
type PoolDraft = Submitted<SpiderIPPool>;

/** A demand that the subnet cannot meet, with a sentence that says why. */
export interface Unmet {
  readonly demand: Demand;
  readonly message: string;
}

/** What to write, in this order: `controlled` to the status, then the actions. */
export interface SubnetPlan {
  /** The part of the subnet that each pool has. It must be written before anything else is done. */
  readonly controlled: ControlledIPPools;
  /** Limited to what a status field can hold. */
  readonly total: bigint;
  readonly allocated: bigint;
  /** Entries that are left out because nothing of them exists. The caller must make sure of that. */
  readonly dropped: readonly string[];
  /** What to do when `controlled` is stored. */
  readonly actions: readonly PoolAction[];
  readonly unmet: readonly Unmet[];
  /** Pools whose next step depends on their claims. */
  readonly waiting: ReadonlySet<string>;
}

/**
 * Plans what to do about one subnet, from any state. The part of each automatic pool is in the subnet's status before the pool
 * has it and until the pool has lost it. So two leaders, or one that is killed in between, never give an address to two pools. A
 * pool shrinks in four steps, and each waits until the last one is seen: hold the addresses to drop, remove them from its part,
 * remove them from the pool, end the holds. Undefined if the subnet is malformed.
 */
export function planSubnet(facts: SubnetFacts): SubnetPlan | undefined {
  const family = familyOf(facts.subnet.spec.subnet);
  const whole = family && effectiveSet(facts.subnet.spec, family);
  if (family === undefined || whole === undefined) return undefined;
  return new Planner(facts, family, whole).plan();
}

class Planner {
  readonly #facts: SubnetFacts;
  readonly #family: Family;
  readonly #whole: IpSet;
  readonly #given: ControlledIPPools;
  /** The part of each automatic pool. */
  readonly #parts = new Map<string, IpSet>();
  readonly #applications = new Map<string, string>();
  #free: IpSet;
  readonly #actions: PoolAction[] = [];
  readonly #unmet: Unmet[] = [];
  readonly #waiting = new Set<string>();
  /** Pools that belong to a demand. */
  readonly #wanted = new Set<string>();

  constructor(facts: SubnetFacts, family: Family, whole: IpSet) {
    this.#facts = facts;
    this.#family = family;
    this.#whole = whole;
    this.#given = parseControlledIPPools(facts.subnet.status?.controlledIPPools) ?? {};
    const sets = unionOf(
      family,
      facts.pools.map((pool) => this.#setOf(pool)),
    );
    for (const pool of facts.pools.filter(({ metadata }) => isAutoPool(metadata))) {
      const set = this.#setOf(pool);
      const given = this.#givenTo(pool.metadata.name) ?? set;
      // Another pool, made meanwhile by somebody, may have addresses that were given to this one but are not in it yet.
      this.#parts.set(pool.metadata.name, given.equals(set) ? set : given.subtract(sets.subtract(set)));
    }
    this.#free = whole.subtract(sets).subtract(unionOf(family, [...this.#parts.values()]));
  }

  plan(): SubnetPlan {
    const { demands, pools, reserved } = this.#facts;
    const planned = demands.toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1)).map((demand) => this.#place(demand));
    // Parts of pools that are not made yet are reserved for them.
    for (const { name, pool } of planned) {
      const isNew = pool === undefined && !this.#parts.has(name);
      const part = isNew ? this.#givenTo(name)?.intersect(this.#free) : undefined;
      if (part === undefined) continue;
      this.#parts.set(name, part);
      this.#free = this.#free.subtract(part);
    }
    this.#free = this.#free.subtract(reserved);
    for (const one of planned) this.#meet(one);
    for (const pool of pools) {
      if (isAutoPool(pool.metadata) && !this.#wanted.has(pool.metadata.name)) this.#unwanted(pool);
    }
    return this.#result();
  }

  /** The pool for a demand: an existing one, or the name of a new one. */
  #place(demand: Demand): Placed {
    const { pools, isTaken } = this.#facts;
    const { owner } = demand;
    const wanted = Object.entries(autoPoolLabels(owner)).filter(([key]) => key !== labels.ownerApplicationUid);
    const uidOf = ({ metadata }: SpiderIPPool) => metadata.labels?.[labels.ownerApplicationUid];
    const fitting = pools.filter(
      ({ metadata }) =>
        metadata.deletionTimestamp === undefined && wanted.every(([key, value]) => metadata.labels?.[key] === value),
    );
    const pool =
      fitting.find((one) => uidOf(one) === owner.uid) ??
      // A pool that a former application of the name left on purpose is taken over; one that is deleted with it is not.
      fitting.find(({ metadata }) => metadata.labels?.[labels.poolReclaim] === "false");
    const plain = autoPoolName(owner);
    const name = pool?.metadata.name ?? (isTaken(plain) ? `${plain}-${shortHash(demand)}` : plain);
    this.#applications.set(name, applicationKey(owner));
    this.#wanted.add(name);
    return { demand, pool, name };
  }

  #meet({ demand, pool, name }: Placed): void {
    if (pool === undefined) {
      // A pool of this name is being deleted. It must be gone first.
      if (this.#facts.isTaken(name)) return;
      if (!this.#resize(name, demand, demand.size)) this.#parts.delete(name);
      else this.#actions.push({ kind: "create", draft: this.#draft(demand, name, undefined), demand });
      return;
    }
    const set = this.#setOf(pool);
    const { claimed, held } = this.#facts.useOf(pool);
    const part = this.#part(name).union(claimed.intersect(set));
    this.#parts.set(name, part);
    const more = part.size - BigInt(demand.size);
    let dropping = IpSet.empty(this.#family);
    if (more < 0n) this.#resize(name, demand, demand.size);
    else if (more > 0n && part.equals(set)) {
      dropping = this.#shrink(pool, { demand, part, claimed, held, more });
    }
    const draft = this.#draft(demand, name, pool);
    if (!sameAutoPool(draft, pool)) this.#actions.push({ kind: "update", pool, draft, demand });
    const over = held.subtract(dropping).subtract(set.subtract(this.#part(name)));
    if (!over.isEmpty) this.#actions.push({ kind: "unhold", pool, ips: over });
  }

  /** Grows the part, completely or not at all. A part whose pool is not made yet may also shrink, at once. */
  #resize(name: string, demand: Demand, size: number): boolean {
    const part = this.#parts.get(name) ?? IpSet.empty(this.#family);
    const lacking = BigInt(size) - part.size;
    if (lacking <= 0n) {
      this.#parts.set(name, lowest(part, BigInt(size)));
      return true;
    }
    if (this.#free.size < lacking) {
      const { kind, namespace, name: app, nic } = demand.owner;
      this.#unmet.push({
        demand,
        message: `insufficient subnet FreeIPs, required '${lacking}' but only left '${this.#free.size}' in SpiderSubnet ${demand.subnet} for NIC ${nic} of ${kind} ${namespace}/${app}; add addresses to spec.ips of the SpiderSubnet, or lower the application's replicas or '${keys.poolIpNumber}'`,
      });
      return false;
    }
    const added = lowest(this.#free, lacking);
    this.#free = this.#free.subtract(added);
    this.#parts.set(name, part.union(added));
    return true;
  }

  /** Does the next step towards a smaller pool. Returns the addresses that stay held meanwhile. */
  #shrink(pool: SpiderIPPool, { part, claimed, held, more, demand }: Shrinking): IpSet {
    const { name } = pool.metadata;
    const idle = part.subtract(claimed);
    // Pods that are ending still have addresses. Nothing is dropped until the wanted size can be reached.
    if (part.size - idle.size > BigInt(demand.size)) {
      this.#waiting.add(name);
      return IpSet.empty(this.#family);
    }
    const count = more < heldAtOnceMax ? more : heldAtOnceMax;
    const heldIdle = lowest(idle.intersect(held), count);
    const dropping = heldIdle.union(lowest(idle.subtract(held), count - heldIdle.size));
    const open = dropping.subtract(held);
    if (open.isEmpty) this.#parts.set(name, part.subtract(dropping));
    else {
      this.#waiting.add(name);
      this.#actions.push({ kind: "hold", pool, ips: open });
    }
    return dropping;
  }

  /** An automatic pool that no application demands. */
  #unwanted(pool: SpiderIPPool): void {
    const { name, labels: found = {}, deletionTimestamp } = pool.metadata;
    const { claimed, held } = this.#facts.useOf(pool);
    // It keeps its addresses. A change of its size that was under way ends here.
    this.#parts.set(name, this.#setOf(pool));
    if (!held.isEmpty) this.#actions.push({ kind: "unhold", pool, ips: held });
    if (deletionTimestamp !== undefined || found[labels.poolReclaim] !== "true") return;
    const owner = this.#facts.ownerOf(pool);
    if (owner === "gone") this.#actions.push({ kind: "delete", pool, why: "its application is gone", isMoved: false });
    if (owner !== "elsewhere") return;
    this.#waiting.add(name);
    if (!claimed.isEmpty) return;
    this.#actions.push({ kind: "delete", pool, why: "its application has another SpiderSubnet by now", isMoved: true });
  }

  #result(): SubnetPlan {
    const { pools } = this.#facts;
    const entries = pools.flatMap(({ metadata: { name }, ...pool }): ControlledEntry[] => {
      if (this.#parts.has(name)) return [];
      const part = (effectiveSet(pool.spec, this.#family) ?? IpSet.empty(this.#family)).intersect(this.#whole);
      return part.isEmpty ? [] : [[name, part, undefined]];
    });
    for (const [name, part] of this.#parts) entries.push([name, part, this.#applicationOf(name)]);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    const controlled = Object.fromEntries(
      entries.map(([name, part, application]) => [
        name,
        { ips: formatIpSet(part), ...(application !== undefined && { application }) },
      ]),
    );
    return {
      controlled,
      total: clampCount(this.#whole.size),
      allocated: clampCount(entries.reduce((sum, [, part]) => sum + part.size, 0n)),
      dropped: Object.keys(this.#given).filter((name) => controlled[name] === undefined),
      actions: this.#actions,
      unmet: this.#unmet,
      waiting: this.#waiting,
    };
  }

  #draft(demand: Demand, name: string, pool: SpiderIPPool | undefined) {
    return draftOf({ subnet: this.#facts.subnet, demand, name, part: this.#part(name), pool });
  }

  #applicationOf(name: string): string | undefined {
    const known = this.#applications.get(name) ?? this.#given[name]?.application;
    if (known !== undefined) return known;
    const found = this.#facts.pools.find(({ metadata }) => metadata.name === name)?.metadata.labels ?? {};
    const part = (key: keyof typeof labels) => found[labels[key]] ?? "";
    return ["ownerApplicationGv", "ownerApplicationKind", "ownerApplicationNamespace", "ownerApplicationName"]
      .map((key) => part(key as keyof typeof labels))
      .join("_");
  }

  #part(name: string): IpSet {
    return this.#parts.get(name) ?? IpSet.empty(this.#family);
  }

  #setOf({ spec }: SpiderIPPool): IpSet {
    return effectiveSet(spec, this.#family) ?? IpSet.empty(this.#family);
  }

  #givenTo(name: string): IpSet | undefined {
    const ips = this.#given[name]?.ips;
    return ips === undefined ? undefined : trySetOf(ips, this.#family);
  }
}

interface Placed {
  readonly demand: Demand;
  readonly pool: SpiderIPPool | undefined;
  readonly name: string;
}

interface Shrinking extends PoolParts {
  readonly demand: Demand;
  readonly part: IpSet;
  readonly more: bigint;
}

type ControlledEntry = [name: string, part: IpSet, application: string | undefined];

/** The automatic pool for a demand, with these addresses. Nothing else of an existing pool is changed. */
function draftOf(o: {
  readonly subnet: SpiderSubnet;
  readonly demand: Demand;
  readonly name: string;
  readonly part: IpSet;
  readonly pool: SpiderIPPool | undefined;
}): PoolDraft {
  const { subnet, demand, name, part, pool } = o;
  const { owner, reclaim, ipNumber } = demand;
  const { excludeIPs: _excluded, ...spec } = pool?.spec ?? { subnet: subnet.spec.subnet };
  const draft: PoolDraft = {
    ...pool,
    metadata: {
      ...(pool?.metadata ?? { name }),
      labels: { ...pool?.metadata.labels, ...autoPoolLabels(owner), [labels.poolReclaim]: String(reclaim) },
      annotations: { ...pool?.metadata.annotations, [keys.poolIpNumber]: ipNumber },
    },
    spec: { ...spec, ips: formatIpSet(part), podAffinity: { matchLabels: applicationLabels(owner) } },
  };
  return defaultPool(draft, AddressIndex.of([subnet]));
}

/** Whether the pool already is as planned. */
function sameAutoPool(draft: PoolDraft, { metadata, spec }: SpiderIPPool): boolean {
  const same = (a: object = {}, b: object = {}) =>
    JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
  return (
    same(draft.metadata.labels, metadata.labels) &&
    same(draft.metadata.annotations, metadata.annotations) &&
    same(draft.spec.podAffinity?.matchLabels, spec.podAffinity?.matchLabels) &&
    JSON.stringify(draft.spec.ips ?? []) === JSON.stringify(spec.ips ?? []) &&
    (spec.excludeIPs ?? []).length === 0
  );
}

/** The `count` lowest members. */
function lowest(set: IpSet, count: bigint): IpSet {
  const [first, last] = [set.first, set.nth((count < set.size ? count : set.size) - 1n)];
  if (first === undefined || last === undefined) return IpSet.empty(set.family);
  return set.intersect(IpSet.of(set.family, [{ first, last }]));
}

function unionOf(family: Family, sets: readonly IpSet[]): IpSet {
  return IpSet.of(
    family,
    sets.flatMap(({ ranges }) => ranges),
  );
}

function orderOf({ owner }: Demand): string {
  return `${applicationKey(owner)} ${owner.nic}`;
}

/** Distinguishes pools that would have the same name, after a move to another subnet or because of odd names of NICs. */
function shortHash({ owner, subnet }: Demand): string {
  return labelValue(` ${owner.nic} ${owner.uid} ${subnet}`).slice(2, 7);
}
