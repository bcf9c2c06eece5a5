import type { SpiderIPPoolStatus, SpiderPoolUsageSpec } from "#api";
import { clampCount, formatIp, formatIpSet, type IpSet } from "#ip";
import type { PoolView } from "#ipam";
import type { Claim } from "./claim.ts";

/** Records listed in a pool's status; counts are exact beyond it. */
export const listedRecordsMax = 1_000;
/** What the schema of SpiderPoolUsage allows; what does not fit is left out of the guesses that it helps. */
const usageRangesMax = 8_192;
const usageNodesMax = 5_000;

/** Who uses what of one pool. Membership goes by address, not by the name that a claim carries. */
export interface PoolUse {
  readonly used: IpSet;
  readonly claims: Iterable<Claim>;
  /** Nodes with claims in the pool, in the order of their names: a node's position is its rank. */
  readonly nodes: readonly string[];
}

/** A pool's status with exact counts: a JSON number of JavaScript holds 2^53, the field 2^63 − 1. */
export type PoolStatus = Pick<SpiderIPPoolStatus, "allocatedIPs"> & {
  readonly allocatedIPCount: number;
  readonly totalIPCount: bigint;
};

/** The pool's status in the format that users know. Keys of `allocatedIPs` are in the order of their text. */
export function poolStatus(pool: Pick<PoolView, "set">, { claims }: PoolUse): PoolStatus {
  const records: [string, { readonly pod: string; readonly podUid: string }][] = [];
  for (const { ip, spec } of claims) {
    if (spec.purpose !== "Pod" && spec.purpose !== "Sticky") continue;
    records.push([formatIp(ip), { pod: `${spec.podNamespace}/${spec.podName}`, podUid: spec.podUID ?? "" }]);
  }
  records.sort(([a], [b]) => (a < b ? -1 : 1));
  const listed = Object.fromEntries(records.slice(0, listedRecordsMax));
  return {
    ...(records.length === 0 ? {} : { allocatedIPs: JSON.stringify(listed) }),
    allocatedIPCount: records.length,
    totalIPCount: clampCount(pool.set.size),
  };
}

/**
 * The published usage: what makes the agents' guesses good. `epoch` is the leader's term, `cooling` what was released a
 * moment ago. `free` is exact up to 2^53 − 1, more than anybody will use up.
 */
export function poolUsage(
  pool: Pick<PoolView, "name" | "uid" | "generation" | "set">,
  { used, nodes }: Pick<PoolUse, "used" | "nodes">,
  { cooling, epoch, now }: { readonly cooling: IpSet; readonly epoch: number; readonly now: Date },
): SpiderPoolUsageSpec {
  const free = pool.set.subtract(used).size;
  const most = BigInt(Number.MAX_SAFE_INTEGER);
  return {
    pool: pool.name,
    poolUID: pool.uid,
    poolGeneration: pool.generation,
    free: Number(free > most ? most : free),
    used: formatIpSet(used).slice(0, usageRangesMax),
    ...(cooling.isEmpty ? {} : { cooling: formatIpSet(cooling).slice(0, usageRangesMax) }),
    nodes: nodes.slice(0, usageNodesMax),
    epoch,
    publishedAt: now.toISOString(),
  };
}
