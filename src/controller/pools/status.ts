import { isDeepStrictEqual } from "node:util";
import { type SpiderIPPool, type SpiderIPPoolStatus, spiderIPPools } from "#api";
import { type ControllerOptions, fromStore, type Store } from "#kube";
import { type PoolStatus, poolStatus } from "#ledger";
import { type Deps, subjectOf } from "../deps.ts";
import type { LedgerEpoch } from "../ledger-epoch/epoch.ts";
import { rawInteger, since } from "../status-fields.ts";
import type { Judgements } from "./judgements.ts";
import type { PoolUses } from "./uses.ts";

/** Statuses of one pool are at least so far apart, … */
const gapMs = 1_000;
/** … and more where they are large: every watcher of pools reads each of them. */
const bytesPerSecond = 20_000;
/** Events that all watchers of pools together may get in a second: one for each agent and each status written. */
const watchEventsPerSecond = 20_000;
/**
 * A server that answers late has too much to do, and each status makes it tell all agents: with a thousand of them the next one
 * comes ten times as late as the answer did, with fewer accordingly sooner. No view is that stale for longer than this.
 */
const restPerAgent = 1 / 100;
const restMsMax = 2_000;

export interface StatusOptions {
  readonly pools: Store<SpiderIPPool>;
  readonly uses: PoolUses;
  readonly judgements: Judgements;
  /** How many watch pools. */
  readonly agents: () => number;
  /** The ledger has every claim: until then the status that is there may be the only word of addresses in use. */
  readonly epoch: Pick<LedgerEpoch, "isComplete" | "source">;
  /** Records that `allocatedIPs` lists. */
  readonly listed: number;
}

/** Writes what users read of a pool: at once where it was quiet, then no more often than the cluster can bear. */
export function poolStatusController(deps: Deps, options: StatusOptions): ControllerOptions {
  const { clock, log, events } = deps;
  const client = deps.client.forViews();
  const { pools, uses, judgements, agents, listed, epoch } = options;
  const notBeforeMs = new Map<string, number>();
  let anyNotBeforeMs = 0;
  /** What each status was made of when it was written: if nothing of that has changed, somebody else wrote the status. */
  const madeOf = new Map<string, string>();
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
        notBeforeMs.delete(name);
        madeOf.delete(name);
        return {};
      }
      if (!epoch.isComplete) return {}; // It tells when it is.
      const nowMs = clock.monotonicMs();
      const leftMs = Math.max(notBeforeMs.get(name) ?? 0, anyNotBeforeMs) - nowMs;
      if (leftMs > 0) return { afterMs: leftMs };
      const found = members && poolStatus(members.view, members, { listed });
      const conditions = since(
        [...judgements.conditionsOf(name), ...(found?.conditions ?? [])],
        pool.status?.conditions,
        clock.wall(),
      );
      const made = `${members?.changes} ${pool.metadata.uid} ${pool.metadata.generation} ${JSON.stringify(conditions)}`;
      if (isSame(found, conditions, pool.status)) {
        madeOf.set(name, made);
        return {};
      }
      if (madeOf.get(name) === made) deps.metrics.count("spiderpool_faults_total", { kind: "view-differs" });
      const watchers = agents();
      anyNotBeforeMs = nowMs + (watchers / watchEventsPerSecond) * 1_000;
      const { resourceVersion } = pool.metadata;
      const body = { metadata: { resourceVersion }, status: toWire(found, conditions) };
      try {
        await client.patch(spiderIPPools, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
      } finally {
        // From the answer on: a write that was on its way for long would else be followed too closely by one that is not. After a
        // refusal, too: what was in the way may be an earlier one of ours, whose answer was lost.
        const pauseMs = Math.max(gapMs, (sizeOf(found) / bytesPerSecond) * 1_000);
        const endMs = clock.monotonicMs();
        notBeforeMs.set(name, endMs + pauseMs);
        const restMs = Math.min(restMsMax, (endMs - nowMs) * watchers * restPerAgent);
        anyNotBeforeMs = Math.max(anyNotBeforeMs, endMs + restMs);
      }
      const outside = conditions.find(({ type }) => type === "OutOfRange");
      if (outside !== undefined && !pool.status?.conditions?.some(({ type }) => type === "OutOfRange")) {
        events.record(subjectOf(spiderIPPools, pool), {
          type: "Warning",
          reason: outside.type,
          message: outside.message,
        });
      }
      return {};
    },
  };
}

type Conditions = NonNullable<SpiderIPPoolStatus["conditions"]>;

/** `now` is undefined where the pool cannot be decoded: its counts then stay as they were. */
function isSame(now: PoolStatus | undefined, conditions: Conditions, written: SpiderIPPoolStatus = {}): boolean {
  if (!isDeepStrictEqual(conditions, written.conditions ?? [])) return false;
  if (now === undefined) return true;
  return (
    now.allocatedIPs === written.allocatedIPs &&
    now.allocatedIPCount === written.allocatedIPCount &&
    // A number that JSON.parse read has lost the last digits of a huge count; so has this one.
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
