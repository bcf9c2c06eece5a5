import type { SpiderPoolUsage } from "#api";
import { type Family, parseIpSet } from "#ip";
import type { UsageSnapshot } from "#ipam";

/** What a pool's published usage says to a node. Throws where its addresses are none of the family. */
export function snapshotOf({ spec }: SpiderPoolUsage, family: Family, node: string): UsageSnapshot {
  const rank = spec.nodes?.indexOf(node) ?? -1;
  const ranks = spec.nodes?.length ?? 0;
  return {
    used: parseIpSet(spec.used ?? [], family),
    cooling: parseIpSet(spec.cooling ?? [], family),
    share: rank >= 0 && ranks > 1 ? { rank, ranks } : undefined,
  };
}
