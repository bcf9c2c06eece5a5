import { type Ip, IpSet, ipFromValue, ipValue } from "#ip";

/** A node on which Pods wait for addresses of a pool. */
export interface WaitingNode {
  readonly node: string;
  /** How many Pods wait. */
  readonly waiting: number;
  /** The address that the node claimed last. Guesses of it that are on their way are probably the next ones. */
  readonly last: Ip;
}

/** The addresses that each node is to try before all others, and that others try last. */
export type Grants = ReadonlyMap<string, IpSet>;

/**
 * Gives each waiting node as many free addresses as Pods wait on it, so that nodes do not meet at the same ones. What a node was
 * given `before` stays its own until it has claimed it or waits no more: guesses of it may be on their way. If there are too few
 * addresses for all, the last nodes have fewer or none.
 */
export function grantsOf(free: IpSet, before: Grants, nodes: readonly WaitingNode[]): Grants {
  const kept = new Map(nodes.map(({ node }) => [node, before.get(node)?.intersect(free) ?? IpSet.empty(free.family)]));
  let open = free;
  for (const own of kept.values()) open = open.subtract(own);
  // The next guess of a node that had nothing is on its way, to the first address after its last one that nobody was given then.
  for (const { node, last } of nodes) {
    if (kept.get(node)?.isEmpty !== true) continue;
    const next = firstOf(open, last, 1n);
    open = open.subtract(next);
    kept.set(node, next);
  }
  const grants = new Map<string, IpSet>();
  for (const { node, waiting, last } of nodes) {
    const own = kept.get(node) ?? IpSet.empty(free.family);
    const more = firstOf(open, last, BigInt(waiting) - own.size);
    open = open.subtract(more);
    const all = own.union(more);
    if (!all.isEmpty) grants.set(node, all);
  }
  return grants;
}

/** How many of the Pods that wait have no address that is granted to their node and still free. */
export function ungranted(grants: Grants, nodes: readonly WaitingNode[], used: IpSet): number {
  let count = 0;
  for (const { node, waiting } of nodes)
    count += Math.max(0, waiting - Number(grants.get(node)?.subtract(used).size ?? 0));
  return count;
}

/** The first `count` addresses of `set` from `from` on, coming round. */
function firstOf(set: IpSet, from: Ip, count: bigint): IpSet {
  const ranges = set.ranges;
  const start = Math.max(
    0,
    ranges.findIndex(({ last }) => ipValue(last) >= ipValue(from)),
  );
  const taken = [];
  let left = count;
  for (let at = 0; at < ranges.length && left > 0n; at++) {
    const range = ranges[(start + at) % ranges.length];
    if (range === undefined) break;
    const length = ipValue(range.last) - ipValue(range.first) + 1n;
    const last = length > left ? ipFromValue(set.family, ipValue(range.first) + left - 1n) : range.last;
    taken.push({ first: range.first, last });
    left -= length;
  }
  return IpSet.of(set.family, taken);
}
