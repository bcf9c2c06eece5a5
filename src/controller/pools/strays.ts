import { type Ip, type IpSet, type RangeEntry, RangeIndex } from "#ip";
import type { Claim } from "#ledger";

/**
 * Claims whose address is not in the pool whose UID they carry, found by that UID and by address: thousands of pools may be
 * edited, or come after a restart, beside thousands of these, and no change of the one goes through all of the other.
 */
export class Strays {
  readonly #byName = new Map<string, { readonly claim: Claim; readonly entry: RangeEntry<Claim> }>();
  readonly #byUid = new Map<string, Map<string, Claim>>();
  readonly #byAddress = new RangeIndex<Claim>();

  /** Adds the claim, in place of the one of its name. */
  put(claim: Claim): void {
    const { name, ip } = claim;
    this.delete(name);
    this.#byName.set(name, { claim, entry: this.#byAddress.add(rangeOf(ip), claim) });
    const { poolUID } = claim.spec;
    const alike = this.#byUid.get(poolUID) ?? new Map<string, Claim>();
    this.#byUid.set(poolUID, alike.set(name, claim));
  }

  delete(name: string): void {
    const known = this.#byName.get(name);
    if (known === undefined) return;
    this.#byName.delete(name);
    this.#byAddress.delete(known.entry);
    const { poolUID } = known.claim.spec;
    const alike = this.#byUid.get(poolUID);
    alike?.delete(name);
    if (alike?.size === 0) this.#byUid.delete(poolUID);
  }

  /** Those that carry the UID, and those with an address of the set. */
  of(uid: string, set: IpSet): ReadonlySet<Claim> {
    const within = set.ranges.flatMap((range) => this.#byAddress.overlapping(range));
    return new Set([...(this.#byUid.get(uid)?.values() ?? []), ...within]);
  }
}

/** The range of one address. */
export function rangeOf(ip: Ip): { readonly first: Ip; readonly last: Ip } {
  return { first: ip, last: ip };
}
