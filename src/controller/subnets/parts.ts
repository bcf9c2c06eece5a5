import { isDeepStrictEqual } from "node:util";
import {
  familyOf,
  labels,
  parseApplicationKey,
  parseControlledIPPools,
  type SpiderIPPool,
  type SpiderReservedIP,
  type SpiderSubnet,
  spiderIPPools,
  spiderSubnets,
} from "#api";
import type { Signal } from "#base";
import type { Family, IpSet } from "#ip";
import {
  type Demand,
  ownerStateOf,
  type PoolParts,
  planSubnet,
  type SubnetPlan,
  subjectOfDemand,
  type Unmet,
  unusableFor,
  workloadKindOf,
} from "#ipam";
import { type ControllerOptions, metadataOf, type Source, type Store } from "#kube";
import { partsOf } from "#ledger";
import { type Deps, subjectOf } from "../deps.ts";
import type { PoolUses } from "../pools/uses.ts";
import { rawInteger, since } from "../status-fields.ts";
import { act } from "./act.ts";
import { changesOf, type Workloads } from "./workloads.ts";

/** How long an entry of the status stays after its pool was seen neither in the watch nor, yet, by a read. */
const lookAgainMs = 500;

export interface SubnetStores {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly reservations: Store<SpiderReservedIP>;
  readonly reserved: (family: Family) => IpSet;
  readonly uses: PoolUses;
  /** Undefined: no pool is made for an application, nor goes with one. */
  readonly workloads: Workloads | undefined;
}

/**
 * Makes the pools of applications from subnets, keeps their size, and lets them go with their application; tells in the
 * status of each subnet which pool has which part of it. The status of subnets is written here and nowhere else.
 */
export function subnetPartsController(deps: Deps, stores: SubnetStores): ControllerOptions {
  const { client, clock, log, settings } = deps;
  const { pools, subnets, reservations, reserved, uses, workloads } = stores;
  /** Pools whose next step depends on their claims, and their subnets. */
  const waiting = new Map<string, string>();
  const withCidr = (cidr: string) => subnets.list().filter(({ spec }) => spec.subnet === cidr);
  const subnetsOf = ({ spec }: SpiderIPPool) => withCidr(spec.subnet).map(({ metadata }) => metadata.name);
  const ofApplication = (uid: string) => pools.by("application", uid).flatMap(subnetsOf);
  const claims: Source = {
    synced: (o) => uses.source().synced(o),
    subscribe: (add) =>
      uses.source().subscribe((pool) => {
        const subnet = waiting.get(pool);
        if (subnet !== undefined) add(subnet);
      }),
  };
  return {
    name: "subnet-parts",
    clock,
    log,
    workers: 2,
    sources: [
      changesOf([subnets], ({ metadata, spec, status }) => [metadata.deletionTimestamp, spec, status], nameOf),
      changesOf([pools], versionOf, subnetsOf),
      changesOf(
        [reservations],
        ({ metadata, spec }) => [metadata.deletionTimestamp, spec.ips],
        () => subnets.list().flatMap(nameOf),
      ),
      ...(workloads === undefined ? [] : [workloads.source(ofApplication)]),
      claims,
    ],
    reconcile: async (name, o) => {
      const subnet = subnets.get(name);
      const demands = receivable(deps, subnet, demandsOn(workloads, name));
      const family = subnet && familyOf(subnet.spec.subnet);
      if (subnet === undefined || family === undefined) return {};
      const plan = planSubnet({
        subnet,
        demands: settings[`enableIPv${family}`] ? demands : [],
        pools: pools.list().filter(({ spec }) => spec.subnet === subnet.spec.subnet),
        isTaken: (pool) => pools.get(pool) !== undefined,
        useOf: (pool) => useOf(uses, pool, family),
        // By what the watches show: before anything is deleted for it, `isGone` makes sure.
        ownerOf: (pool) => (workloads === undefined ? "unknown" : ownerStateOf(pool, (uid) => workloads.withUid(uid))),
        reserved: reserved(family),
      });
      if (plan === undefined) return {};
      for (const [pool, of] of waiting) if (of === name) waiting.delete(pool);
      for (const pool of plan.waiting) waiting.set(pool, name);
      for (const { demand, message } of plan.unmet) {
        for (const subject of [subjectOf(spiderSubnets, subnet), subjectOfDemand(demand)]) {
          deps.events.record(subject, { type: "Warning", reason: "InsufficientIPs", message });
        }
      }
      for (const pool of plan.dropped) {
        if ((await client.get(metadataOf(spiderIPPools), { name: pool }, o)) !== undefined) {
          return { afterMs: lookAgainMs };
        }
      }
      // What the watch shows of the new status brings us back, to act on it.
      if (await writeStatus(deps, subnet, plan, o)) return {};
      return act(deps, { plan, uses, isGone: (pool) => isGone(deps, subnet, pool, o) }, o);
    },
  };
}

/** Tells of workloads whose annotations cannot be read. */
export function brokenWorkloadsController({ clock, log, events }: Deps, workloads: Workloads): ControllerOptions {
  return {
    name: "workload-annotations",
    clock,
    log,
    sources: [workloads.broken()],
    reconcile: async (uid) => {
      const demands = workloads.withUid(uid)?.demands;
      if (demands?.kind !== "broken") return {};
      events.record(demands.subject, { type: "Warning", reason: "InvalidAnnotation", message: demands.message });
      return {};
    },
  };
}

function demandsOn(workloads: Workloads | undefined, subnet: string): readonly Demand[] {
  const all = (workloads?.of(subnet) ?? []).flatMap(({ demands }) => (demands?.kind === "wanted" ? demands.list : []));
  return all.filter((demand) => demand.subnet === subnet);
}

/** The demands that the subnet can meet at all; of the others their application is told. */
function receivable({ events }: Deps, subnet: SpiderSubnet | undefined, demands: readonly Demand[]): readonly Demand[] {
  return demands.filter((demand) => {
    const { nic, family: wanted } = demand.owner;
    const why = unusableFor(subnet, demand);
    if (why === undefined) return true;
    const message = `no IPv${wanted} IPPool for NIC ${nic}: SpiderSubnet ${demand.subnet} ${why}`;
    events.record(subjectOfDemand(demand), { type: "Warning", reason: "SubnetUnusable", message });
    return false;
  });
}

function useOf(uses: PoolUses, { metadata }: SpiderIPPool, family: Family): PoolParts {
  return partsOf([...(uses.get(metadata.name)?.claims ?? [])], metadata.uid, family);
}

/** Whether the application of the pool is not there by the API server's own word. */
async function isGone(
  { client }: Deps,
  { status }: SpiderSubnet,
  { metadata }: SpiderIPPool,
  o: Signal,
): Promise<boolean> {
  const key = parseControlledIPPools(status?.controlledIPPools)?.[metadata.name]?.application;
  const application = key === undefined ? undefined : parseApplicationKey(key);
  const resource = application && workloadKindOf(application)?.resource;
  if (resource === undefined || application === undefined) return false;
  const { namespace, name } = application;
  const found = await client.get(metadataOf(resource), { namespace, name }, o);
  return found?.metadata.uid !== metadata.labels?.[labels.ownerApplicationUid];
}

/** True: there was something to write. */
async function writeStatus(
  { client, clock }: Deps,
  { metadata, status = {} }: SpiderSubnet,
  plan: SubnetPlan,
  o: Signal,
): Promise<boolean> {
  const { name, resourceVersion } = metadata;
  const text = Object.keys(plan.controlled).length === 0 ? undefined : JSON.stringify(plan.controlled);
  const conditions = since(conditionsOf(plan.unmet), status.conditions, clock.wall());
  const isSame =
    text === status.controlledIPPools &&
    Number(plan.total) === status.totalIPCount &&
    Number(plan.allocated) === status.allocatedIPCount &&
    isDeepStrictEqual(conditions, status.conditions ?? []);
  if (isSame) return false;
  const body = {
    metadata: { resourceVersion },
    status: {
      controlledIPPools: text ?? null,
      totalIPCount: rawInteger(plan.total),
      allocatedIPCount: rawInteger(plan.allocated),
      conditions: conditions.length === 0 ? null : conditions,
    },
  };
  await client.patch(spiderSubnets, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
  return true;
}

function conditionsOf(unmet: readonly Unmet[]) {
  const [first] = unmet;
  if (first === undefined) return [];
  const more = unmet.length === 1 ? "" : ` (and ${unmet.length - 1} more)`;
  const type = "InsufficientIPs" as const;
  return [{ type, reason: "SubnetExhausted", message: `${first.message}${more}`.slice(0, 4_096) }];
}

function nameOf({ metadata }: SpiderSubnet): readonly string[] {
  return [metadata.name];
}

/** Most changes of a pool are those of its status. */
function versionOf({ metadata }: SpiderIPPool): unknown {
  const { uid, generation, labels: set, annotations, deletionTimestamp } = metadata;
  return [uid, generation, set, annotations, deletionTimestamp];
}
