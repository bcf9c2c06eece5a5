import {
  finalizer,
  type SpiderEndpoint,
  type SpiderIPPool,
  spiderEndpoints,
  spiderIPAddresses,
  spiderIPPools,
} from "#api";
import type { Signal } from "#base";
import { formatIp } from "#ip";
import { hasReason, pods, subjectOf } from "#kube";
import { claimOf, isHeld, type TakenOver, takenOverDraft } from "#ledger";
import type { Deps } from "../deps.ts";
import { type Former, type LivingPod, livingPod, type Problem, planTakeOver } from "./plan.ts";

/** How many creates are in flight at once. */
const creates = 8;
/** How many entries an Event names; the log names all. */
const namedMax = 10;

/**
 * Claims the addresses that Pods have from a former system, while all pools are closed. Can be repeated: existing claims stay.
 * Throws the API server's error if claims may be missing. Reports invalid entries by log and Event, and goes on.
 */
export async function takeOver(deps: Deps, o: Signal): Promise<void> {
  const { settings, log } = deps;
  const former = await readFormer(deps, o);
  const plan = planTakeOver(former, settings);
  const problems = [...plan.problems];
  const made = new Map<string, number>();
  const queue = plan.claims.values();
  const work = async () => {
    for (const claim of queue) {
      const why = await create(deps, former, claim, o);
      const pool = claim.pool.name;
      if (why === undefined) made.set(pool, (made.get(pool) ?? 0) + 1);
      else problems.push({ pool, entry: formatIp(claim.ip), why });
    }
  };
  await Promise.all(Array.from({ length: creates }, work));
  await freeEndpoints(deps, former.endpoints, o);
  const summary = { claims: plan.claims.length, ofEndedPods: plan.ended.length, problems: problems.length };
  log.info(summary, "addresses of a former system are taken over");
  for (const problem of problems) log.warn({ ...problem }, "an entry of a former system could not be taken over");
  for (const pool of former.pools) tell(deps, pool, made.get(pool.metadata.name) ?? 0, problems);
}

async function readFormer({ client, settings }: Deps, o: Signal): Promise<Former> {
  const [pools, endpoints, living] = await Promise.all([
    Array.fromAsync(client.listAll(spiderIPPools, o)),
    Array.fromAsync(client.listAll(spiderEndpoints, o)),
    Array.fromAsync(client.listAll(pods, o), (pod) => livingPod(pod, settings)),
  ]);
  const byUid = living.flatMap((pod): [string, LivingPod][] => (pod === undefined ? [] : [[pod.uid, pod]]));
  return { pools, endpoints, pods: new Map(byUid) };
}

/** Creates the claim. Returns why it cannot exist; undefined: the ledger has it. */
async function create(deps: Deps, former: Former, claim: TakenOver, o: Signal): Promise<string | undefined> {
  const { client, clock, log } = deps;
  const draft = takenOverDraft(claim, clock.wall());
  const { name } = draft.metadata;
  const pod = `${claim.pod.namespace}/${claim.pod.name}`;
  for (;;) {
    try {
      await client.create(spiderIPAddresses, draft, o);
      log.info({ ip: draft.spec.address, pool: claim.pool.name, pod, podUid: claim.pod.uid }, "address taken over");
      return undefined;
    } catch (error) {
      if (hasReason(error, "Invalid")) return (error as Error).message;
      if (!hasReason(error, "AlreadyExists")) throw error;
    }
    const object = await client.get(spiderIPAddresses, { name }, o);
    const found = object && claimOf(object);
    if (found === undefined) continue; // Deleted meanwhile.
    const { podUID = "", podNamespace, podName } = found.spec;
    if (isHeld(found) && podUID === claim.pod.uid) return undefined;
    const holder = isHeld(found) ? `Pod ${podNamespace}/${podName}` : `a ${found.spec.purpose}`;
    if (claim.node === undefined || !isHeld(found) || former.pods.has(podUID)) {
      return `${holder} has it in the ledger, and Pod ${pod} is said to have it`;
    }
    // A claim of a Pod that is gone, from before a rollback to the former system. UIDs are never used again.
    const { uid, resourceVersion } = found;
    log.info(
      { ip: draft.spec.address, podUid: podUID },
      "claim removed: its Pod is gone and a running Pod has the address",
    );
    await client
      .delete(spiderIPAddresses, { name }, { ...o, preconditions: { uid, resourceVersion } })
      .catch((error: unknown) => {
        if (!hasReason(error, "NotFound", "Conflict")) throw error;
      });
  }
}

/** Removes the former system's finalizer from endpoints: it would keep them, and the next Pods of these names could get none. */
async function freeEndpoints({ client }: Deps, endpoints: readonly SpiderEndpoint[], o: Signal): Promise<void> {
  for (const endpoint of endpoints) {
    const { finalizers = [] } = endpoint.metadata;
    if (!finalizers.includes(finalizer)) continue;
    const metadata = { ...endpoint.metadata, finalizers: finalizers.filter((one) => one !== finalizer) };
    await client.update(spiderEndpoints, { ...endpoint, metadata }, o).catch((error: unknown) => {
      if (!hasReason(error, "NotFound")) throw error;
    });
  }
}

function tell({ events }: Deps, pool: SpiderIPPool, made: number, problems: readonly Problem[]): void {
  const subject = subjectOf(spiderIPPools, pool);
  if (made > 0) {
    const which =
      made === 1
        ? "1 address that a Pod has from a former system is"
        : `${made} addresses that Pods have from a former system are`;
    const message = `${which} in the ledger: kubectl get sia -l pool=${pool.metadata.name}`;
    events.record(subject, { type: "Normal", reason: "AddressesTakenOver", message });
  }
  const wrong = problems.filter((problem) => problem.pool === pool.metadata.name);
  if (wrong.length === 0) return;
  const named = wrong.slice(0, namedMax).map(({ entry, why }) => `${entry}: ${why}`);
  const more = wrong.length > namedMax ? `; and ${wrong.length - namedMax} more, in the controller's log` : "";
  const entries = wrong.length === 1 ? "1 entry" : `${wrong.length} entries`;
  const message = `${entries} of a former system could not be taken over: ${named.join("; ")}${more}`;
  events.record(subject, { type: "Warning", reason: "AddressesNotTakenOver", message });
}
