import { familyOf, formatControlledIPPools, labels, type SpiderIPPool, type SpiderSubnet } from "#api";
import {
  type Demand,
  type Demands,
  demandsOfWorkload,
  ownerStateOf,
  type PoolAction,
  planSubnet,
  type SubnetPlan,
  unusableFor,
} from "#ipam";
import { parseOwner, partsOf, statefulSetFact } from "#ledger";
import { kindOf, type StoredWorkload } from "./state.ts";
import { membersOf, type World } from "./world.ts";

/** The most steps for one subnet. A few for each pool are enough; more would be a bug. */
const turnsMax = 10_000;

/**
 * Does everything that the controller does by itself, until nothing is left to do: releases kept addresses that applications no
 * longer want, creates, grows, shrinks and deletes their pools, and lets deleted pools and subnets go when nobody uses them.
 * Returns what subnets could not give.
 */
export function settle(world: World): readonly string[] {
  for (let turn = 0; turn < turnsMax; turn++) {
    const unmet: string[] = [];
    const acted = [endUnwanted(world), drainPools(world)].some(Boolean);
    const demands = demandsIn(world);
    const changed = [...world.subnets.values()].some((subnet) => stepSubnet(world, subnet, demands, unmet));
    if (!acted && !changed) return [...unmet, ...unusable(world, demands)];
  }
  throw new Error("the subnets of the cluster do not come to rest");
}

/** Releases sticky addresses that nobody has and that their application no longer wants. */
function endUnwanted(world: World): boolean {
  let acted = false;
  for (const claim of [...world.claims.values()]) {
    const { purpose, podNamespace: namespace = "", podName = "", owner = "" } = claim.spec;
    if (purpose !== "Sticky" || world.pods.has(`${namespace}/${podName}`)) continue;
    const ref = parseOwner(owner);
    if (ref?.type !== "apps/v1/StatefulSet") continue;
    const set = world.workloads.get(`StatefulSet/${ref.namespace}/${ref.name}`);
    const fact = statefulSetFact(ref, set?.spec, podName);
    if (fact.kind !== "invalid") continue;
    world.release(claim, fact.why);
    acted = true;
  }
  return acted;
}

/** Removes deleted pools that nobody has an address of. */
function drainPools(world: World): boolean {
  const gone = [...world.pools.values()].filter(
    (pool) => pool.metadata.deletionTimestamp !== undefined && world.claimsOf(pool).length === 0,
  );
  for (const { metadata } of gone) world.pools.delete(metadata.name);
  if (gone.length > 0) world.changed();
  return gone.length > 0;
}

interface Wanting {
  readonly workload: StoredWorkload;
  readonly demands: Demands | undefined;
}

/** What every workload asks of subnets, by UID. */
function demandsIn(world: World): ReadonlyMap<string, Wanting> {
  const { settings } = world.installation;
  if (!settings.enableSpiderSubnet || !settings.enableAutoPoolForApplication) return new Map();
  return new Map(
    [...world.workloads.values()].map((workload) => {
      const kind = kindOf(workload);
      const demands = kind && demandsOfWorkload(kind, workload, settings.redundantIpNumber);
      return [workload.metadata.uid, { workload, demands }];
    }),
  );
}

function listOf(demands: ReadonlyMap<string, Wanting>): readonly Demand[] {
  return [...demands.values()].flatMap(({ demands: found }) => (found?.kind === "wanted" ? found.list : []));
}

function unusable(world: World, demands: ReadonlyMap<string, Wanting>): readonly string[] {
  const broken = [...demands.values()].flatMap(({ demands: found }) => (found?.kind === "broken" ? [found] : []));
  const { installation, subnets } = world;
  return [
    ...broken.map(({ subject, message }) => `${subject.kind} ${subject.namespace}/${subject.name}: ${message}`),
    ...listOf(demands)
      .filter(({ owner }) => installation.families.includes(owner.family))
      .flatMap((demand) => {
        const why = unusableFor(subnets.get(demand.subnet), demand, scopeOf(world, demand));
        const { kind, namespace, name, nic, family } = demand.owner;
        if (why === undefined) return [];
        return [
          `no IPv${family} IPPool for NIC ${nic} of ${kind} ${namespace}/${name}: SpiderSubnet ${demand.subnet} ${why}`,
        ];
      }),
  ];
}

/** The parts of the cluster that {@link unusableFor} needs. */
function scopeOf({ installation: { settings }, namespaces }: World, { owner }: Demand) {
  return { ...settings, namespaceLabels: namespaces.get(owner.namespace)?.metadata.labels ?? {} };
}

/** Does one step of the controller for one subnet; false if there is nothing to do. Adds what it cannot give to `unmet`. */
function stepSubnet(
  world: World,
  subnet: SpiderSubnet,
  demands: ReadonlyMap<string, Wanting>,
  unmet: string[],
): boolean {
  const { settings, families } = world.installation;
  const family = familyOf(subnet.spec.subnet);
  if (!settings.enableSpiderSubnet || family === undefined) return false;
  const asked = listOf(demands).filter(
    (demand) =>
      demand.subnet === subnet.metadata.name &&
      families.includes(family) &&
      unusableFor(subnet, demand, scopeOf(world, demand)) === undefined,
  );
  const isWatched = settings.enableAutoPoolForApplication;
  const plan = planSubnet({
    subnet,
    demands: asked,
    pools: [...world.pools.values()].filter(({ spec }) => spec.subnet === subnet.spec.subnet),
    isTaken: (pool) => world.pools.has(pool),
    useOf: (pool) => partsOf(world.claimsOf(pool), pool.metadata.uid, family),
    ownerOf: (pool) => (isWatched ? ownerStateOf(pool, (uid) => demandsOfUid(demands, uid)) : "unknown"),
    reserved: world.reserved(family),
  });
  if (plan === undefined) return false;
  unmet.push(...plan.unmet.map(({ message }) => message));
  if (storeStatus(world, subnet, plan)) return true;
  let acted = removeSubnet(world, subnet, plan);
  for (const action of plan.actions) acted = act(world, action, subnet) || acted;
  return acted;
}

function demandsOfUid(demands: ReadonlyMap<string, Wanting>, uid: string) {
  const found = demands.get(uid);
  return found && { demands: found.demands };
}

function storeStatus(world: World, subnet: SpiderSubnet, plan: SubnetPlan): boolean {
  const text = formatControlledIPPools(plan.controlled);
  if (text === subnet.status?.controlledIPPools) return false;
  const { controlledIPPools: _before, ...status } = subnet.status ?? {};
  const next = { ...status, ...(text !== undefined && { controlledIPPools: text }) };
  world.subnets.set(subnet.metadata.name, { ...subnet, status: next });
  return true;
}

/** Removes a deleted subnet, after its pools. */
function removeSubnet(world: World, subnet: SpiderSubnet, plan: SubnetPlan): boolean {
  const { name, uid, deletionTimestamp } = subnet.metadata;
  if (deletionTimestamp === undefined) return false;
  if (Object.keys(plan.controlled).length === 0) return world.subnets.delete(name);
  const owned = [...world.pools.values()].filter(
    ({ metadata }) =>
      metadata.deletionTimestamp === undefined && metadata.ownerReferences?.some((owner) => owner.uid === uid),
  );
  for (const pool of owned) putPool(world, { ...pool, metadata: { ...pool.metadata, deletionTimestamp } });
  return owned.length > 0;
}

function act(world: World, action: PoolAction, subnet: SpiderSubnet): boolean {
  switch (action.kind) {
    case "create": {
      const { draft } = action;
      const metadata = { uid: world.newUid(), resourceVersion: "", generation: 1, name: "", ...draft.metadata };
      putPool(world, { ...draft, metadata } as SpiderIPPool);
      return true;
    }
    case "update": {
      const { pool, draft } = action;
      const generation = (pool.metadata.generation ?? 0) + 1;
      putPool(world, {
        ...pool,
        metadata: { ...pool.metadata, ...draft.metadata, generation } as never,
        spec: draft.spec,
      });
      return true;
    }
    case "hold":
      for (const ip of membersOf(action.ips)) world.hold(ip, action.pool);
      return true;
    case "unhold":
      world.unhold(action.pool, action.ips);
      return true;
    case "delete": {
      const isGuarded = world.installation.settings.enableValidatingResourcesDeletedWebhook;
      // The controller would be refused while Pods have addresses of it. It tries again later.
      if (isGuarded && world.claimsOf(action.pool).length > 0) return false;
      const deletionTimestamp = subnet.metadata.creationTimestamp ?? "1970-01-01T00:00:00Z";
      putPool(world, { ...action.pool, metadata: { ...action.pool.metadata, deletionTimestamp } });
      return true;
    }
  }
}

function putPool(world: World, pool: SpiderIPPool): void {
  world.pools.set(pool.metadata.name, pool);
  world.changed();
}

/** The application that the pool was made for (`Deployment/default/web`), if any. */
export function applicationOf({ metadata }: SpiderIPPool): string | undefined {
  const { labels: found = {} } = metadata;
  const name = found[labels.ownerApplicationName];
  if (name === undefined) return undefined;
  return `${found[labels.ownerApplicationKind]}/${found[labels.ownerApplicationNamespace]}/${name}`;
}
