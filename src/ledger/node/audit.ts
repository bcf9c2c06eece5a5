import type { Clock, Signal } from "#base";
import type { Claim } from "../claims/claim.ts";
import type { ReleaseReason } from "./releases.ts";

const apartMsDefault = 20_000;

/** Callbacks of an audit. */
export interface AuditWatcher {
  /**
   * Time between the two looks, in which late news of watches arrive. It need not be long: a claim in the list exists, this
   * node writes an intent before it creates a claim, and a release applies only to the version that was seen. @default 20 s
   */
  readonly apartMs?: number;
  /** A claim that nobody on this node seems to need. */
  readonly suspected?: (claim: Claim) => void;
  /** Claims of this node that are no longer in the ledger, although this node has not released them. */
  readonly missing?: (claims: readonly Claim[]) => void;
  /** A claim that nobody needed on the second look either. It is released. */
  readonly leaked?: (claim: Claim, reason: ReleaseReason) => void;
  /** How long the list took. It is the audit's cost for the API server. */
  readonly listed?: (ms: number) => void;
}

/** What a node knows of its claims. */
interface NodeView {
  /** The claims that it had before the list was read, and that should be in the list. */
  readonly known: readonly Claim[];
  /** Whether it still has this very claim. */
  readonly isOwn: (claim: Claim) => boolean;
  readonly isNeeded: (claim: Claim) => boolean;
}

/**
 * Finds the claims that nobody needs, neither now nor after `apartMs`. `claims` are all claims of the node, or those in doubt.
 * The age of a claim is not used, because the clocks of server and node may differ.
 */
export async function findLeaks(
  claims: AsyncIterable<Claim>,
  { known, isOwn, isNeeded }: NodeView,
  {
    clock,
    apartMs = apartMsDefault,
    suspected,
    missing,
    listed,
    ...o
  }: Signal & AuditWatcher & { readonly clock: Clock },
): Promise<readonly Claim[]> {
  const suspects: Claim[] = [];
  const uids = new Set<string>();
  const startMs = clock.monotonicMs();
  for await (const claim of claims) {
    uids.add(claim.uid);
    if (!isNeeded(claim)) suspects.push(claim);
  }
  listed?.(clock.monotonicMs() - startMs);
  const lost = known.filter((claim) => !uids.has(claim.uid) && isOwn(claim));
  if (lost.length > 0) missing?.(lost);
  for (const claim of suspects) suspected?.(claim);
  if (suspects.length === 0) return [];
  await clock.sleep(apartMs, o);
  return suspects.filter((claim) => !isNeeded(claim));
}
