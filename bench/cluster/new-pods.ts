import { randomUUID } from "node:crypto";
import { systemClock } from "#base";
import type { Ip } from "#ip";
import type { ClaimDraft, Holder } from "#ledger";
import { claimDraft } from "../../src/ledger/claims/claim.ts";

/** What a claim keeps for the sandbox, as an ADD would write it. */
export const answer = '{"prefix":16,"gw":"10.0.0.1"}';

/** The NIC of a Pod that nobody has seen before. */
export function newHolder(): Holder {
  const uid = randomUUID();
  return {
    pod: { namespace: "default", name: `pod-${uid}`, uid },
    nic: "eth0",
    containerId: `${uid}-sandbox`,
    network: "bench",
  };
}

/** The claim of such a NIC on a node, as an agent would create it. */
export function newDraft(ip: Ip, { pool, node }: { readonly pool: string; readonly node: string }): ClaimDraft {
  const here = { node, bootId: node, since: systemClock.wall(), answer };
  return claimDraft(ip, { name: pool, uid: "bare", generation: 1 }, newHolder(), here);
}
