import { isDeepStrictEqual } from "node:util";
import {
  type AddressIndex,
  defaultPool,
  filtered,
  formatViolation,
  type SpiderIPPool,
  type SpiderSubnet,
  spiderIPPools,
  subnetNameOf,
  validatePool,
} from "#api";
import { tryParsePrefix } from "#ip";
import { type ControllerOptions, fromStore, hasReason, keyOf, type Store, subjectOf, TerminalError } from "#kube";
import type { Deps } from "../deps.ts";
import type { Judgements } from "./judgements.ts";

interface PoolStores {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly poolIndex: AddressIndex<SpiderIPPool>;
  readonly subnetIndex: AddressIndex<SpiderSubnet>;
  readonly judgements: Judgements;
}

/**
 * Fills in defaults of pools that were stored without admission, and reports pools that break a rule: the webhook may have
 * been down, or two pools may have been admitted at once by two replicas.
 */
export function poolDefaultsController(
  deps: Deps,
  { pools, subnets, poolIndex, subnetIndex, judgements }: PoolStores,
): ControllerOptions {
  const { client, clock, log, events, settings } = deps;
  /** The version in which each pool was last judged. */
  const judged = new Map<string, string>();
  const ofSameCidr = ({ spec }: SpiderSubnet) => {
    const network = tryParsePrefix(spec.subnet);
    return network === undefined ? [] : poolIndex.within(network).map(({ metadata }) => keyOf(metadata));
  };
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
      const repaired = defaultPool(pool, settings.enableSpiderSubnet ? subnetIndex : undefined);
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
        // The younger of two that share an address is at fault.
        others: filtered(poolIndex, (other) => ageKey(other) < ageKey(pool)),
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
  subnets: Pick<Store<SpiderSubnet>, "get">,
): SpiderSubnet | undefined {
  const name = subnetNameOf(pool);
  return name === undefined ? undefined : subnets.get(name);
}

function ageKey({ metadata: { creationTimestamp = "", name } }: SpiderIPPool): string {
  return `${creationTimestamp} ${name}`;
}
