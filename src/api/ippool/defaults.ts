import { cidrLabel, isCanonicalPrefix } from "#ip";
import type { ObjectMeta, OwnerReference } from "#kube";
import { apiGroup, apiVersion } from "../group.ts";
import { labels, labelValue } from "../labels.ts";
import { familyOf } from "../rules/addresses.ts";
import { isTerminating, normalLists, withFinalizer, withLabel } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderSubnet } from "../subnet/types.ts";
import type { SpiderIPPool } from "./types.ts";

/**
 * The pool with what is filled in at every create and update: finalizer, family, CIDR label, lists in normal form and, where
 * `subnets` are given and one has its CIDR, the link to that. What is wrong stays, for validation to say so.
 */
export function defaultPool(pool: SpiderIPPool, subnets?: readonly SpiderSubnet[]): SpiderIPPool;
export function defaultPool(pool: Submitted<SpiderIPPool>, subnets?: readonly SpiderSubnet[]): Submitted<SpiderIPPool>;
export function defaultPool(
  pool: Submitted<SpiderIPPool>,
  subnets: readonly SpiderSubnet[] = [],
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
 * The pool as child of the subnet of its CIDR: owner reference, label and, only now that it is linked, the subnet's gateway
 * and routes where the pool says nothing about them (`routes: []` says something). Linked before, or controlled by another: as it is.
 */
export function linkToSubnet<P extends Submitted<SpiderIPPool>>(pool: P, subnets: readonly SpiderSubnet[]): P {
  const subnet = subnets.find(({ spec }) => spec.subnet === pool.spec.subnet);
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
