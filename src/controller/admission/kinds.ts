import {
  defaultCoordinator,
  defaultMultusConfig,
  defaultPool,
  defaultReservedIp,
  defaultSubnet,
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
import { readClaims } from "../pools/read-claims.ts";
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
  readonly warn?: (object: Submitted<T>) => readonly string[];
}

/** Users of addresses that are named in one refusal. */
const namedUsersMax = 10;

/** Every kind that is admitted here. */
export function admissionKinds(
  deps: Pick<Deps, "client" | "clock" | "settings">,
  { pools, subnets, networks }: AdmissionStores,
): readonly AdmissionKind[] {
  const { client, clock, settings: families } = deps;
  const allPools = new Recent(pools, clock);
  const allSubnets = new Recent(subnets, clock);

  const usersOf = async (pool: Submitted<SpiderIPPool>, old: SpiderIPPool | undefined, o: Signal) => {
    const users: { readonly ip: Ip; readonly pod: string }[] = [];
    if (old === undefined) return users;
    for await (const { ip, spec } of readClaims(client, removedAddresses(old, pool), o)) {
      users.push({ ip, pod: spec.podName === undefined ? spec.purpose : `${spec.podNamespace}/${spec.podName}` });
      if (users.length >= namedUsersMax) break;
    }
    return users;
  };
  return [
    kind({
      resource: spiderIPPools,
      mutate: (pool) => defaultPool(pool, families.enableSpiderSubnet ? subnets.list() : []),
      validate: async (pool, old, o) => {
        const inUse = await usersOf(pool, old, o);
        const context = { old, others: allPools.list(), subnet: subnetOf(pool, subnets), inUse, families };
        return allPools.admit(pool, validatePool(pool, context), o);
      },
    }),
    kind({
      resource: spiderSubnets,
      mutate: defaultSubnet,
      validate: (subnet, old, o) => {
        const context = { old, others: allSubnets.list(), pools: allPools.list(), families };
        return allSubnets.admit(subnet, validateSubnet(subnet, context), o);
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
function kind<T extends KubeObject>({ resource, mutate, validate, warn }: KindOptions<T>): AdmissionKind {
  const as = (object: SentObject) => object as unknown as Submitted<T>;
  const stored = (object: SentObject | undefined) => object as unknown as T | undefined;
  return {
    resource,
    mutate: (object, old) => mutate(as(object), stored(old)),
    validate: async (object, old, o) => validate(as(object), stored(old), o),
    warn: (object) => warn?.(as(object)) ?? [],
  };
}
