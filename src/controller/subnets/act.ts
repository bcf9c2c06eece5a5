import {
  labels,
  parseApplicationKey,
  parseControlledIPPools,
  type SpiderIPPool,
  type SpiderSubnet,
  spiderIPPools,
} from "#api";
import { formatError, type Signal } from "#base";
import { type PoolAction, type SubnetPlan, subjectOfDemand, workloadKindOf } from "#ipam";
import { type Draft, hasReason, metadataOf, subjectOf } from "#kube";
import type { Deps } from "../deps.ts";
import type { PoolUses } from "../pools/uses.ts";
import { endHolds, hold } from "./holds.ts";

/** When to retry a deletion that admission refused because the pool has addresses in use. */
const guardedMs = 30_000;

interface ActOptions {
  readonly plan: SubnetPlan;
  /** Its status says which application each pool is for. */
  readonly subnet: SpiderSubnet;
  readonly uses: PoolUses;
}

/** Carries out the plan. A failure for one application does not stop the others; throws the first failure at the end. */
export async function act(deps: Deps, options: ActOptions, o: Signal): Promise<{ readonly afterMs?: number }> {
  const failures: unknown[] = [];
  let afterMs: number | undefined;
  for (const action of options.plan.actions) {
    try {
      afterMs = (await actOne(deps, action, options, o)) ?? afterMs;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return afterMs === undefined ? {} : { afterMs };
}

async function actOne(
  deps: Deps,
  action: PoolAction,
  { uses, subnet }: ActOptions,
  o: Signal,
): Promise<number | undefined> {
  const { client, log } = deps;
  switch (action.kind) {
    case "create":
      await told(deps, action, client.create(spiderIPPools, action.draft as Draft<SpiderIPPool>, o));
      log.info({ pool: action.draft.metadata.name, size: action.demand.size }, "pool made for an application");
      return undefined;
    case "update": {
      const { pool, draft } = action;
      const metadata = { ...pool.metadata, ...draft.metadata };
      await told(deps, action, client.update(spiderIPPools, { ...pool, metadata, spec: draft.spec }, o));
      log.info({ pool: pool.metadata.name, size: action.demand.size }, "pool of an application changed");
      return undefined;
    }
    case "hold":
      await hold(deps, action.pool, action.ips, o);
      return undefined;
    case "unhold":
      await endHolds(deps, uses, action.pool, action.ips, o);
      return undefined;
    case "delete":
      return remove(deps, action, subnet, o);
  }
}

/** Reports a refusal by admission as an Event of the application, whose Pods wait because of it. */
async function told(
  { events }: Deps,
  { kind, draft, demand }: Extract<PoolAction, { kind: "create" | "update" }>,
  written: Promise<unknown>,
): Promise<void> {
  try {
    await written;
  } catch (error) {
    if (hasReason(error, "Invalid", "Forbidden")) {
      const message = `cannot ${kind} IPPool ${draft.metadata.name} for NIC ${demand.owner.nic}: ${formatError(error)}`;
      events.record(subjectOfDemand(demand), { type: "Warning", reason: "AutoPoolRefused", message });
    }
    throw error;
  }
}

async function remove(
  deps: Deps,
  { pool, why, isMoved }: Extract<PoolAction, { kind: "delete" }>,
  subnet: SpiderSubnet,
  o: Signal,
): Promise<number | undefined> {
  const { client, log, events } = deps;
  const { name, uid } = pool.metadata;
  if (!isMoved && !(await isGone(deps, subnet, pool, o))) return 1_000;
  try {
    await client.delete(spiderIPPools, { name }, { ...o, preconditions: { uid } });
  } catch (error) {
    if (!hasReason(error, "Forbidden", "Invalid")) throw error;
    return guardedMs;
  }
  log.info({ pool: name, why }, "pool of an application deleted");
  if (isMoved) {
    const message = `${why}: the pool goes, nobody has an address of it`;
    events.record(subjectOf(spiderIPPools, pool), { type: "Warning", reason: "ApplicationSubnetChanged", message });
  }
  return undefined;
}

/** Asks the API server whether the pool's application is gone. */
async function isGone(
  { client }: Deps,
  { status }: SpiderSubnet,
  { metadata }: SpiderIPPool,
  o: Signal,
): Promise<boolean> {
  const key = parseControlledIPPools(status?.controlledIPPools)?.[metadata.name]?.application;
  const application = key === undefined ? undefined : parseApplicationKey(key);
  const resource = application && workloadKindOf(application)?.resource;
  if (resource === undefined || application === undefined) return false;
  const { namespace, name } = application;
  const found = await client.get(metadataOf(resource), { namespace, name }, o);
  return found?.metadata.uid !== metadata.labels?.[labels.ownerApplicationUid];
}
