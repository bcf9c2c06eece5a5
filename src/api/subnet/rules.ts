import { isDeepStrictEqual } from "node:util";
import { IpSet } from "#ip";
import { bothFamilies, type Families } from "../families.ts";
import { finalizer } from "../group.ts";
import type { SpiderIPPool } from "../ippool/types.ts";
import { AddressIndex, filtered, type Neighbours } from "../rules/address-index.ts";
import { type AddressCase, addressCase, addressRules, effectiveSet } from "../rules/addresses.ts";
import { showSet, trySetOf } from "../rules/elements.ts";
import { checkRules, firstOf, type Rule, withCel } from "../rules/rule.ts";
import { forbidden, invalid, type Violation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import { parseControlledIPPools } from "./controlled.ts";
import type { SpiderSubnet } from "./types.ts";

/** What a subnet is checked against. Rules that need an absent part do not run. */
export interface SubnetContext {
  /** The stored subnet, for an update. */
  readonly old?: SpiderSubnet | undefined;
  /** All subnets; the subnet itself may be among them. @default none */
  readonly others?: Neighbours<SpiderSubnet>;
  /** All pools. @default none */
  readonly pools?: Neighbours<SpiderIPPool>;
  readonly families?: Families;
}

interface SubnetCase extends AddressCase {
  readonly name: string | undefined;
  readonly others: Neighbours<SpiderSubnet>;
  readonly pools: Neighbours<SpiderIPPool>;
  readonly stored: SpiderSubnet | undefined;
}

const noSubnets = new AddressIndex<SpiderSubnet>();
const noPools = new AddressIndex<SpiderIPPool>();

/** Every rule about a subnet. */
export const subnetRules: readonly Rule<SubnetCase>[] = [
  ...addressRules,
  {
    id: "subnets-apart",
    field: "spec.subnet",
    message: "no two subnets overlap",
    check: ({ spec, old, subnet, others }) => {
      if (old !== undefined || subnet === undefined) return [];
      const overlapping = [...others.within(subnet), ...others.around(subnet)];
      return firstOf(overlapping, ({ metadata, spec: { subnet: cidr } }) =>
        invalid("spec.subnet", spec.subnet, `overlap with Subnet ${metadata.name} which 'spec.subnet' is ${cidr}`),
      );
    },
  },
  {
    id: "subnet-pools-apart",
    field: "spec.subnet",
    message: "a subnet overlaps pools of the same CIDR only",
    check: ({ spec, old, subnet, pools }) => {
      if (old !== undefined || subnet === undefined) return [];
      return firstOf(pools.around(subnet), ({ metadata, spec: { subnet: cidr } }) =>
        invalid(
          "spec.subnet",
          spec.subnet,
          `overlap with SpiderIPPool '${metadata.name}' resource 'spec.subnet' ${cidr}`,
        ),
      );
    },
  },
  {
    id: "subnet-holds-pools",
    field: "spec.ips",
    message: "a new subnet has all addresses of the pools of its CIDR",
    check: ({ spec, old, name, family, subnet, set, pools }) => {
      if (old !== undefined || family === undefined || subnet === undefined || set === undefined) return [];
      return firstOf(pools.within(subnet), ({ metadata, spec: pool }) => {
        const outside = effectiveSet(pool, family)?.subtract(set);
        if (outside === undefined || outside.isEmpty) return undefined;
        return invalid(
          "spec.ips",
          spec.ips ?? [],
          `SpiderIPPool '${metadata.name}' owns some IP addresses that SpiderSubnet '${name}' can't control: ${showSet(outside)}. What to do: add these to spec.ips of the subnet, or delete the pool`,
        );
      });
    },
  },
  {
    id: "subnet-in-use",
    field: "spec.ips",
    message: "an update takes no address away that a pool has",
    check: ({ family, subnet, set, stored, pools }) => {
      const before = family && stored && effectiveSet(stored.spec, family);
      if (family === undefined || subnet === undefined || set === undefined || before === undefined) return [];
      const none = IpSet.empty(family);
      const controlled = parseControlledIPPools(stored?.status?.controlledIPPools) ?? {};
      const parts = new Map(Object.entries(controlled).map(([pool, { ips }]) => [pool, trySetOf(ips, family) ?? none]));
      // A pool exists before the status lists it.
      for (const { metadata, spec } of pools.within(subnet)) {
        const part = (effectiveSet(spec, family) ?? none).intersect(before);
        parts.set(metadata.name, part.union(parts.get(metadata.name) ?? none));
      }
      return firstOf(parts, ([pool, part]) => {
        const lost = part.subtract(set);
        if (lost.isEmpty) return undefined;
        return forbidden(
          "spec.ips",
          `remove some IP ranges ${showSet(lost)} that is being used by IPPool ${pool}, total IP addresses of a Subnet are jointly determined by 'spec.ips' and 'spec.excludeIPs'`,
        );
      });
    },
  },
];

/** Returns why the subnet may not be created or replace `old`. Never refuses an update that leaves the spec alone. */
export function validateSubnet(subnet: Submitted<SpiderSubnet>, context: SubnetContext = {}): readonly Violation[] {
  const { old, others = noSubnets, pools = noPools, families = bothFamilies } = context;
  if (old !== undefined) {
    if (isDeepStrictEqual(subnet.spec, old.spec)) return [];
    if (old.metadata.deletionTimestamp !== undefined && subnet.metadata.finalizers?.includes(finalizer)) {
      return [forbidden("spec", "cannot update a terminating Subnet")];
    }
  }
  const { name } = subnet.metadata;
  return checkRules(subnetRules, {
    ...addressCase("Subnet", subnet.spec, old?.spec, families),
    name,
    others: filtered(others, ({ metadata }) => metadata.name !== name),
    pools,
    stored: old,
  });
}

/** Whether a CEL rule of the schema refuses the subnet, in place of `old` if that is given. */
export function isSubnetRefusedByCel(subnet: Submitted<SpiderSubnet>, old: SpiderSubnet | undefined): boolean {
  const own = addressCase("Subnet", subnet.spec, old?.spec, bothFamilies);
  const { name } = subnet.metadata;
  return checkRules(withCel(subnetRules), { ...own, name, others: noSubnets, pools: noPools, stored: old }).length > 0;
}
