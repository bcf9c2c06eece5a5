import { finalizer, type SpiderIPPool, spiderIPPools } from "#api";
import type { Signal } from "#base";
import { type ControllerOptions, fromStore, type Store, subjectOf } from "#kube";
import type { Deps } from "../deps.ts";
import { isPoolInUse } from "./read-claims.ts";
import type { PoolUses } from "./uses.ts";

interface DrainTimes {
  /** How long after a pool is first seen terminating its finalizer may go. */
  readonly settleMs: number;
  /** The time between the two reads that must find nothing. */
  readonly apartMs: number;
}

/**
 * An agent may use its copy of a pool for 75 s, and its last create may take effect up to 44 s later: after 120 s nobody can
 * claim an address of a deleted pool any more.
 */
const drainTimes: DrainTimes = { settleMs: 120_000, apartMs: 30_000 };

interface Draining {
  /** When we first saw it terminating, by our monotonic clock: certainly after its deletion, whatever other clocks say. */
  readonly sinceMs: number;
  /** When the first of the uninterrupted reads that found nothing was made. */
  emptySinceMs: number | undefined;
}

/** Keeps a deleted pool until nobody has an address of it, according to reads of the claims, never to a view. */
export function poolDrainController(
  deps: Deps,
  {
    pools,
    uses,
    isComplete,
  }: {
    readonly pools: Store<SpiderIPPool>;
    readonly uses: PoolUses;
    /** Whether the ledger has every claim. Only then does finding none prove anything. */
    readonly isComplete: () => boolean;
  },
  times: DrainTimes = drainTimes,
): ControllerOptions {
  const draining = new Map<string, Draining>();
  return {
    name: "pool-drain",
    clock: deps.clock,
    log: deps.log,
    sources: [fromStore(pools), uses.source()],
    reconcile: async (name, o) => {
      const pool = pools.get(name);
      if (pool?.metadata.deletionTimestamp === undefined || pool.metadata.finalizers?.includes(finalizer) !== true) {
        draining.delete(name);
        return {};
      }
      if (!isComplete()) {
        draining.delete(name);
        return { afterMs: times.apartMs };
      }
      const state = draining.get(name) ?? { sinceMs: deps.clock.monotonicMs(), emptySinceMs: undefined };
      draining.set(name, state);
      const { waitMs, isUsed } = await look(deps, { pool, members: uses.get(name), state }, times, o);
      if (waitMs > 0) {
        tellWait(deps, pool, isUsed);
        return { afterMs: waitMs };
      }
      const finalizers = pool.metadata.finalizers.filter((one) => one !== finalizer);
      await deps.client.update(spiderIPPools, { ...pool, metadata: { ...pool.metadata, finalizers } }, o);
      deps.log.info({ pool: name }, "deleted pool let go: nobody has an address of it");
      return {};
    },
  };
}

/** Whoever deletes a pool sees a command that does not end: an Event says for what it waits. */
function tellWait({ events }: Deps, pool: SpiderIPPool, isUsed: boolean): void {
  const { name } = pool.metadata;
  const message = isUsed
    ? `addresses of IPPool ${name} are in use: it is gone two minutes after the last one is released at the latest, and new Pods get none of it; spiderpoolctl ip show --pool ${name} says who has them`
    : `nobody has an address of IPPool ${name}: it is gone within two minutes, when no agent can claim one any more`;
  const reason = "DeletionWaits";
  events.record(subjectOf(spiderIPPools, pool), { type: "Normal", reason, message });
}

interface Deletion {
  readonly pool: SpiderIPPool;
  /** The pool's claims as the watch shows them. */
  readonly members: ReturnType<PoolUses["get"]>;
  readonly state: Draining;
}

interface Look {
  /** The milliseconds until the next look; 0: the finalizer may go. */
  readonly waitMs: number;
  readonly isUsed: boolean;
}

/** Looks for addresses of a deleted pool that are in use, and notes in `state` since when there are none. */
async function look(
  { client, clock }: Deps,
  { pool, members, state }: Deletion,
  { settleMs, apartMs }: DrainTimes,
  o: Signal,
): Promise<Look> {
  const nowMs = clock.monotonicMs();
  const settledMs = state.sinceMs + settleMs;
  // A claim that the watch shows need not be read, and a read before `settleMs` proves nothing.
  if (members?.isEmpty === false) {
    state.emptySinceMs = undefined;
    return { waitMs: apartMs, isUsed: true };
  }
  if (nowMs < settledMs - apartMs) return { waitMs: settledMs - apartMs - nowMs, isUsed: false };
  if (await isPoolInUse(client, pool, members?.view.set, o)) {
    state.emptySinceMs = undefined;
    return { waitMs: apartMs, isUsed: true };
  }
  state.emptySinceMs ??= nowMs;
  return { waitMs: Math.max(state.emptySinceMs + apartMs, settledMs) - nowMs, isUsed: false };
}
