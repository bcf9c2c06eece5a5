import {
  familyOf,
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
  planSubnet,
  type SubnetFacts,
  type SubnetPlan,
  subjectOfDemand,
  unusableFor,
} from "#ipam";
import { type ControllerOptions, metadataOf, type Source, type Store } from "#kube";
import { partsOf } from "#ledger";
import { type Deps, subjectOf } from "../deps.ts";
import type { PoolUses } from "../pools/uses.ts";
import { act } from "./act.ts";
import { writeStatus } from "./status.ts";
import { changesOf, type Workloads } from "./workloads.ts";

/** How long an entry of the status stays after its pool was seen neither in the watch nor, yet, by a read. */
const lookAgainMs = 500;

/** What the controllers of subnets read. */
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
  const { clock, log, settings } = deps;
  const { pools, subnets, reservations, uses, workloads } = stores;
  /** Pools whose next step depends on their claims, and their subnets. */
  const waiting = new Map<string, string>();
  const withCidr = (cidr: string) => subnets.list().filter(({ spec }) => spec.subnet === cidr);
  const subnetsOf = ({ spec }: SpiderIPPool) => withCidr(spec.subnet).map(({ metadata }) => metadata.name);
  const ofApplication = (uid: string) => pools.by("application", uid).flatMap(subnetsOf);
  const scoped = () => subnets.list().flatMap((one) => (one.spec.namespaceAffinity === undefined ? [] : nameOf(one)));
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
      ...(workloads === undefined ? [] : [workloads.source(ofApplication), workloads.scopes(scoped)]),
      claims,
    ],
    reconcile: async (name, o) => {
      const subnet = subnets.get(name);
      const demands = receivable(deps, subnet, workloads, demandsOn(workloads, name));
      const plan = subnet && planSubnet(factsOf(subnet, demands, settings, stores));
      if (subnet === undefined || plan === undefined) return {};
      for (const [pool, of] of waiting) if (of === name) waiting.delete(pool);
      for (const pool of plan.waiting) waiting.set(pool, name);
      tellUnmet(deps, subnet, plan);
      if (await isAnyThere(deps, plan.dropped, o)) return { afterMs: lookAgainMs };
      // What the watch shows of the new status brings us back, to act on it.
      if (await writeStatus(deps, subnet, plan, o)) return {};
      return act(deps, { plan, subnet, uses }, o);
    },
  };
}

/** What the watches show of a subnet and its pools. */
function factsOf(
  subnet: SpiderSubnet,
  demands: readonly Demand[],
  settings: Deps["settings"],
  { pools, reserved, uses, workloads }: SubnetStores,
): SubnetFacts {
  const family = familyOf(subnet.spec.subnet) ?? 4;
  return {
    subnet,
    demands: settings[`enableIPv${family}`] ? demands : [],
    pools: pools.list().filter(({ spec }) => spec.subnet === subnet.spec.subnet),
    isTaken: (pool) => pools.get(pool) !== undefined,
    useOf: ({ metadata }) => partsOf([...(uses.get(metadata.name)?.claims ?? [])], metadata.uid, family),
    // Before anything is deleted for it, `act` makes sure.
    ownerOf: (pool) => (workloads === undefined ? "unknown" : ownerStateOf(pool, (uid) => workloads.withUid(uid))),
    reserved: reserved(family),
  };
}

function tellUnmet({ events }: Deps, subnet: SpiderSubnet, { unmet }: SubnetPlan): void {
  for (const { demand, message } of unmet) {
    for (const subject of [subjectOf(spiderSubnets, subnet), subjectOfDemand(demand)]) {
      events.record(subject, { type: "Warning", reason: "InsufficientIPs", message });
    }
  }
}

/** Whether one of the pools is there that the watch does not show: its part of the subnet is still its own. */
async function isAnyThere({ client }: Deps, pools: readonly string[], o: Signal): Promise<boolean> {
  for (const name of pools) {
    if ((await client.get(metadataOf(spiderIPPools), { name }, o)) !== undefined) return true;
  }
  return false;
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
function receivable(
  { events, settings }: Deps,
  subnet: SpiderSubnet | undefined,
  workloads: Workloads | undefined,
  demands: readonly Demand[],
): readonly Demand[] {
  return demands.filter((demand) => {
    const { nic, family: wanted, namespace } = demand.owner;
    const namespaceLabels = workloads?.labelsOf(namespace);
    // The watch of namespaces may lag behind that of workloads; when it shows this one, we come back.
    if (namespaceLabels === undefined && subnet?.spec.namespaceAffinity !== undefined) return false;
    const why = unusableFor(subnet, demand, { ...settings, namespaceLabels: namespaceLabels ?? {} });
    if (why === undefined) return true;
    const message = `no IPv${wanted} IPPool for NIC ${nic}: SpiderSubnet ${demand.subnet} ${why}`;
    events.record(subjectOfDemand(demand), { type: "Warning", reason: "SubnetUnusable", message });
    return false;
  });
}

function nameOf({ metadata }: SpiderSubnet): readonly string[] {
  return [metadata.name];
}

/** Most changes of a pool are those of its status. */
function versionOf({ metadata }: SpiderIPPool): unknown {
  const { uid, generation, labels: set, annotations, deletionTimestamp } = metadata;
  return [uid, generation, set, annotations, deletionTimestamp];
}
