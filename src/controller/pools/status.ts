import { type SpiderIPPool, type SpiderIPPoolStatus, spiderIPPools } from "#api";
import { type ControllerOptions, fromStore, type Store } from "#kube";
import { type PoolStatus, poolStatus } from "#ledger";
import type { Deps } from "../deps.ts";
import type { PoolUses } from "./uses.ts";

/** Statuses of one pool are at least so far apart, … */
const gapMs = 1_000;
/** … and more where they are large: every watcher of pools reads each of them. */
const bytesPerSecond = 20_000;

/** Writes what users read of a pool: at once where it was quiet, then no more often than the cluster can bear. */
export function poolStatusController(
  { client, clock, log }: Deps,
  { pools, uses }: { readonly pools: Store<SpiderIPPool>; readonly uses: PoolUses },
): ControllerOptions {
  const notBeforeMs = new Map<string, number>();
  return {
    name: "pool-status",
    clock,
    log,
    workers: 4,
    sources: [fromStore(pools), uses.source()],
    reconcile: async (name, o) => {
      const pool = pools.get(name);
      const members = uses.get(name);
      if (pool === undefined || members === undefined) {
        notBeforeMs.delete(name);
        return {};
      }
      const leftMs = (notBeforeMs.get(name) ?? 0) - clock.monotonicMs();
      if (leftMs > 0) return { afterMs: leftMs };
      const status = poolStatus(members.view, members);
      if (isSame(status, pool.status)) return {};
      const { resourceVersion } = pool.metadata;
      const body = { metadata: { resourceVersion }, status: toWire(status) };
      await client.patch(spiderIPPools, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
      notBeforeMs.set(name, clock.monotonicMs() + Math.max(gapMs, (sizeOf(status) / bytesPerSecond) * 1000));
      return {};
    },
  };
}

function isSame(now: PoolStatus, written: SpiderIPPoolStatus = {}): boolean {
  return (
    now.allocatedIPs === written.allocatedIPs &&
    now.allocatedIPCount === written.allocatedIPCount &&
    // A number that JSON.parse read has lost the last digits of a huge count; so has this one.
    Number(now.totalIPCount) === written.totalIPCount
  );
}

/** As a merge patch: null removes. */
function toWire({ allocatedIPs, allocatedIPCount, totalIPCount }: PoolStatus) {
  return { allocatedIPs: allocatedIPs ?? null, allocatedIPCount, totalIPCount: rawInteger(totalIPCount) };
}

function sizeOf({ allocatedIPs = "" }: PoolStatus): number {
  return allocatedIPs.length;
}

/** A value that JSON.stringify writes digit by digit: int64 goes to 2^63 − 1, and 9223372036854775808 is refused. */
function rawInteger(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
