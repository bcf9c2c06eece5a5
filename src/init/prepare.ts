import { randomUUID } from "node:crypto";
import { annotations, spiderIPAddresses, spiderIPPools, takeOverToken } from "#api";
import type { Signal } from "#base";
import { hasReason, metadataOf } from "#kube";
import { updateKinds } from "./crds.ts";
import type { Deps } from "./deps.ts";
import type { InitOptions } from "./options.ts";
import { untilItWorks } from "./retry.ts";

const claims = `${spiderIPAddresses.plural}.${spiderIPAddresses.group}`;

/**
 * Before the programs of a release start: our kinds as they need them; and where the pools that are there were another system's
 * until now, no agent gives an address of them before the controller knows those that Pods have.
 */
export async function prepare(
  { crds, takeOver }: Extract<InitOptions, { readonly command: "crds" }>,
  deps: Deps,
  o: Signal,
): Promise<void> {
  const created = await updateKinds(crds, deps, o);
  if (takeOver || created.has(claims)) await closePools(deps, o);
}

/** Pools that are closed already stay so as they are: their ledger was lost, and is being made anew. */
async function closePools(deps: Deps, o: Signal): Promise<void> {
  const { client, say } = deps;
  const token = takeOverToken(randomUUID());
  const body = { metadata: { annotations: { [annotations.ledgerClosed]: token } } };
  const close = async (signal: Signal) => {
    const pools = await Array.fromAsync(client.listAll(metadataOf(spiderIPPools), signal));
    for (const { metadata } of pools) {
      if (metadata.annotations?.[annotations.ledgerClosed] !== undefined) continue;
      const { name } = metadata;
      await client.patch(spiderIPPools, { name }, { kind: "merge", body }, signal).catch((error: unknown) => {
        if (!hasReason(error, "NotFound")) throw error;
      });
      say(`SpiderIPPool ${name}: closed until its addresses in use are taken over`);
    }
  };
  await untilItWorks(deps, close, o);
}
