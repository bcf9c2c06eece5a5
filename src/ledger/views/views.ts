import { labelValue, type SpiderIPPoolStatus, type SpiderPoolUsageSpec } from "#api";
import { clampCount, type Family, formatIp, formatIpSet, IpSet, rangeSize } from "#ip";
import type { PoolView, SetAside } from "#ipam";
import { type Claim, isHeld } from "../claims/claim.ts";
import { endpointOf } from "../claims/sticky.ts";
import type { Grants } from "./grants.ts";

/** How many records a pool's status lists by default. The counts are exact even if there are more. */
const listedRecordsMax = 1_000;
/** How many Pods a condition names. */
const namedPodsMax = 10;
/** How many ranges the schema of SpiderPoolUsage allows. The rest is left out; it only makes the agents' guesses worse. */
const usageRangesMax = 8_192;
/** The size of one list, in bytes. Every agent that draws from the pool reads all of it. */
const usageBytesMax = 256 * 1_024;
const usageNodesMax = 5_000;
/** How many ranges are granted to a node at most. */
const grantRangesMax = 64;

/** Who uses which addresses of one pool. What counts is the claim's address, not the pool that it names. */
export interface PoolUse {
  readonly used: IpSet;
  /** May be iterated any number of times. */
  readonly claims: Iterable<Claim>;
  /** Nodes with claims in the pool, sorted by name. A node's position is its rank. */
  readonly nodes: readonly string[];
  /** Those claims of Quarantine and Hold. There are few. */
  readonly aside: Iterable<Claim>;
}

/** A pool's status. `totalIPCount` may be up to 2^63 − 1, more than a number of JavaScript can hold exactly. */
export type PoolStatus = Pick<SpiderIPPoolStatus, "allocatedIPs"> & {
  readonly allocatedIPCount: number;
  readonly totalIPCount: bigint;
  readonly conditions: readonly PoolCondition[];
};

/** A condition that is true. Its time is added by whoever writes it. */
export type PoolCondition = Pick<NonNullable<SpiderIPPoolStatus["conditions"]>[number], "type" | "reason" | "message">;

/**
 * The pool's status in the format that users know. The keys of `allocatedIPs` are sorted as text. If there are more than `listed`
 * records, it has the first ones, and a condition says so.
 */
export function poolStatus(
  pool: Pick<PoolView, "name" | "uid" | "set">,
  { claims }: Pick<PoolUse, "claims">,
  { listed = listedRecordsMax }: { readonly listed?: number } = {},
): PoolStatus {
  const texts: string[] = [];
  const outside: string[] = [];
  for (const claim of claims) {
    const { ip, spec } = claim;
    if (!isHeld(claim)) continue;
    texts.push(textOf(claim));
    if (spec.poolUID === pool.uid && !pool.set.contains(ip)) outside.push(`${textOf(claim)} (${podOf(claim)})`);
  }
  texts.sort();
  // In a large pool, records that are not listed are not even made.
  const allocated = recordsOf(claims, new Set(texts.slice(0, listed)));
  return {
    ...(texts.length > 0 && { allocatedIPs: JSON.stringify(Object.fromEntries(allocated)) }),
    allocatedIPCount: texts.length,
    totalIPCount: clampCount(pool.set.size),
    conditions: [...outOfRange(outside.sort()), ...truncated(pool.name, texts.length, listed)],
  };
}

/** The records of the listed addresses, sorted as text. */
function recordsOf(claims: Iterable<Claim>, listed: ReadonlySet<string>) {
  const records: [string, { readonly pod: string; readonly podUid: string }][] = [];
  for (const claim of claims) {
    const text = textOf(claim);
    if (!listed.has(text) || !isHeld(claim)) continue;
    // For a virtual machine its own name, because its Pods come and go.
    const pod = `${claim.spec.podNamespace}/${endpointOf(claim)}`;
    records.push([text, { pod, podUid: claim.spec.podUID ?? "" }]);
  }
  return records.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The address as users write it. For IPv4 that is the claim's name. */
function textOf({ name, ip }: Claim): string {
  return ip.family === 4 ? name : formatIp(ip);
}

function podOf({ spec }: Claim): string {
  return `${spec.podNamespace}/${spec.podName}`;
}

function outOfRange(outside: readonly string[]): readonly PoolCondition[] {
  if (outside.length === 0) return [];
  const more = outside.length > namedPodsMax ? ` and ${outside.length - namedPodsMax} more` : "";
  const message =
    "Pods have addresses that spec.ips less spec.excludeIPs does not have any more: " +
    `${outside.slice(0, namedPodsMax).join(", ")}${more}; add them again, or restart these Pods to give them other ones`;
  return [{ type: "OutOfRange", reason: "InUseAddressesRemoved", message }];
}

function truncated(pool: string, count: number, listed: number): readonly PoolCondition[] {
  if (count <= listed) return [];
  const message = `allocatedIPs lists ${listed} of ${count} records; all are in: kubectl get sia -l pool=${labelValue(pool)}`;
  return [{ type: "AllocatedIPsTruncated", reason: "TooManyRecords", message }];
}

/**
 * The published usage, by which agents guess free addresses. `epoch` is the leader's term, `reserved` are addresses that no pool
 * may hand out, `cooling` those that were released recently. `free` is exact up to 2^53 − 1, and never greater.
 */
export function poolUsage(
  pool: Pick<PoolView, "name" | "uid" | "generation" | "set">,
  { used, nodes, aside }: Pick<PoolUse, "used" | "nodes" | "aside">,
  {
    reserved,
    cooling,
    grants,
    epoch,
    now,
  }: {
    readonly reserved: IpSet;
    readonly cooling: IpSet;
    readonly grants: Grants;
    readonly epoch: number;
    readonly now: Date;
  },
): SpiderPoolUsageSpec {
  const allowed = pool.set.subtract(reserved);
  const free = allowed.subtract(used).size;
  const { quarantined, quarantinedUntil, held } = setAsideOf(aside, allowed);
  const most = BigInt(Number.MAX_SAFE_INTEGER);
  return {
    pool: pool.name,
    poolUID: pool.uid,
    poolGeneration: pool.generation,
    free: Number(free > most ? most : free),
    used: boundedRanges(used),
    ...(!cooling.isEmpty && { cooling: boundedRanges(cooling) }),
    ...(quarantined > 0 && { quarantined }),
    ...(quarantinedUntil !== undefined && { quarantinedUntil }),
    ...(held > 0 && { held }),
    nodes: nodes.slice(0, usageNodesMax),
    ...(grants.size > 0 && grantsIn(grants, used.family)),
    epoch,
    publishedAt: now.toISOString(),
  };
}

/** How many of the allowed addresses are set aside; `claims` may have any others, too. */
export function setAsideOf(claims: Iterable<Claim>, allowed: IpSet): SetAside {
  let [quarantined, held] = [0, 0];
  let quarantinedUntil: string | undefined;
  for (const { ip, spec } of claims) {
    if (ip.family !== allowed.family || !allowed.contains(ip)) continue;
    if (spec.purpose === "Hold") held += 1;
    if (spec.purpose !== "Quarantine") continue;
    quarantined += 1;
    const { until } = spec;
    if (until !== undefined && (quarantinedUntil === undefined || Date.parse(until) < Date.parse(quarantinedUntil))) {
      quarantinedUntil = until;
    }
  }
  return { quarantined, quarantinedUntil, held };
}

/** All grants together are one list for those who stay away from them: it is short, because grants lie side by side. */
function grantsIn(grants: Grants, family: Family): Pick<SpiderPoolUsageSpec, "granted" | "grants"> {
  const listed = [...grants].slice(0, usageNodesMax);
  const all = IpSet.of(
    family,
    listed.flatMap(([, ips]) => ips.ranges),
  );
  return {
    granted: boundedRanges(all),
    grants: listed.map(([node, ips]) => ({ node, ips: formatIpSet(ips).slice(0, grantRangesMax) })),
  };
}

/** The ranges of a set in ascending order. If there are too many, the largest, because these prevent the most collisions. */
function boundedRanges(set: IpSet): readonly string[] {
  const texts = formatIpSet(set);
  // Each has two quotes and a comma.
  const bytes = (list: readonly string[]) => list.reduce((sum, text) => sum + text.length + 3, 0);
  if (texts.length <= usageRangesMax && bytes(texts) <= usageBytesMax) return texts;
  const family = set.first?.family ?? 4;
  const longest = family === 4 ? "255.255.255.255-255.255.255.255" : `${"ffff:".repeat(8)}-${"ffff:".repeat(8)}`;
  const most = Math.min(usageRangesMax, Math.floor(usageBytesMax / (longest.length + 3)));
  const largest = set.ranges.toSorted((a, b) => Number(rangeSize(b) - rangeSize(a))).slice(0, most);
  return formatIpSet(IpSet.of(family, largest));
}
