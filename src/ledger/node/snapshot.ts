import type { SpiderPoolUsage, SpiderPoolUsageSpec } from "#api";
import { type Family, parseIpSet } from "#ip";
import type { SetAside, UsageSnapshot } from "#ipam";

/** Decodes a pool's published usage for a node. Throws if its addresses are not of the family. */
export function snapshotOf({ spec }: SpiderPoolUsage, family: Family, node: string): UsageSnapshot {
  const rank = spec.nodes?.indexOf(node) ?? -1;
  const ranks = spec.nodes?.length ?? 0;
  return {
    used: parseIpSet(spec.used ?? [], family),
    cooling: parseIpSet(spec.cooling ?? [], family),
    share: rank >= 0 && ranks > 1 ? { rank, ranks } : undefined,
    granted: grantedOf(spec, family, node),
  };
}

/** How many of the pool's addresses are set aside, as it was published. */
export function setAsideIn({ spec }: SpiderPoolUsage): SetAside {
  const { quarantined = 0, quarantinedUntil, held = 0 } = spec;
  return { quarantined, quarantinedUntil, held };
}

function grantedOf({ granted, grants = [] }: SpiderPoolUsageSpec, family: Family, node: string) {
  if (granted === undefined) return undefined;
  const own = parseIpSet(grants.find((grant) => grant.node === node)?.ips ?? [], family);
  return { own, others: parseIpSet(granted, family).subtract(own) };
}
