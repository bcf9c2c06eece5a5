import { abortable, type Signal } from "#base";
import { type Claim, type Holder, keyOfClaim } from "../claims/claim.ts";
import { adoptClaim } from "../claims/writes.ts";
import { assertSilent, untilDetached } from "./kept.ts";
import type { OwnClaims } from "./own-claims.ts";
import type { ReleaseReason, Releases } from "./releases.ts";
import type { ClaimRequest, LedgerOptions } from "./request.ts";

/** The parts of the node's ledger that {@link Inheritance} uses. */
interface InheritanceParts {
  readonly own: OwnClaims;
  readonly releases: Releases;
  readonly release: (claim: Claim, reason: ReleaseReason) => void;
  readonly keep: (claim: Claim) => Claim;
  /** Watches the write of this key, because its outcome is unknown. */
  readonly watchOutcome: (key: string) => void;
}

/** Hands sticky addresses to the next Pod that they are kept for, on this node. */
export class Inheritance {
  readonly #options: LedgerOptions;
  readonly #parts: InheritanceParts;

  constructor(options: LedgerOptions, parts: InheritanceParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /**
   * Takes the address that is kept for the holder, after waiting until no other Pod has it; undefined if none is kept. An address
   * that is in none of the holder's pools is given up. Throws STICKY_HELD if another Pod still has the address after a while.
   */
  async take(key: string, { holder, kept, family }: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    if (kept === undefined) return undefined;
    // The index may not yet name an address that the previous Pod got on this node.
    for (const name of new Set([...kept.names, ...this.#parts.own.before(holder, family)])) {
      const claim = await this.#untilDetached(name, holder, o);
      if (claim === undefined) continue;
      if (!kept.pools.includes(claim.spec.pool)) {
        await this.#giveUp(claim, o);
        continue;
      }
      if (claim.spec.unclean === true) await assertSilent(claim, kept.probe, o);
      await this.#options.open?.(o); // The ledger may have been closed during a long wait.
      const adopted = await this.#adopt(key, claim, holder, o);
      if (adopted !== undefined) return adopted;
    }
    return undefined;
  }

  /** Releases addresses that are kept for the holder although it asks for other pools now. Waits until they are released. */
  async giveUp(names: readonly string[], holder: Holder, o: Signal): Promise<void> {
    for (const name of names) {
      const claim = await this.#untilDetached(name, holder, o);
      if (claim !== undefined) await this.#giveUp(claim, o);
    }
  }

  /** Waits for {@link untilDetached}. A claim of this node that nobody needs is left over of an earlier agent, and detached. */
  #untilDetached(name: string, holder: Holder, { signal }: Signal): Promise<Claim | undefined> {
    const { client, clock, node, inUse } = this.#options;
    const { own, release } = this.#parts;
    const held = (claim: Claim) => {
      const known = own.get(keyOfClaim(claim))?.uid === claim.uid;
      if (claim.spec.node !== node || known || inUse(claim)) return;
      const evidence = [`Pod ${claim.spec.podUID}`, `container ${claim.spec.containerID}`];
      release(claim, { why: "its Pod is gone and no sandbox of this node uses it", evidence });
    };
    return untilDetached(name, holder, { client, clock, signal, held });
  }

  async #giveUp(claim: Claim, { signal }: Signal): Promise<void> {
    const reason = { why: "its Pod asks for other pools now", evidence: [`pool ${claim.spec.pool}`] };
    await abortable(this.#parts.releases.add(claim, reason), signal);
  }

  /** Undefined if somebody else was faster. The intent is written first, so that no audit takes the claim for a leak. */
  async #adopt(key: string, claim: Claim, holder: Holder, o: Signal): Promise<Claim | undefined> {
    const { intents } = this.#options;
    intents.write(key, claim.name);
    try {
      const adopted = await adoptClaim(claim, holder, { ...this.#options, ...o });
      if (adopted !== undefined) return this.#parts.keep(adopted);
      intents.remove(key);
      return undefined;
    } catch (error) {
      this.#parts.watchOutcome(key);
      throw error;
    }
  }
}
