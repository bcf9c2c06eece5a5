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
import { type ControllerOptions, metadataOf, type Source, type Store, subjectOf } from "#kube";
import { partsOf } from "#ledger";
import type { Deps } from "../deps.ts";
import type { PoolUses } from "../pools/uses.ts";
import { act } from "./act.ts";
import { writeStatus } from "./status.ts";
import { changesOf, type Workloads } from "./workloads.ts";

/** When to look again at a status entry whose pool the watch does not show. */
const lookAgainMs = 500;

/** The stores that the controllers of subnets read. */
export interface SubnetStores {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly reservations: Store<SpiderReservedIP>;
  readonly reserved: (family: Family) => IpSet;
  readonly uses: PoolUses;
  /** Undefined: pools of applications are neither created nor deleted. */
  readonly workloads: Workloads | undefined;
}

/**
 * Cuts pools for applications from subnets, adjusts their size, and deletes them with their application. Writes into each
 * subnet's status which pool has which part of it; nothing else writes that status.
 */
export function subnetPartsController(deps: Deps, stores: SubnetStores): ControllerOptions {
  const { clock, log, settings } = deps;
  const { pools, subnets, reservations, uses, workloads } = stores;
  /** Subnets by pool, for pools whose next step depends on their claims. */
  const waiting = new Map<string, string>();
  const withCidr = (cidr: string) => subnets.list().filter(({ spec }) => spec.subnet === cidr);
  const subnetsOf = ({ spec }: SpiderIPPool) => withCidr(spec.subnet).map(({ metadata }) => metadata.name);
  const ofApplication = (uid: string) => pools.by("application", uid).flatMap(subnetsOf);
  const scoped = () => subnets.list().flatMap((one) => (one.spec.namespaceAffinity === undefined ? [] : nameOf(one)));
  const use = uses.source();
  const claims: Source = {
    ...use,
    subscribe: (add) =>
      use.subscribe((pool) => {
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
      // The watch of the new status triggers the next reconcile, which acts on it.
      if (await writeStatus(deps, subnet, plan, o)) return {};
      return act(deps, { plan, subnet, uses }, o);
    },
  };
}

/** A subnet and its pools, as the watches show them. */
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
    // `act` reads the owner from the API server before it deletes anything.
    ownerOf: (pool) => (workloads === undefined ? "unknown" : ownerStateOf(pool, (uid) => workloads.withUid(uid))),
    reserved: reserved(family),
  };
}

function tellUnmet({ events }: Deps, subnet: SpiderSubnet, { unmet }: SubnetPlan): void {
  for (const { demand, message } of unmet) {
    for (const subject of [subjectOf(spiderSubnets, subnet), subjectOfDemand(demand)]) {
      // How many are left changes with every other application: one Event for all.
      const { uid, nic, family } = demand.owner;
      const cause = `InsufficientIPs ${uid} ${nic} ${family}`;
      events.record(subject, { type: "Warning", reason: "InsufficientIPs", message, cause });
    }
  }
}

/** Whether a pool exists that the watch does not show. It still owns its part of the subnet. */
async function isAnyThere({ client }: Deps, pools: readonly string[], o: Signal): Promise<boolean> {
  for (const name of pools) {
    if ((await client.get(metadataOf(spiderIPPools), { name }, o)) !== undefined) return true;
  }
  return false;
}

/** Reports workloads with invalid annotations by Events. */
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

/** The demands that this subnet may serve. Applications with others get an Event. */
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

/** What of a pool matters here; most changes are those of its status. */
function versionOf({ metadata }: SpiderIPPool): unknown {
  const { uid, generation, labels: set, annotations, deletionTimestamp } = metadata;
  return [uid, generation, set, annotations, deletionTimestamp];
}
