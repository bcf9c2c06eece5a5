import { Index } from "#base";
import type { Family } from "#ip";
import { type Claim, type Holder, isHeir, keyOfClaim } from "../claims/claim.ts";

/** The claims of one node by key and by Pod. Iterates over all of them. */
export class OwnClaims {
  readonly #claims = new Map<string, Claim>();
  readonly #byUid = new Index<Claim>(({ spec }) => [spec.podUID ?? ""]);
  readonly #byName = new Index<Claim>(({ spec }) => [`${spec.podNamespace}/${spec.podName}`]);

  /** The claim of this `claimKey`. */
  get(key: string): Claim | undefined {
    return this.#claims.get(key);
  }

  has(key: string): boolean {
    return this.#claims.has(key);
  }

  /** Adds a claim, or replaces the one with the same key. */
  set(claim: Claim): void {
    const key = keyOfClaim(claim);
    this.#move(key, claim);
    this.#claims.set(key, claim);
  }

  delete(key: string): void {
    this.#move(key, undefined);
    this.#claims.delete(key);
  }

  /** The claims of the Pod with this UID. */
  of(podUid: string): readonly Claim[] {
    return this.#byUid.get(podUid);
  }

  /** The claims of all Pods with this name (`namespace/name`), whatever their UIDs. */
  named(podKey: string): readonly Claim[] {
    return this.#byName.get(podKey);
  }

  /** Names of the claims of earlier Pods that had the holder's sticky name. */
  before(holder: Holder, family: Family): readonly string[] {
    const { uid, namespace, name } = holder.pod;
    return this.named(`${namespace}/${name}`)
      .filter((claim) => claim.ip.family === family && claim.spec.podUID !== uid && isHeir(claim.spec, holder))
      .map((claim) => claim.name);
  }

  [Symbol.iterator](): MapIterator<Claim> {
    return this.#claims.values();
  }

  #move(key: string, now: Claim | undefined): void {
    const before = this.#claims.get(key);
    this.#byUid.move(before, now);
    this.#byName.move(before, now);
  }
}
