import { isDeepStrictEqual } from "node:util";
import { type SpiderIPPool, type SpiderIPPoolStatus, spiderIPPools } from "#api";
import { type ControllerOptions, fromStore, type Store, subjectOf } from "#kube";
import { type PoolStatus, poolStatus } from "#ledger";
import type { Deps } from "../deps.ts";
import type { LedgerEpoch } from "../ledger-epoch/epoch.ts";
import { rawInteger, since } from "../status-fields.ts";
import type { Judgements } from "./judgements.ts";
import type { PoolUses } from "./uses.ts";

/** The shortest time between two writes of one pool's status, … */
const gapMs = 1_000;
/** … which is longer for a large status, because every watcher of pools reads it: at most this many bytes per second. */
const bytesPerSecond = 20_000;
/** How many watch events per second all agents together may get: each status written makes one per agent. */
const watchEventsPerSecond = 20_000;
/**
 * A server that answers late is overloaded, and it sends each status to all agents. So the pause after a write is its answer's
 * delay times the number of agents times this: with a thousand agents, ten times the delay.
 */
const restPerAgent = 1 / 100;
const restMsMax = 2_000;

/** Where a pool's figures come from, and how much of them is shown. */
interface StatusOptions {
  readonly pools: Store<SpiderIPPool>;
  readonly uses: PoolUses;
  readonly judgements: Judgements;
  /** How many agents watch pools. */
  readonly agents: () => number;
  /** Whether the ledger has every claim. Until then the present status may be the only record of addresses in use. */
  readonly epoch: Pick<LedgerEpoch, "isComplete" | "source">;
  /** How many addresses `allocatedIPs` lists at most. */
  readonly listed: number;
}

/** Writes what users read of a pool: at once where it was quiet, then no more often than the cluster can bear. */
export function poolStatusController(deps: Deps, options: StatusOptions): ControllerOptions {
  const { clock, log } = deps;
  const client = deps.client.forViews();
  const { pools, uses, judgements, agents, listed, epoch } = options;
  const pace = new Pace(agents);
  /**
   * What each status was made of when it was written, and in place of which version of the pool: where nothing of that has
   * changed and the store shows a later version, somebody else wrote the status.
   */
  const written = new Map<string, { readonly made: string; readonly inPlaceOf: string | undefined }>();
  return {
    name: "pool-status",
    clock,
    log,
    workers: 4,
    sources: [fromStore(pools), uses.source(), judgements.source(), epoch.source()],
    reconcile: async (name, o) => {
      const pool = pools.get(name);
      const members = uses.get(name);
      if (pool === undefined) {
        pace.forget(name);
        written.delete(name);
        return {};
      }
      if (!epoch.isComplete) return {}; // `epoch` is a source: it queues all pools when it is.
      const startMs = clock.monotonicMs();
      const waitMs = pace.waitMs(name, startMs);
      if (waitMs > 0) return { afterMs: waitMs };
      const found = members && poolStatus(members.view, members, { listed });
      const conditions = since(
        [...judgements.conditionsOf(name), ...(found?.conditions ?? [])],
        pool.status?.conditions,
        clock.wall(),
      );
      const { uid, generation, resourceVersion } = pool.metadata;
      const made = `${members?.changes} ${uid} ${generation} ${JSON.stringify(conditions)}`;
      if (isSame(found, conditions, pool.status)) {
        written.set(name, { made, inPlaceOf: undefined });
        return {};
      }
      const last = written.get(name);
      if (last?.made === made && last.inPlaceOf !== resourceVersion) {
        deps.metrics.count("spiderpool_faults_total", { kind: "view-differs" });
      }
      pace.started(startMs);
      const body = { metadata: { resourceVersion }, status: toWire(found, conditions) };
      try {
        await client.patch(spiderIPPools, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
        written.set(name, { made, inPlaceOf: resourceVersion });
      } finally {
        pace.ended(name, sizeOf(found), { startMs, endMs: clock.monotonicMs() });
      }
      tellOutOfRange(deps, pool, conditions);
      return {};
    },
  };
}

/** An Event when addresses of the pool come to be in use that it does not have any more. */
function tellOutOfRange({ events }: Deps, pool: SpiderIPPool, conditions: Conditions): void {
  const isOutside = ({ type }: Conditions[number]) => type === "OutOfRange";
  const outside = conditions.find(isOutside);
  if (outside === undefined || pool.status?.conditions?.some(isOutside) === true) return;
  const { type: reason, message } = outside;
  events.record(subjectOf(spiderIPPools, pool), { type: "Warning", reason, message });
}

/** When the next status may be written: of one pool, and of any. Times are of the monotonic clock. */
class Pace {
  readonly #agents: () => number;
  readonly #notBeforeMs = new Map<string, number>();
  #anyNotBeforeMs = 0;

  /** @param agents how many agents watch pools */
  constructor(agents: () => number) {
    this.#agents = agents;
  }

  /** Milliseconds until a status of the pool may be written; 0 or less: now. */
  waitMs(pool: string, nowMs: number): number {
    return Math.max(this.#notBeforeMs.get(pool) ?? 0, this.#anyNotBeforeMs) - nowMs;
  }

  /** A status is about to be written. */
  started(nowMs: number): void {
    this.#anyNotBeforeMs = nowMs + (this.#agents() / watchEventsPerSecond) * 1_000;
  }

  /**
   * The server has answered. The pause begins only now: otherwise a slow write would be followed too closely by a fast one. It
   * also follows a refusal: the conflicting write may be an earlier one of ours whose answer was lost.
   */
  ended(pool: string, bytes: number, { startMs, endMs }: { readonly startMs: number; readonly endMs: number }): void {
    this.#notBeforeMs.set(pool, endMs + Math.max(gapMs, (bytes / bytesPerSecond) * 1_000));
    const restMs = Math.min(restMsMax, (endMs - startMs) * this.#agents() * restPerAgent);
    this.#anyNotBeforeMs = Math.max(this.#anyNotBeforeMs, endMs + restMs);
  }

  forget(pool: string): void {
    this.#notBeforeMs.delete(pool);
  }
}

type Conditions = NonNullable<SpiderIPPoolStatus["conditions"]>;

/** `now` is undefined if the pool cannot be decoded: its counts then stay as they were. */
function isSame(now: PoolStatus | undefined, conditions: Conditions, written: SpiderIPPoolStatus = {}): boolean {
  if (!isDeepStrictEqual(conditions, written.conditions ?? [])) return false;
  if (now === undefined) return true;
  return (
    now.allocatedIPs === written.allocatedIPs &&
    now.allocatedIPCount === written.allocatedIPCount &&
    // JSON.parse loses the last digits of a huge count; so does this conversion.
    Number(now.totalIPCount) === written.totalIPCount
  );
}

/** As a merge patch: null removes. */
function toWire(now: PoolStatus | undefined, conditions: Conditions) {
  return {
    ...(now !== undefined && {
      allocatedIPs: now.allocatedIPs ?? null,
      allocatedIPCount: now.allocatedIPCount,
      totalIPCount: rawInteger(now.totalIPCount),
    }),
    conditions: conditions.length === 0 ? null : conditions,
  };
}

function sizeOf(now: PoolStatus | undefined): number {
  return now?.allocatedIPs?.length ?? 0;
}
