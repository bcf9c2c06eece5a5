import { SpiderError } from "#base";
import type { Family } from "#ip";
import type { Decision } from "#ipam";
import type { Claim } from "./claim.ts";

/** What an ADD of one NIC and family is to get, and from where. */
export interface Wanted extends Pick<Decision, "nic" | "cleanGateway" | "named"> {
  readonly family: Family;
  /** Pools in the order to try them. */
  readonly candidates: readonly string[];
  /** Why there are no candidates: told where nothing is kept either. */
  readonly refusal?: SpiderError;
}

/**
 * Throws the refusal of a decision, except where the NIC may have an address without any candidate: the one that it has, which
 * stays the Pod's for its life whatever becomes of the pool, or one that is kept in a named pool. `own`: what the NIC has;
 * `kept`: names of claims that are kept for it.
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
