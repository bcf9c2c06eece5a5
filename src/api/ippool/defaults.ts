import { cidrLabel, isCanonicalPrefix, tryParsePrefix } from "#ip";
import type { ObjectMeta, OwnerReference } from "#kube";
import { apiGroup, apiVersion } from "../group.ts";
import { labels, labelValue } from "../labels.ts";
import { AddressIndex, type Neighbours } from "../rules/address-index.ts";
import { familyOf } from "../rules/addresses.ts";
import { isTerminating, normalLists, withFinalizer, withLabel } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderSubnet } from "../subnet/types.ts";
import type { SpiderIPPool } from "./types.ts";

const none = new AddressIndex<SpiderSubnet>();

/**
 * Fills in, at every create and update: finalizer, family, CIDR label, lists in normal form and, if one of `subnets` has the
 * pool's CIDR, the link to it. Leaves invalid values for validation to report.
 */
export function defaultPool(pool: SpiderIPPool, subnets?: Neighbours<SpiderSubnet>): SpiderIPPool;
export function defaultPool(pool: Submitted<SpiderIPPool>, subnets?: Neighbours<SpiderSubnet>): Submitted<SpiderIPPool>;
export function defaultPool(
  pool: Submitted<SpiderIPPool>,
  subnets: Neighbours<SpiderSubnet> = none,
): Submitted<SpiderIPPool> {
  if (isTerminating(pool)) return pool;
  const family = pool.spec.ipVersion ?? familyOf(pool.spec.subnet);
  const metadata = withFinalizer(pool.metadata);
  const labelled = isCanonicalPrefix(pool.spec.subnet)
    ? withLabel(metadata, labels.poolCidr, cidrLabel(pool.spec.subnet))
    : metadata;
  const { spec, metadata: linkedMetadata } = linkToSubnet({ ...pool, metadata: labelled }, subnets);
  return {
    ...pool,
    metadata: linkedMetadata,
    spec: { ...spec, ...(family !== undefined && { ipVersion: family, ...normalLists(spec, family) }) },
  };
}

/**
 * Makes the pool a child of the subnet of its CIDR: owner reference, label and, only at this first link, the subnet's gateway
 * and routes if the pool has none (`routes: []` counts as having some). Leaves pools unchanged that have a controller already.
 */
export function linkToSubnet<P extends Submitted<SpiderIPPool>>(pool: P, subnets: Neighbours<SpiderSubnet>): P {
  const network = tryParsePrefix(pool.spec.subnet);
  const subnet = network && subnets.within(network).find(({ spec }) => spec.subnet === pool.spec.subnet);
  const { ownerReferences = [] } = pool.metadata;
  if (subnet === undefined || isTerminating(subnet) || ownerReferences.some(({ controller }) => controller))
    return pool;
  const { gateway = subnet.spec.gateway, routes = subnet.spec.routes } = pool.spec;
  const metadata = withLabel(pool.metadata, labels.ownerSubnet, labelValue(subnet.metadata.name));
  return {
    ...pool,
    metadata: { ...metadata, ownerReferences: [...ownerReferences, ownedBy(subnet.metadata)] },
    spec: { ...pool.spec, ...(gateway !== undefined && { gateway }), ...(routes !== undefined && { routes }) },
  };
}

/** The name of the SpiderSubnet of which the pool is a part; undefined if it is of none. */
export function subnetNameOf({ metadata }: Submitted<SpiderIPPool>): string | undefined {
  return metadata.ownerReferences?.find(({ controller, kind }) => controller === true && kind === "SpiderSubnet")?.name;
}

function ownedBy({ name, uid }: ObjectMeta): OwnerReference {
  return {
    apiVersion: `${apiGroup}/${apiVersion}`,
    kind: "SpiderSubnet",
    name,
    uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}
