import { isDeepStrictEqual } from "node:util";
import {
  annotations,
  defaultPool,
  defaultSubnet,
  deletionRefusal,
  isAutoPool,
  isDeletionGuarded,
  isLost,
  isPoolRefusedByCel,
  isSubnetRefusedByCel,
  type Neighbours,
  type PoolContext,
  removedAddresses,
  type SpiderIPPool,
  type SpiderSubnet,
  type Submitted,
  spiderSubnets,
  validatePool,
  validateSubnet,
  warnOfAddresses,
} from "#api";
import type { Signal } from "#base";
import { userOf } from "#ledger";
import type { Deps } from "../deps.ts";
import { subnetOf } from "../pools/defaults.ts";
import { countHolders, readClaims } from "../pools/read-claims.ts";
import type { Admission } from "./kind.ts";
import type { Recent } from "./recent.ts";

/** How many users of addresses one refusal names. */
const namedUsersMax = 10;

type PoolAdmissionDeps = Pick<Deps, "client" | "settings">;

interface PoolAdmissionStores {
  readonly pools: Recent<SpiderIPPool>;
  readonly subnets: Neighbours<SpiderSubnet>;
  /** `ledgerEpoch` of the Lease. */
  readonly epoch: () => string | undefined;
}

/** Admission of pools: compared with all other pools, their subnet, and the claims on addresses that an update removes. */
export function poolAdmission(
  deps: PoolAdmissionDeps,
  { pools, subnets, epoch }: PoolAdmissionStores,
): Admission<SpiderIPPool> {
  const { client, settings } = deps;
  return {
    mutate: (pool, old) =>
      closedWhileLost(defaultPool(pool, settings.enableSpiderSubnet ? subnets : undefined), old, epoch()),
    validate: async (pool, old, o) => {
      const inUse = old === undefined ? [] : await usersOfRemoved(deps, old, pool, o);
      const subnet = await controllerOf(deps, pool, subnets, o);
      const context = { old, others: pools, subnet, inUse, families: settings };
      return pools.admit(pool, validatePool(pool, context), o);
    },
    isRefusedByCel: isPoolRefusedByCel,
    warn: ({ spec }) => warnOfAddresses(spec),
    refuseDeletion: async (pool, o) => {
      if (!isDeletionGuarded(pool, settings)) return undefined;
      return deletionRefusal("IPPool", await countHolders(client, pool, o));
    },
  };
}

/** Admission of subnets: compared with all other subnets and all pools. */
export function subnetAdmission(
  deps: PoolAdmissionDeps,
  { pools, subnets }: { readonly pools: Recent<SpiderIPPool>; readonly subnets: Recent<SpiderSubnet> },
): Admission<SpiderSubnet> {
  return {
    mutate: defaultSubnet,
    validate: (subnet, old, o) => {
      const context = { old, others: subnets, pools, families: deps.settings };
      return subnets.admit(subnet, validateSubnet(subnet, context), o);
    },
    isRefusedByCel: isSubnetRefusedByCel,
    warn: ({ spec }) => warnOfAddresses(spec),
    refuseDeletion: (subnet) =>
      isDeletionGuarded(subnet, deps.settings)
        ? deletionRefusal("Subnet", subnet.status?.allocatedIPCount ?? 0)
        : undefined,
  };
}

/** After a loss of claims and pools, addresses that a pool gains may be in use by Pods that no agent has reported yet. */
function closedWhileLost(
  pool: Submitted<SpiderIPPool>,
  old: SpiderIPPool | undefined,
  epoch: string | undefined,
): Submitted<SpiderIPPool> {
  if (!isLost(epoch) || (old !== undefined && isDeepStrictEqual(old.spec, pool.spec))) return pool;
  const { metadata } = pool;
  return {
    ...pool,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [annotations.ledgerClosed]: epoch } },
  };
}

/** Some users of addresses that the update removes, read from the claims themselves. */
async function usersOfRemoved(
  { client }: PoolAdmissionDeps,
  old: SpiderIPPool,
  next: Submitted<SpiderIPPool>,
  o: Signal,
): Promise<NonNullable<PoolContext["inUse"]>> {
  const users: NonNullable<PoolContext["inUse"]>[number][] = [];
  for await (const claim of readClaims(client, removedAddresses(old, next), o)) {
    const user = userOf(claim);
    if (user !== undefined) users.push(user);
    if (users.length >= namedUsersMax) break;
  }
  return users;
}

/** Another replica writes an automatic pool's part just before the pool; our watch may not show it yet. */
async function controllerOf(
  { client }: PoolAdmissionDeps,
  pool: Submitted<SpiderIPPool>,
  subnets: Neighbours<SpiderSubnet>,
  { signal }: Signal,
): Promise<SpiderSubnet | undefined> {
  const subnet = subnetOf(pool, subnets);
  if (subnet === undefined || !isAutoPool(pool.metadata)) return subnet;
  return client.get(spiderSubnets, { name: subnet.metadata.name }, { signal });
}
