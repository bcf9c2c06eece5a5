import { SpiderError } from "#base";
import type { Family } from "#ip";
import type { Decision } from "#ipam";
import type { Claim } from "../claims/claim.ts";

/** From which pools an ADD gets the address of one NIC and family. */
export interface Wanted extends Pick<Decision, "nic" | "cleanGateway" | "named"> {
  readonly family: Family;
  /** Pools in the order to try them. */
  readonly candidates: readonly string[];
  /** Why there are no candidates. It is the error if no address is kept for the NIC either. */
  readonly refusal?: SpiderError;
}

/**
 * Throws the refusal of a decision, unless the NIC may have an address without any candidate: the one that it has, because an
 * address stays with its Pod whatever becomes of the pool, or one that is kept for it. `own` are the claims of the NIC, `kept`
 * the names of claims that are kept for it.
 */
export function wantedOf(
  { nic, family, cleanGateway, named, outcome }: Decision,
  {
    own,
    kept,
  }: { readonly own: readonly Claim[]; readonly kept: Readonly<Record<Family, readonly string[]>> | undefined },
): Wanted {
  const refusal =
    outcome.kind === "refused"
      ? new SpiderError(outcome.code, outcome.message, { details: { fix: outcome.fix } })
      : undefined;
  if (family !== undefined && outcome.kind === "candidates") {
    return { nic, family, cleanGateway, named, candidates: outcome.pools };
  }
  if (refusal === undefined) throw new Error(`a decision without a family for ${nic}`);
  if (family === undefined) throw refusal;
  const mayInherit = refusal.code === "NO_POOL" && (kept?.[family].length ?? 0) > 0;
  if (!mayInherit && !own.some(({ ip }) => ip.family === family)) throw refusal;
  return { nic, family, cleanGateway, named, candidates: [], refusal };
}
