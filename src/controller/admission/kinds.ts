import {
  defaultCoordinator,
  defaultMultusConfig,
  defaultPool,
  defaultReservedIp,
  defaultSubnet,
  isAutoPool,
  type NetworkAttachmentDefinition,
  networkNameOf,
  removedAddresses,
  type SpiderIPPool,
  type SpiderMultusConfig,
  type SpiderSubnet,
  type Submitted,
  spiderCoordinators,
  spiderIPPools,
  spiderMultusConfigs,
  spiderReservedIPs,
  spiderSubnets,
  type Violation,
  validateCoordinator,
  validateMultusConfig,
  validatePool,
  validateReservedIp,
  validateSubnet,
  warnOfMultusConfig,
} from "#api";
import type { Signal } from "#base";
import type { Ip } from "#ip";
import { type KubeObject, keyOf, type Resource, type Store } from "#kube";
import type { Deps } from "../deps.ts";
import { subnetOf } from "../pools/defaults.ts";
import { countHolders, readClaims } from "../pools/read-claims.ts";
import { Recent } from "./recent.ts";
import type { SentObject } from "./review.ts";

export interface AdmissionStores {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly networks: Store<NetworkAttachmentDefinition>;
}

/** One kind as admission sees it: objects come in as the API server has them, after its schema for validation. */
export interface AdmissionKind {
  readonly resource: Resource<KubeObject>;
  readonly mutate: (object: SentObject, old: SentObject | undefined) => unknown;
  readonly validate: (
    object: SentObject,
    old: SentObject | undefined,
    o: ValidateOptions,
  ) => Promise<readonly Violation[]>;
  /** Why the object may not be deleted yet; undefined: it may, and its finalizer holds it while it is in use. */
  readonly refuseDeletion: (object: SentObject, o: Signal) => Promise<string | undefined>;
  /** What a user should hear although it is allowed. */
  readonly warn: (object: SentObject) => readonly string[];
}

export interface ValidateOptions extends Signal {
  /** The object will not be stored. */
  readonly dryRun: boolean;
}

interface KindOptions<T extends KubeObject> {
  readonly resource: Resource<T>;
  readonly mutate: (object: Submitted<T>, old: T | undefined) => Submitted<T>;
  readonly validate: (
    object: Submitted<T>,
    old: T | undefined,
    o: ValidateOptions,
  ) => Promise<readonly Violation[]> | readonly Violation[];
  readonly refuseDeletion?: (object: T, o: Signal) => Promise<string | undefined> | string | undefined;
  readonly warn?: (object: Submitted<T>) => readonly string[];
}

/** Users of addresses that are named in one refusal. */
const namedUsersMax = 10;

/** Every kind that is admitted here. */
export function admissionKinds(
  deps: Pick<Deps, "client" | "clock" | "settings">,
  { pools, subnets, networks }: AdmissionStores,
): readonly AdmissionKind[] {
  const { client, clock, settings } = deps;
  const families = settings;
  const allPools = new Recent(pools, clock);
  const allSubnets = new Recent(subnets, clock);

  const usersOf = async (pool: Submitted<SpiderIPPool>, old: SpiderIPPool | undefined, o: Signal) => {
    const users: { readonly ip: Ip; readonly pod: string }[] = [];
    if (old === undefined) return users;
    for await (const { ip, spec } of readClaims(client, removedAddresses(old, pool), o)) {
      // Nobody has an address that is only kept from everybody: its pool may lose it.
      if (spec.purpose === "Hold" || spec.purpose === "Quarantine") continue;
      users.push({ ip, pod: spec.podName === undefined ? spec.purpose : `${spec.podNamespace}/${spec.podName}` });
      if (users.length >= namedUsersMax) break;
    }
    return users;
  };
  /** What is on its way out may be deleted again: so are the pools of a subnet. */
  const isGuarded = ({ metadata }: KubeObject) =>
    settings.enableValidatingResourcesDeletedWebhook && metadata.deletionTimestamp === undefined;
  /** The part of an automatic pool is written just before the pool: by another replica, the watch may not show it yet. */
  const controllerOf = async (pool: Submitted<SpiderIPPool>, { signal }: Signal) => {
    const subnet = subnetOf(pool, subnets);
    if (subnet === undefined || !isAutoPool(pool.metadata)) return subnet;
    return client.get(spiderSubnets, { name: subnet.metadata.name }, { signal });
  };
  return [
    kind({
      resource: spiderIPPools,
      mutate: (pool) => defaultPool(pool, families.enableSpiderSubnet ? subnets.list() : []),
      validate: async (pool, old, o) => {
        const inUse = await usersOf(pool, old, o);
        const subnet = await controllerOf(pool, o);
        const context = { old, others: allPools.list(), subnet, inUse, families };
        return allPools.admit(pool, validatePool(pool, context), o);
      },
      refuseDeletion: async (pool, o) => {
        if (!isGuarded(pool)) return undefined;
        const allocated = await countHolders(client, pool, o);
        return allocated === 0 ? undefined : `cannot delete an IPPool with allocated IPs(${allocated})`;
      },
    }),
    kind({
      resource: spiderSubnets,
      mutate: defaultSubnet,
      validate: (subnet, old, o) => {
        const context = { old, others: allSubnets.list(), pools: allPools.list(), families };
        return allSubnets.admit(subnet, validateSubnet(subnet, context), o);
      },
      refuseDeletion: (subnet) => {
        const { allocatedIPCount = 0 } = subnet.status ?? {};
        if (!isGuarded(subnet) || allocatedIPCount === 0) return undefined;
        return `cannot delete an Subnet with allocated IPs(${allocatedIPCount})`;
      },
    }),
    kind({
      resource: spiderReservedIPs,
      mutate: defaultReservedIp,
      validate: (reserved, old) => validateReservedIp(reserved, { old, families }),
    }),
    kind({
      resource: spiderMultusConfigs,
      mutate: defaultMultusConfig,
      validate: (config, old) => validateMultusConfig(config, { old, network: networkOf(config, networks) }),
      warn: warnOfMultusConfig,
    }),
    kind({
      resource: spiderCoordinators,
      mutate: defaultCoordinator,
      validate: (coordinator) => validateCoordinator(coordinator),
    }),
  ];
}

function networkOf(config: Submitted<SpiderMultusConfig>, networks: Store<NetworkAttachmentDefinition>) {
  const name = networkNameOf(config);
  return name === undefined ? undefined : networks.get(keyOf({ namespace: config.metadata.namespace, name }));
}

/** The one place where an object that was sent is taken for one of its kind: its path says so, and its schema was checked. */
function kind<T extends KubeObject>({
  resource,
  mutate,
  validate,
  refuseDeletion,
  warn,
}: KindOptions<T>): AdmissionKind {
  const as = (object: SentObject) => object as unknown as Submitted<T>;
  const stored = (object: SentObject | undefined) => object as unknown as T | undefined;
  return {
    resource,
    mutate: (object, old) => mutate(as(object), stored(old)),
    validate: async (object, old, o) => validate(as(object), stored(old), o),
    refuseDeletion: async (object, o) => refuseDeletion?.(as(object) as unknown as T, o),
    warn: (object) => warn?.(as(object)) ?? [],
  };
}
