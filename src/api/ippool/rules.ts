import { isDeepStrictEqual } from "node:util";
import { formatIp, type Ip, IpSet, tryParsePrefix } from "#ip";
import type { ObjectMeta } from "#kube";
import { bothFamilies, type Families } from "../families.ts";
import { finalizer } from "../group.ts";
import { applicationKeys, labels } from "../labels.ts";
import { AddressIndex, filtered, type Neighbours } from "../rules/address-index.ts";
import {
  type AddressCase,
  addressCase,
  addressRules,
  effectiveSet,
  familyOf,
  sameNetwork,
} from "../rules/addresses.ts";
import { showSet, trySetOf } from "../rules/elements.ts";
import { checkRules, firstOf, type Rule, withCel } from "../rules/rule.ts";
import { checkSelector } from "../rules/selector.ts";
import { forbidden, invalid, type Violation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import { parseControlledIPPools } from "../subnet/controlled.ts";
import type { SpiderSubnet } from "../subnet/types.ts";
import type { SpiderIPPool } from "./types.ts";

/** What a pool is checked against. Rules that need an absent part do not run. */
export interface PoolContext {
  /** The stored pool, for an update. */
  readonly old?: SpiderIPPool | undefined;
  /** All pools; the pool itself may be among them. @default none */
  readonly others?: Neighbours<SpiderIPPool>;
  /** The subnet that controls the pool. */
  readonly subnet?: SpiderSubnet | undefined;
  /** At least the users of addresses that the update removes (see {@link removedAddresses}); further ones do no harm. */
  readonly inUse?: readonly { readonly ip: Ip; readonly pod: string }[];
  readonly families?: Families;
}

interface PoolCase extends AddressCase {
  readonly pool: Submitted<SpiderIPPool>;
  readonly others: Neighbours<SpiderIPPool>;
  readonly controller: SpiderSubnet | undefined;
  readonly inUse: readonly { readonly ip: Ip; readonly pod: string }[];
}

const jointly = "total IP addresses of an IPPool are jointly determined by 'spec.ips' and 'spec.excludeIPs'";

const none = new AddressIndex<SpiderIPPool>();

/** A day, in seconds. */
export const coolDownMax = 86_400;

/** Every rule about a pool. */
export const poolRules: readonly Rule<PoolCase>[] = [
  ...addressRules,
  {
    id: "pool-subnets-apart",
    field: "spec.subnet",
    message: "subnets of two pools are equal or do not overlap",
    check: ({ spec, old, subnet, others }) => {
      if (old !== undefined || subnet === undefined) return [];
      return firstOf(others.around(subnet), ({ metadata, spec: { subnet: cidr } }) =>
        invalid("spec.subnet", spec.subnet, `overlap with IPPool ${metadata.name} which 'spec.subnet' is ${cidr}`),
      );
    },
  },
  {
    id: "pool-ranges-apart",
    field: "spec.ips",
    message: "no two pools have an address in common",
    check: ({ subnet, set, others }) => {
      if (subnet === undefined || set === undefined) return [];
      return firstOf(others.sharing(set), ({ metadata, spec }) => {
        const theirs = tryParsePrefix(spec.subnet, subnet.ip.family);
        const common = effectiveSet(spec, subnet.ip.family)?.intersect(set);
        if (theirs === undefined || common === undefined || !sameNetwork(subnet, theirs)) return undefined;
        return forbidden(
          "spec.ips",
          `overlap with IPPool ${metadata.name} in IP ranges ${showSet(common)}, ${jointly}`,
        );
      });
    },
  },
  {
    id: "pool-affinity",
    field: "spec.podAffinity",
    message: "podAffinity is a valid, non-empty selector; that of an application's pool names the application",
    check: ({ pool: { metadata, spec } }) => {
      const { podAffinity } = spec;
      if (podAffinity === undefined) return [];
      const { matchLabels = {}, matchExpressions = [] } = podAffinity;
      const wrong = checkSelector("spec.podAffinity", podAffinity);
      if (Object.keys(matchLabels).length + matchExpressions.length === 0) {
        return [invalid("spec.podAffinity", podAffinity, "empty podAffinity is invalid for SpiderIPPool")];
      }
      if (!isAutoPool(metadata)) return wrong;
      const foreign = Object.keys(matchLabels).filter((key) => !applicationKeys.includes(key));
      return [
        ...wrong,
        ...foreign.map((key) =>
          invalid(
            "spec.podAffinity.matchLabels",
            key,
            `an auto-created IPPool allows only ${applicationKeys.join(", ")}`,
          ),
        ),
        ...(matchExpressions.length > 0
          ? [
              invalid(
                "spec.podAffinity.matchExpressions",
                matchExpressions,
                "an auto-created IPPool allows no matchExpressions",
              ),
            ]
          : []),
      ];
    },
    cel: {
      rule: "!has(self.podAffinity) || (has(self.podAffinity.matchLabels) && size(self.podAffinity.matchLabels) > 0) || (has(self.podAffinity.matchExpressions) && size(self.podAffinity.matchExpressions) > 0)",
      message: "empty podAffinity is invalid for SpiderIPPool",
      fieldPath: ".podAffinity",
    },
  },
  {
    id: "node-affinity",
    field: "spec.nodeAffinity",
    message: "nodeAffinity is a valid selector",
    check: ({ pool: { spec } }) =>
      spec.nodeAffinity === undefined ? [] : checkSelector("spec.nodeAffinity", spec.nodeAffinity),
  },
  {
    id: "cool-down",
    field: "spec.coolDown",
    message: "coolDown is at most a day, in seconds",
    check: ({ pool: { spec } }) => {
      const { coolDown = 0 } = spec;
      if (Number.isInteger(coolDown) && coolDown >= 0 && coolDown <= coolDownMax) return [];
      return [invalid("spec.coolDown", coolDown, `must be a whole number of seconds, 0 to ${coolDownMax}`)];
    },
  },
  {
    id: "pool-in-use",
    field: "spec.ips",
    message: "an update takes no address away that is in use",
    check: ({ set, old, family, inUse }) => {
      const before = old && family && effectiveSet(old, family);
      if (before === undefined || set === undefined) return [];
      return inUse
        .filter(({ ip }) => before.contains(ip) && !set.contains(ip))
        .slice(0, 10)
        .map(({ ip, pod }) =>
          forbidden("spec.ips", `remove an IP address ${formatIp(ip)} that is being used by Pod ${pod}, ${jointly}`),
        );
    },
  },
  {
    id: "pool-apart-from-planned",
    field: "spec.ips",
    message: "a pool has no address that its SpiderSubnet gave to an application's pool which is not made yet",
    check: ({ pool: { metadata }, family, set, controller, others }) => {
      if (family === undefined || set === undefined || controller === undefined) return [];
      const isThere = (name: string) => name === metadata.name || others.get(name) !== undefined;
      const given = Object.entries(parseControlledIPPools(controller.status?.controlledIPPools) ?? {});
      return given.flatMap(([name, { ips, application }]) => {
        const common = application === undefined || isThere(name) ? undefined : trySetOf(ips, family)?.intersect(set);
        if (common === undefined || common.isEmpty) return [];
        const ranges = `in IP ranges ${showSet(common)} that Subnet ${controller.metadata.name} gave to it`;
        return [forbidden("spec.ips", `overlap with IPPool ${name} ${ranges}, ${jointly}`)];
      });
    },
  },
  {
    id: "pool-inside-controller",
    field: "spec.ips",
    message: "a pool of a SpiderSubnet has addresses of that only; an application's pool has exactly those given to it",
    check: ({ pool: { metadata }, family, set, controller }) => {
      if (family === undefined || set === undefined || set.isEmpty || controller === undefined) return [];
      const allowed = effectiveSet(controller.spec, family) ?? IpSet.empty(family);
      const more = set.subtract(allowed);
      const name = controller.metadata.name;
      if (!more.isEmpty) {
        return [
          forbidden(
            "spec.ips",
            `add some IP ranges ${showSet(more)} that are not contained in controller Subnet ${name}, ${jointly}. What to do: add these to spec.ips of SpiderSubnet ${name} first, which has every pool of its network`,
          ),
        ];
      }
      const given = isAutoPool(metadata) ? givenTo(controller, metadata.name, family) : undefined;
      if (given === undefined || (given.subtract(set).isEmpty && set.subtract(given).isEmpty)) return [];
      return [
        forbidden(
          "spec.ips",
          "it's illegal to update AutoPool.Spec.IPs that are different from corresponding SpiderSubnet.Status.ControlledIPPools",
        ),
      ];
    },
  },
];

/**
 * Returns why the pool may not be created, or may not replace `old`. Never refuses an update that leaves the spec alone: even if
 * the stored object is invalid, its finalizers and labels must stay changeable.
 */
export function validatePool(pool: Submitted<SpiderIPPool>, context: PoolContext = {}): readonly Violation[] {
  const { old, others = none, subnet, inUse = [], families = bothFamilies } = context;
  if (old !== undefined) {
    if (isDeepStrictEqual(pool.spec, old.spec)) return [];
    if (old.metadata.deletionTimestamp !== undefined && pool.metadata.finalizers?.includes(finalizer)) {
      return [forbidden("spec", "cannot update a terminating IPPool")];
    }
  }
  return checkRules(poolRules, {
    ...addressCase("IPPool", pool.spec, old?.spec, families),
    pool,
    others: filtered(others, ({ metadata }) => metadata.name !== pool.metadata.name),
    controller: subnet,
    inUse,
  });
}

/** Whether a CEL rule of the schema refuses the pool, in place of `old` if that is given. */
export function isPoolRefusedByCel(pool: Submitted<SpiderIPPool>, old: SpiderIPPool | undefined): boolean {
  const own = addressCase("IPPool", pool.spec, old?.spec, bothFamilies);
  return checkRules(withCel(poolRules), { ...own, pool, others: none, controller: undefined, inUse: [] }).length > 0;
}

/** The addresses that `next` no longer has; empty if either has an invalid element or the families differ. */
export function removedAddresses(old: SpiderIPPool, next: Submitted<SpiderIPPool>): IpSet {
  const family = familyOf(old.spec.subnet) ?? 4;
  const kept = effectiveSet(next.spec, family);
  return (kept && effectiveSet(old.spec, family)?.subtract(kept)) ?? IpSet.empty(family);
}

/** True for pools made for an application. */
export function isAutoPool(metadata: Partial<ObjectMeta>): boolean {
  return metadata.labels?.[labels.ownerApplicationName] !== undefined;
}

function givenTo(subnet: SpiderSubnet, pool: string | undefined, family: 4 | 6): IpSet | undefined {
  const controlled = parseControlledIPPools(subnet.status?.controlledIPPools);
  return pool === undefined || controlled === undefined ? undefined : trySetOf(controlled[pool]?.ips, family);
}
