import { effectiveSet, familyOf, parseControlledIPPools, type SpiderIPPool, type SpiderSubnet, trySetOf } from "#api";
import type { Clock } from "#base";
import type { Family, IpSet } from "#ip";
import type { Store } from "#kube";
import type { PoolMembers, PoolUses } from "../pools/uses.ts";
import type { ControllerMetrics } from "./metrics.ts";

interface GaugeSources {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly uses: PoolUses;
  readonly reserved: (family: Family) => IpSet;
  readonly clock: Clock;
  /** Whether this replica leads. Only the leader exports figures about the cluster, so that sums over replicas are right. */
  readonly leads: () => boolean;
  /** Whether to export the `debug` metrics. */
  readonly debug: boolean;
}

/** How many addresses of a pool are in each state. Held addresses count as reserved: nobody gets either. */
export interface PoolCounts {
  readonly total: number;
  readonly free: number;
  readonly used: number;
  readonly reserved: number;
  readonly cooling: number;
  readonly quarantined: number;
}

/** Counts the pool's addresses, exactly up to 2^53. Claims on addresses outside the pool do not count. */
export function poolCounts(members: PoolMembers, reserved: IpSet, nowMs: number): PoolCounts {
  const { view, held } = members;
  const open = view.set.subtract(members.used);
  const free = open.subtract(reserved);
  return {
    ...held,
    total: Number(view.set.size),
    free: Number(free.size),
    reserved: held.reserved + Number(open.intersect(reserved).size),
    cooling: Number(free.intersect(members.cooling(nowMs).set).size),
  };
}

/** Makes every scrape read the gauges of pools and subnets. */
export function collectGauges(metrics: ControllerMetrics, sources: GaugeSources): void {
  const { pools, subnets, uses, reserved, clock, leads, debug } = sources;
  const ofPools = (counts: keyof PoolCounts) => () =>
    (leads() ? uses.list() : []).map((members) => ({
      value: poolCounts(members, reserved(members.view.family), clock.monotonicMs())[counts],
      labels: { SpiderIPPool: members.view.name },
    }));
  const ofSubnets = (value: (counts: SubnetCounts) => number) => () =>
    (leads() && debug ? subnets.list() : []).map((subnet) => ({
      value: value(subnetCounts(subnet)),
      labels: { SpiderSubnet: subnet.metadata.name },
    }));
  metrics.collect("spiderpool_leader", () => [{ value: leads() ? 1 : 0 }]);
  metrics.collect("spiderpool_total_ippool_counts", () => [{ value: leads() ? pools.list().length : 0 }]);
  metrics.collect("spiderpool_total_subnet_counts", () => [{ value: leads() ? subnets.list().length : 0 }]);
  for (const state of ["free", "used", "reserved", "cooling", "quarantined"] as const) {
    metrics.collect(`spiderpool_ippool_${state}_ip_counts`, ofPools(state));
  }
  const available = (members: PoolMembers) => Number(members.view.set.subtract(members.used).size);
  metrics.collect("spiderpool_debug_ippool_total_ip_counts", () => (debug ? ofPools("total")() : []));
  metrics.collect("spiderpool_debug_ippool_available_ip_counts", () =>
    (leads() && debug ? uses.list() : []).map((members) => ({
      value: available(members),
      labels: { SpiderIPPool: members.view.name },
    })),
  );
  metrics.collect(
    "spiderpool_debug_subnet_total_ip_counts",
    ofSubnets(({ total }) => total),
  );
  metrics.collect(
    "spiderpool_debug_subnet_available_ip_counts",
    ofSubnets(({ total, handedOut }) => total - handedOut),
  );
  metrics.collect(
    "spiderpool_debug_subnet_ippool_counts",
    ofSubnets(({ pools: count }) => count),
  );
}

interface SubnetCounts {
  readonly total: number;
  /** Addresses given to pools. */
  readonly handedOut: number;
  readonly pools: number;
}

function subnetCounts({ spec, status }: SpiderSubnet): SubnetCounts {
  const family = familyOf(spec.subnet);
  const set = family && effectiveSet(spec, family);
  const controlled = Object.values(parseControlledIPPools(status?.controlledIPPools) ?? {});
  const handedOut = controlled
    .flatMap(({ ips }) => (family && trySetOf(ips, family)) ?? [])
    .reduce((sum, one) => sum + Number(one.size), 0);
  return { total: Number(set?.size ?? 0n), handedOut, pools: controlled.length };
}
