import { finalizer, type SpiderIPPool, spiderIPPools } from "#api";
import type { Signal } from "#base";
import { type ControllerOptions, fromStore, type Store } from "#kube";
import type { Deps } from "../deps.ts";
import { isPoolInUse } from "./read-claims.ts";
import type { PoolUses } from "./uses.ts";

interface DrainTimes {
  /** From when a pool was first seen terminating until its finalizer may go. */
  readonly settleMs: number;
  /** Between the two reads that must find nothing. */
  readonly apartMs: number;
}

/**
 * An agent may use what it knows of a pool for 75 s, and a create that it sent last may take effect up to 44 s later: after
 * 120 s nobody can claim an address of a deleted pool any more.
 */
const drainTimes: DrainTimes = { settleMs: 120_000, apartMs: 30_000 };

interface Draining {
  /** By our own clock: later than the pool's deletionTimestamp, whatever the clocks of others say. */
  readonly sinceMs: number;
  /** The first of the reads without a find in between that found nothing. */
  emptySinceMs: number | undefined;
}

/** Holds a deleted pool until nobody has an address of it: by reads of the claims themselves, never by a view. */
export function poolDrainController(
  deps: Deps,
  {
    pools,
    uses,
    isComplete,
  }: {
    readonly pools: Store<SpiderIPPool>;
    readonly uses: PoolUses;
    /** The ledger has every claim: only then does finding none mean anything. */
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
      const waitMs = await look(deps, pool, uses, state, times, o);
      if (waitMs > 0) return { afterMs: waitMs };
      const finalizers = pool.metadata.finalizers.filter((one) => one !== finalizer);
      await deps.client.update(spiderIPPools, { ...pool, metadata: { ...pool.metadata, finalizers } }, o);
      deps.log.info({ pool: name }, "deleted pool let go: nobody has an address of it");
      return {};
    },
  };
}

/** Milliseconds until the next look; 0: the finalizer may go. */
async function look(
  { client, clock }: Deps,
  pool: SpiderIPPool,
  uses: PoolUses,
  state: Draining,
  { settleMs, apartMs }: DrainTimes,
  o: Signal,
): Promise<number> {
  const nowMs = clock.monotonicMs();
  const settledMs = state.sinceMs + settleMs;
  const members = uses.get(pool.metadata.name);
  // What the watch shows need not be read; and early reads would tell nothing.
  if (members?.isEmpty === false) {
    state.emptySinceMs = undefined;
    return apartMs;
  }
  if (nowMs < settledMs - apartMs) return settledMs - apartMs - nowMs;
  if (await isPoolInUse(client, pool, members?.view.set, o)) {
    state.emptySinceMs = undefined;
    return apartMs;
  }
  state.emptySinceMs ??= nowMs;
  return Math.max(state.emptySinceMs + apartMs, settledMs) - nowMs;
}
