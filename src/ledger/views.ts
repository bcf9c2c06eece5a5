import type { SpiderIPPoolStatus, SpiderPoolUsageSpec } from "#api";
import { clampCount, formatIp, formatIpSet, type Ip, IpSet } from "#ip";
import type { PoolView } from "#ipam";
import type { Claim } from "./claim.ts";

/** Records listed in a pool's status; counts are exact beyond it. */
export const listedRecordsMax = 1_000;

/** Who uses what of one pool, from the claims in it. Membership goes by address, not by the name that a claim carries. */
export interface PoolUse {
  readonly used: IpSet;
  /** Claims held by Pods: what a pool's status lists. */
  readonly claims: readonly Claim[];
  /** Nodes with claims in the pool, in the order of their names: a node's position is its rank. */
  readonly nodes: readonly string[];
}

export function poolUse(pool: Pick<PoolView, "set" | "uid">, claims: Iterable<Claim>): PoolUse {
  const { family } = pool.set;
  const inside: Claim[] = [];
  const ips: Ip[] = [];
  const nodes = new Set<string>();
  for (const claim of claims) {
    if (claim.ip.family !== family || !(claim.spec.poolUID === pool.uid || pool.set.contains(claim.ip))) continue;
    inside.push(claim);
    ips.push(claim.ip);
    if (claim.spec.node !== undefined) nodes.add(claim.spec.node);
  }
  return { used: IpSet.ofIps(family, ips), claims: inside, nodes: [...nodes].sort() };
}

/** The pool's status in the format that users know. Keys of `allocatedIPs` are in the order of their text. */
export function poolStatus(pool: Pick<PoolView, "set">, { claims }: PoolUse): SpiderIPPoolStatus {
  const records = claims
    .filter(({ spec }) => spec.purpose === "Pod" || spec.purpose === "Sticky")
    .map(({ ip, spec }): [string, object] => [
      formatIp(ip),
      { pod: `${spec.podNamespace}/${spec.podName}`, podUid: spec.podUID ?? "" },
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const listed = Object.fromEntries(records.slice(0, listedRecordsMax));
  return {
    ...(records.length === 0 ? {} : { allocatedIPs: JSON.stringify(listed) }),
    allocatedIPCount: records.length,
    totalIPCount: Number(clampCount(pool.set.size)),
  };
}

/** The published usage: what makes the agents' guesses good. `epoch` is the leader's term. */
export function poolUsage(
  pool: Pick<PoolView, "name" | "uid" | "generation" | "set">,
  use: PoolUse,
  { epoch, now }: { readonly epoch: number; readonly now: Date },
): SpiderPoolUsageSpec {
  return {
    pool: pool.name,
    poolUID: pool.uid,
    poolGeneration: pool.generation,
    free: Number(clampCount(pool.set.subtract(use.used).size)),
    used: formatIpSet(use.used),
    nodes: use.nodes,
    epoch,
    publishedAt: now.toISOString(),
  };
}
