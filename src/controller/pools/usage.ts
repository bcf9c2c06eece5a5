import { isDeepStrictEqual } from "node:util";
import {
  type SpiderPoolUsage,
  type SpiderPoolUsageSpec,
  type SpiderReservedIP,
  spiderIPPools,
  spiderPoolUsages,
} from "#api";
import type { Signal } from "#base";
import type { Family, IpSet } from "#ip";
import { formatShortage } from "#ipam";
import { apiVersionOf, type ControllerOptions, fromStore, hasReason, type Store } from "#kube";
import { type Grants, grantsOf, poolUsage, setAsideOf, ungranted, type WaitingNode } from "#ledger";
import type { Deps } from "../deps.ts";
import type { PoolMembers, PoolUses } from "./uses.ts";

/**
 * The interval between publications while many of a pool's free addresses go, many nodes begin to draw from it, or Pods wait on
 * nodes without a grant, and longer for each node, because each publication is told to every node that draws, …
 */
const hurriedMs = 25;
const hurriedMsPerNode = 1;
/** … and otherwise, as long as anything changes. */
const calmMs = 1_000;
/**
 * Many are a quarter of what was free: nodes meet at the same addresses hardly more often than with a tenth
 * (bench/choice-simulation.ts), for a third of the writes, of which each is told to every node that draws.
 */
const manyOfFree = 1 / 4;
/** Nodes that claim what is granted to them do not meet. */
const manyOfGranted = 1 / 2;
const manyOfNodes = 1 / 10;
/** Of the Pods that wait, so many without a granted address, beside those for whom there was none. */
const manyOfWaiting = 1 / 10;

interface Published {
  readonly object: SpiderPoolUsage;
  readonly grants: Grants;
  readonly atMs: number;
  /** The members' count of allocations at that time. */
  readonly allocations: number;
  /** How many of the Pods that waited it had no address for: nothing was left that could be granted. */
  readonly lacking: number;
}

interface UsageOptions {
  readonly uses: PoolUses;
  readonly usages: Store<SpiderPoolUsage>;
  /** Reserved addresses, which no pool may hand out. */
  readonly reserved: (family: Family) => IpSet;
  readonly reservations: Store<SpiderReservedIP>;
  /** Number of the leader's term. */
  readonly epoch: number;
}

/**
 * Publishes which addresses of each pool are taken, as a hint for the agents' choice: sooner if a larger part of the free
 * addresses went since, or if there are nodes without a rank. The object has the pool's name and is deleted with it.
 */
export function poolUsageController(deps: Deps, options: UsageOptions): ControllerOptions {
  const publisher = new Publisher(deps, options);
  options.usages.changed((name, now) => now === undefined && publisher.forget(name));
  return {
    name: "pool-usage",
    clock: deps.clock,
    log: deps.log,
    workers: 4,
    sources: [
      options.uses.source(),
      fromStore(options.usages),
      fromStore(options.reservations, () => options.uses.list().map(({ view }) => view.name)),
    ],
    reconcile: async (name, o) => {
      const members = options.uses.get(name);
      if (members !== undefined) return publisher.publish(name, members, o);
      await publisher.remove(name, o);
      return {};
    },
  };
}

class Publisher {
  readonly #deps: Deps;
  readonly #options: UsageOptions;
  /** Our last writes: the store may not show them yet. */
  readonly #published = new Map<string, Published>();

  constructor(deps: Deps, options: UsageOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  forget(name: string): void {
    this.#published.delete(name);
  }

  async publish(name: string, members: PoolMembers, o: Signal): Promise<{ readonly afterMs?: number }> {
    const { clock } = this.#deps;
    const { epoch, usages } = this.#options;
    const nowMs = clock.monotonicMs();
    const last = this.#published.get(name);
    const waiting = members.waiting(nowMs);
    const dueMs = last === undefined ? nowMs : dueMsOf(last, members, { waiting, nowMs });
    if (dueMs > nowMs) return { afterMs: dueMs - nowMs };
    const { allocations } = members;
    const cooling = members.cooling(nowMs);
    const { view, used } = members;
    const reserved = this.#options.reserved(view.family);
    // Mostly nobody waits, and then it need not be known which addresses are free.
    const free = () => view.set.subtract(used).subtract(reserved).subtract(cooling.set);
    const grants: Grants = waiting.length === 0 ? new Map() : grantsOf(free(), last?.grants ?? new Map(), waiting);
    const spec = poolUsage(view, members, {
      reserved,
      cooling: cooling.set,
      grants,
      epoch,
      now: clock.wall(),
    });
    if (last === undefined || !isSame(last.object.spec, spec)) {
      const object = await this.#write(name, last?.object ?? usages.get(name), spec, o);
      if (spec.free === 0 && last?.object.spec.free !== 0 && !view.set.isEmpty) {
        this.#tellUsedUp(members, reserved);
      }
      const lacking = ungranted(grants, waiting, members.used);
      this.#published.set(name, { object, grants, atMs: nowMs, allocations, lacking });
    }
    return cooling.nextMs === undefined ? {} : { afterMs: cooling.nextMs - nowMs };
  }

  #tellUsedUp({ view, aside }: PoolMembers, reserved: IpSet): void {
    const { events } = this.#deps;
    const { name, uid, auto } = view;
    // An application's pool has as many addresses as the application asked for; a Pod that gets none says so itself.
    if (auto) return;
    const allowed = view.set.subtract(reserved);
    const shortage = formatShortage({ pool: view, allowed: allowed.size, aside: setAsideOf(aside, allowed) });
    const message = `${shortage}: add addresses to spec.ips, or name a further pool for new Pods; spiderpoolctl ip show --pool ${name} says who has them`;
    const subject = { apiVersion: apiVersionOf(spiderIPPools), kind: spiderIPPools.kind, name, uid };
    // The counts in the message change while the pool fills up: one Event for all.
    const reason = "IPPoolExhausted";
    events.record(subject, { type: "Warning", reason, message, cause: reason });
  }

  async remove(name: string, o: Signal): Promise<void> {
    this.forget(name);
    const usage = this.#options.usages.get(name);
    if (usage === undefined) return;
    await this.#deps.client.delete(spiderPoolUsages, { name }, { ...o, preconditions: { uid: usage.metadata.uid } });
  }

  async #write(name: string, before: SpiderPoolUsage | undefined, spec: SpiderPoolUsageSpec, o: Signal) {
    const { client } = this.#deps;
    try {
      return before === undefined
        ? await client.create(spiderPoolUsages, { metadata: { name }, spec }, o)
        : await client.update(spiderPoolUsages, { ...before, spec }, o);
    } catch (error) {
      // Somebody else wrote it: the next attempt starts from the store's version.
      if (hasReason(error, "Conflict", "NotFound")) this.forget(name);
      throw error;
    }
  }
}

/** When the next publication is due, or may be. */
function dueMsOf(
  { object, atMs, allocations, grants, lacking }: Published,
  members: PoolMembers,
  { waiting, nowMs }: { readonly waiting: readonly WaitingNode[]; readonly nowMs: number },
): number {
  const soonestMs = atMs + Math.min(calmMs, hurriedMs + hurriedMsPerNode * members.nodeCount);
  // Each claim asks, so what takes longer to find out comes last.
  if (nowMs < soonestMs) return soonestMs;
  const { free, nodes = [] } = object.spec;
  const isMany = (news: number, of: number) => news >= Math.max(1, of);
  // Nodes without ranks that start at the same time try the same addresses.
  const isHurried =
    isMany(members.allocations - allocations, free * (grants.size > 0 ? manyOfGranted : manyOfFree)) ||
    isMany(members.nodeCount - nodes.length, nodes.length * manyOfNodes) ||
    isMany(ungranted(grants, waiting, members.used) - lacking, sumOf(waiting) * manyOfWaiting);
  return isHurried ? soonestMs : atMs + calmMs;
}

function sumOf(nodes: readonly WaitingNode[]): number {
  return nodes.reduce((sum, { waiting }) => sum + waiting, 0);
}

function isSame(a: SpiderPoolUsageSpec, b: SpiderPoolUsageSpec): boolean {
  return isDeepStrictEqual({ ...a, publishedAt: "" }, { ...b, publishedAt: "" });
}
