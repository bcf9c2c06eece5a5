import { KeySource, type Source } from "#kube";
import type { PoolCondition } from "#ledger";

/** Which pools break a rule, as of the last check. `defaults.ts` writes it, the status controller reads it. */
export class Judgements {
  readonly #broken = new Map<string, string>();
  readonly #changed = new KeySource();

  /** `sentence`: the pool's first violation; undefined if it has none. */
  set(pool: string, sentence: string | undefined): void {
    if (this.#broken.get(pool) === sentence) return;
    if (sentence === undefined) this.#broken.delete(pool);
    else this.#broken.set(pool, sentence);
    this.#changed.add(pool);
  }

  /** Names of the pools that break a rule. */
  get broken(): readonly string[] {
    return [...this.#broken.keys()];
  }

  conditionsOf(pool: string): readonly PoolCondition[] {
    const message = this.#broken.get(pool);
    return message === undefined ? [] : [{ type: "Invalid", reason: "RuleBroken", message: message.slice(0, 4_096) }];
  }

  /** Gives the names of pools whose judgement changed. */
  source(): Source {
    return this.#changed;
  }
}
