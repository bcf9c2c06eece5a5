import { randomUUID } from "node:crypto";
import { isTakeOver, spiderIPAddresses, spiderIPPools, takeOverToken } from "#api";
import type { Signal } from "#base";
import { daemonSets, definitionName, metadataOf, type ObjectRef } from "#kube";
import { closureOf, setClosure } from "#ledger";
import { updateKinds } from "./crds.ts";
import type { Deps } from "./deps.ts";
import { mark } from "./nodes.ts";
import type { PrepareOptions } from "./options.ts";
import { untilItWorks } from "./retry.ts";

const claims = definitionName(spiderIPAddresses);

/** An annotation on Pods of our chart's workloads, and of no other system's. */
const ofChart = "checksum/config";

/**
 * Runs before the programs of a release start. Creates and extends our kinds. If another system has used the existing pools until
 * now, closes them, so that no agent gives an address before the controller knows which ones Pods have. Decides by what is in
 * the cluster, not by what Helm saw when it rendered the release: a rollback applies manifests rendered long ago.
 */
export async function prepare({ crds, agents }: PrepareOptions, deps: Deps, o: Signal): Promise<void> {
  // An earlier removal may have failed half-way.
  if (agents !== undefined) await mark(agents, undefined, deps, o);
  const created = await updateKinds(crds, deps, o);
  if (created.has(claims) || (agents !== undefined && !(await areOurs(agents, deps, o)))) await closePools(deps, o);
}

/** Whether the running agents are ours. False if there are none: then nobody knows who gave the addresses. */
async function areOurs(agents: ObjectRef, deps: Deps, o: Signal): Promise<boolean> {
  const found = await untilItWorks(deps, (call) => deps.client.get(daemonSets, agents, call), o);
  return found?.spec?.template.metadata?.annotations?.[ofChart] !== undefined;
}

/**
 * Closes all pools, except those closed already because the ledger was lost: that is being repaired. Pools of an earlier
 * take-over are closed again, because agents may have reported before the other system came back.
 */
async function closePools(deps: Deps, o: Signal): Promise<void> {
  const { client, say } = deps;
  const token = takeOverToken(randomUUID());
  const close = async (signal: Signal) => {
    const pools = await Array.fromAsync(client.listAll(metadataOf(spiderIPPools), signal));
    for (const pool of pools) {
      const closed = closureOf(pool);
      if (closed !== undefined && !isTakeOver(closed)) continue;
      if (!(await setClosure(client, pool, token, signal))) continue;
      say(`SpiderIPPool ${pool.metadata.name}: closed until its addresses in use are taken over`);
    }
  };
  await untilItWorks(deps, close, o);
}
