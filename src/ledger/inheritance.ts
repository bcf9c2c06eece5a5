import { abortable, type Signal } from "#base";
import { type Claim, type Holder, keyOfClaim } from "./claim.ts";
import { assertSilent, untilDetached } from "./kept.ts";
import type { OwnClaims } from "./own-claims.ts";
import type { ReleaseReason, Releases } from "./releases.ts";
import type { ClaimRequest, LedgerOptions } from "./request.ts";
import { adoptClaim } from "./writes.ts";

/** What the ledger of the node does for {@link Inheritance}. */
interface InheritanceParts {
  readonly own: OwnClaims;
  readonly releases: Releases;
  readonly release: (claim: Claim, reason: ReleaseReason) => void;
  readonly keep: (claim: Claim) => Claim;
  /** The outcome of what was sent for this key is not known. */
  readonly inLimbo: (key: string) => void;
}

/** Addresses that outlive their Pods, as the next Pod of the name gets them on this node. */
export class Inheritance {
  readonly #options: LedgerOptions;
  readonly #parts: InheritanceParts;

  constructor(options: LedgerOptions, parts: InheritanceParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /**
   * The address that is kept for the holder, once nobody else has it; undefined where none is. One that is kept in no candidate
   * is given up. Throws STICKY_HELD where somebody still has it.
   */
  async take(key: string, { holder, kept, family }: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    if (kept === undefined) return undefined;
    // The index may not name yet what the Pod before this one got on this node.
    for (const name of new Set([...kept.names, ...this.#parts.own.before(holder, family)])) {
      const claim = await this.#untilDetached(name, holder, o);
      if (claim === undefined) continue;
      if (!kept.pools.includes(claim.spec.pool)) {
        await this.#giveUp(claim, o);
        continue;
      }
      if (claim.spec.unclean === true) await assertSilent(claim, kept.probe, o);
      await this.#options.open?.(o); // Whoever had it may have been waited for long.
      const adopted = await this.#adopt(key, claim, holder, o);
      if (adopted !== undefined) return adopted;
    }
    return undefined;
  }

  /** What is kept for the holder and is not asked for any more becomes free; waits for that. */
  async giveUp(names: readonly string[], holder: Holder, o: Signal): Promise<void> {
    for (const name of names) {
      const claim = await this.#untilDetached(name, holder, o);
      if (claim !== undefined) await this.#giveUp(claim, o);
    }
  }

  /** A claim of this node that nobody here needs is detached at once: its process was another one. */
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

  /** Undefined where somebody was faster. The intent is written first: a claim under adoption is nobody's leak. */
  async #adopt(key: string, claim: Claim, holder: Holder, o: Signal): Promise<Claim | undefined> {
    const { intents } = this.#options;
    intents.write(key, claim.name);
    try {
      const adopted = await adoptClaim(claim, holder, { ...this.#options, ...o });
      if (adopted !== undefined) return this.#parts.keep(adopted);
      intents.remove(key);
      return undefined;
    } catch (error) {
      this.#parts.inLimbo(key);
      throw error;
    }
  }
}
