import { randomUUID } from "node:crypto";
import { isTakeOver, spiderIPAddresses, spiderIPPools, takeOverToken } from "#api";
import type { Signal } from "#base";
import { daemonSets, metadataOf, type ObjectRef } from "#kube";
import { closureOf, setClosure } from "#ledger";
import { updateKinds } from "./crds.ts";
import type { Deps } from "./deps.ts";
import { mark } from "./nodes.ts";
import type { InitOptions } from "./options.ts";
import { untilItWorks } from "./retry.ts";

const claims = `${spiderIPAddresses.plural}.${spiderIPAddresses.group}`;

/** On the Pods of our chart's workloads, and of no other system's. */
const ofChart = "checksum/config";

/**
 * Before the programs of a release start: our kinds as they need them; and where the pools that are there were another system's
 * until now, no agent gives an address of them before the controller knows those that Pods have. What is in the cluster decides,
 * not what Helm saw when it rendered this: a rollback carries out what was rendered long ago.
 */
export async function prepare(
  { crds, agents }: Extract<InitOptions, { readonly command: "crds" }>,
  deps: Deps,
  o: Signal,
): Promise<void> {
  // A removal of it may have failed half-way.
  if (agents !== undefined) await mark(agents, undefined, deps, o);
  const created = await updateKinds(crds, deps, o);
  if (created.has(claims) || (agents !== undefined && !(await areOurs(agents, deps, o)))) await closePools(deps, o);
}

/** False also where there are no agents: who has given addresses is not known then. */
async function areOurs(agents: ObjectRef, deps: Deps, o: Signal): Promise<boolean> {
  const found = await untilItWorks(deps, (call) => deps.client.get(daemonSets, agents, call), o);
  return found?.spec?.template.metadata?.annotations?.[ofChart] !== undefined;
}

/**
 * Pools that are closed because their ledger was lost stay so as they are: it is being made anew. Those of an earlier take-over are
 * closed again: what agents have said of that one they may have said before the other system came back.
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
