import type { Clock, Signal } from "#base";
import type { KubeClient } from "#kube";
import type { Claim } from "./claim.ts";
import { claimsOfNode } from "./writes.ts";

/** A claim that nobody here knows for so long is a leak; until then it may be on its way. */
const leakMs = 60_000;

/**
 * The claims of a node that nobody needs, now and a minute later: one list. How old a claim is by the server's clock says
 * nothing here, because the node's own may be off.
 */
export async function findLeaks(
  { client, clock, node }: { readonly client: KubeClient; readonly clock: Clock; readonly node: string },
  isNeeded: (claim: Claim) => boolean,
  o: Signal,
): Promise<readonly Claim[]> {
  const suspects: Claim[] = [];
  for await (const claim of claimsOfNode(client, node, o)) if (!isNeeded(claim)) suspects.push(claim);
  if (suspects.length === 0) return [];
  await clock.sleep(leakMs, o);
  return suspects.filter((claim) => !isNeeded(claim));
}
