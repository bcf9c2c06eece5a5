import { isDeepStrictEqual } from "node:util";
import {
  defaultPool,
  formatViolation,
  type SpiderIPPool,
  type SpiderSubnet,
  spiderIPPools,
  subnetNameOf,
  validatePool,
} from "#api";
import { prefixesOverlap, tryParsePrefix } from "#ip";
import { type ControllerOptions, fromStore, hasReason, keyOf, type Store, subjectOf, TerminalError } from "#kube";
import type { Deps } from "../deps.ts";
import type { Judgements } from "./judgements.ts";
import type { PoolUses } from "./uses.ts";

interface PoolStores {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly uses: PoolUses;
  readonly judgements: Judgements;
}

/**
 * Fills in defaults of pools that were stored without admission, and reports pools that break a rule: the webhook may have
 * been down, or two pools may have been admitted at once by two replicas.
 */
export function poolDefaultsController(
  deps: Deps,
  { pools, subnets, uses, judgements }: PoolStores,
): ControllerOptions {
  const { client, clock, log, events, settings } = deps;
  /** The version in which each pool was last judged. */
  const judged = new Map<string, string>();
  const ofSameCidr = ({ spec }: SpiderSubnet) =>
    pools
      .list()
      .filter((pool) => pool.spec.subnet === spec.subnet)
      .map(({ metadata }) => keyOf(metadata));
  return {
    name: "pool-defaults",
    clock,
    log,
    // The cause may be another pool: pools that break a rule are judged again whenever any pool changes.
    sources: [fromStore(pools), fromStore(pools, () => judgements.broken), fromStore(subnets, ofSameCidr)],
    reconcile: async (name, o) => {
      const pool = pools.get(name);
      if (pool === undefined || pool.metadata.deletionTimestamp !== undefined) {
        judgements.set(name, undefined);
        judged.delete(name);
        return {};
      }
      const repaired = defaultPool(pool, settings.enableSpiderSubnet ? subnets.list() : []);
      if (!isDeepStrictEqual(repaired, pool)) {
        await client.update(spiderIPPools, repaired, o).catch((cause: unknown) => {
          if (!hasReason(cause, "Invalid", "Forbidden")) throw cause;
          throw new TerminalError("a pool's defaults are refused", { cause, details: { pool: name } });
        });
        return {};
      }
      const version = `${pool.metadata.uid}/${pool.metadata.generation}`;
      if (judged.get(name) === version && !judgements.broken.includes(name)) return {};
      const context = {
        others: olderOverlapping(pool, pools, uses),
        subnet: subnetOf(pool, subnets),
        families: settings,
      };
      const [first] = validatePool(pool, context);
      const message = first && formatViolation(first);
      judgements.set(name, message);
      if (message !== undefined && judged.get(name) !== version) {
        events.record(subjectOf(spiderIPPools, pool), { type: "Warning", reason: "InvalidIPPool", message });
      }
      judged.set(name, version);
      return {};
    },
  };
}

/** The SpiderSubnet that controls the pool. */
export function subnetOf(
  pool: Parameters<typeof subnetNameOf>[0],
  subnets: Store<SpiderSubnet>,
): SpiderSubnet | undefined {
  const name = subnetNameOf(pool);
  return name === undefined ? undefined : subnets.get(name);
}

/** An older pool that shares an address with this one: the younger of two is at fault. */
function olderOverlapping(pool: SpiderIPPool, pools: Store<SpiderIPPool>, uses: PoolUses): readonly SpiderIPPool[] {
  const subnet = tryParsePrefix(pool.spec.subnet);
  if (subnet === undefined) return [];
  return uses
    .list()
    .filter(({ view }) => view.family === subnet.ip.family && prefixesOverlap(view.subnet, subnet))
    .flatMap(({ view }) => pools.get(view.name) ?? [])
    .filter((other) => ageKey(other) < ageKey(pool));
}

function ageKey({ metadata: { creationTimestamp = "", name } }: SpiderIPPool): string {
  return `${creationTimestamp} ${name}`;
}
