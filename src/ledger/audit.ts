import type { Clock, Signal } from "#base";
import type { Claim } from "./claim.ts";
import type { ReleaseReason } from "./releases.ts";

const apartMsDefault = 20_000;

/** What an audit tells of while it is under way. */
export interface AuditWatcher {
  /**
   * Between the two observations. What is in the list has been made; what this node makes is in its intents before; and the
   * release holds for the version that was seen. So time adds little: what a watch tells late is here by then. @default 20 s
   */
  readonly apartMs?: number;
  /** A claim that nobody here needs, as far as is known; it may be on its way. */
  readonly suspected?: (claim: Claim) => void;
  /** Claims of this node that the ledger does not have any more, although nobody here has released them. */
  readonly missing?: (claims: readonly Claim[]) => void;
  /** It was not needed on the second look either, and is released. */
  readonly leaked?: (claim: Claim, reason: ReleaseReason) => void;
  /** How long the list took: what an audit costs others. */
  readonly listed?: (ms: number) => void;
}

/** What a node knows of its claims. */
interface NodeView {
  /** Those that it held before they were read, and that should be among them. */
  readonly known: readonly Claim[];
  /** Whether it still holds this very claim. */
  readonly isOwn: (claim: Claim) => boolean;
  readonly isNeeded: (claim: Claim) => boolean;
}

/**
 * Of `claims`, all that a node has or those that are in doubt, the ones that nobody needs, now and a while later. How old a claim
 * is by the server's clock says nothing here, because the node's own may be off.
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
