import {
  AddressIndex,
  defaultMultusConfig,
  defaultPool,
  defaultReservedIp,
  defaultSubnet,
  deletionRefusal,
  isDeletionGuarded,
  networkNameOf,
  removedAddresses,
  type SpiderIPPool,
  type SpiderMultusConfig,
  type SpiderReservedIP,
  type SpiderSubnet,
  type Submitted,
  subnetNameOf,
  type Violation,
  validateMultusConfig,
  validatePool,
  validateReservedIp,
  validateSubnet,
} from "#api";
import { compareIp, type IpSet } from "#ip";
import { keyOf } from "#kube";
import { type Claim, isHeld, userOf } from "#ledger";
import type { World } from "./world.ts";

/** An object as admission would store it, and what admission has against it. */
export interface Judged<T> {
  readonly object: T;
  readonly violations: readonly Violation[];
}

/** The webhooks of the installation: the same rules, asked about the objects of a simulated cluster. Changes nothing. */
export class Judge {
  /** The world's pools by their addresses. Who changes a pool puts it here, too. */
  readonly pools: AddressIndex<SpiderIPPool>;
  /** As `pools`. */
  readonly subnets: AddressIndex<SpiderSubnet>;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
    this.pools = AddressIndex.of(world.pools.values());
    this.subnets = AddressIndex.of(world.subnets.values());
  }

  pool(sent: SpiderIPPool, old: SpiderIPPool | undefined): Judged<SpiderIPPool> {
    const object = defaultPool(sent, this.#settings.enableSpiderSubnet ? this.subnets : undefined);
    const owner = subnetNameOf(object);
    const subnet = owner === undefined ? undefined : this.#world.subnets.get(owner);
    const inUse = this.#usersOf(old && removedAddresses(old, object));
    const context = { old, others: this.pools, subnet, inUse, families: this.#settings };
    return { object, violations: validatePool(object, context) };
  }

  subnet(sent: SpiderSubnet, old: SpiderSubnet | undefined): Judged<SpiderSubnet> {
    const object = defaultSubnet(sent as Submitted<SpiderSubnet>) as SpiderSubnet;
    const context = { old, others: this.subnets, pools: this.pools, families: this.#settings };
    return { object, violations: validateSubnet(object, context) };
  }

  reservation(sent: SpiderReservedIP, old: SpiderReservedIP | undefined): Judged<SpiderReservedIP> {
    const object = defaultReservedIp(sent) as SpiderReservedIP;
    return { object, violations: validateReservedIp(object, { old, families: this.#settings }) };
  }

  multusConfig(sent: SpiderMultusConfig, old: SpiderMultusConfig | undefined): Judged<SpiderMultusConfig> {
    const object = defaultMultusConfig(sent, old);
    const { namespace = "", name } = object.metadata;
    const network = this.#world.nads.get(keyOf({ namespace, name: networkNameOf(object) ?? name }));
    return { object, violations: validateMultusConfig(object, { old, network }) };
  }

  /** Why the pool must not be deleted; undefined if it may be. */
  keepsPool(pool: SpiderIPPool): string | undefined {
    if (!isDeletionGuarded(pool, this.#settings)) return undefined;
    const isOwn = (claim: Claim) => isHeld(claim) && claim.spec.poolUID === pool.metadata.uid;
    return deletionRefusal("IPPool", this.#world.claimsOf(pool).filter(isOwn).length);
  }

  /** Why the subnet must not be deleted; undefined if it may be. */
  keepsSubnet(subnet: SpiderSubnet): string | undefined {
    if (!isDeletionGuarded(subnet, this.#settings)) return undefined;
    return deletionRefusal("Subnet", subnet.status?.allocatedIPCount ?? 0);
  }

  get #settings() {
    return this.#world.installation.settings;
  }

  /** Who uses addresses of the set, in their order. */
  #usersOf(addresses: IpSet | undefined) {
    if (addresses === undefined || addresses.isEmpty) return [];
    const users = [...this.#world.claims.values()].flatMap((claim) => userOf(claim) ?? []);
    return users.filter(({ ip }) => addresses.contains(ip)).toSorted((a, b) => compareIp(a.ip, b.ip));
  }
}
