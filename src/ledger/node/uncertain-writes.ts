import { type Clock, formatError, type Logger, type Signal } from "#base";

/** Times between looks at a write whose answer was lost. If there is no claim at the last look, it took no effect. */
const lookAfterMs = [2_000, 14_000, 60_000] as const;

/** One look at a write whose answer was lost. */
export interface OutcomeLook extends Signal {
  /** The least time since the write ended. */
  readonly sinceMs: number;
  readonly last: boolean;
  /** False if a later write of the same key is watched instead. */
  readonly isCurrent: () => boolean;
}

interface UncertainWritesOptions extends Signal {
  readonly clock: Clock;
  readonly log: Logger;
  /** Looks at the claim; true if the outcome of the write is known now. */
  readonly look: (key: string, look: OutcomeLook) => Promise<boolean>;
}

/** Creates and adoptions whose outcome is unknown, by key. Each is looked at until the outcome is known. */
export class UncertainWrites {
  readonly #options: UncertainWritesOptions;
  /** The current watch of each key. */
  readonly #watches = new Map<string, symbol>();

  constructor(options: UncertainWritesOptions) {
    this.#options = options;
  }

  /** Watches the key's write. If one is watched already, the watch starts again, because there was another write. */
  watch(key: string): void {
    const turn = Symbol(key);
    this.#watches.set(key, turn);
    void this.#watch(key, () => this.#watches.get(key) === turn);
  }

  /** Whether the outcome of the key's write is unknown. */
  has(key: string): boolean {
    return this.#watches.has(key);
  }

  async #watch(key: string, isCurrent: () => boolean): Promise<void> {
    const { clock, log, signal, look } = this.#options;
    for (let looks = 0, sinceMs = 0; isCurrent(); looks++) {
      try {
        const afterMs = lookAfterMs[looks] ?? lookAfterMs[2];
        await clock.sleep(afterMs, { signal });
        sinceMs += afterMs;
        const last = looks >= lookAfterMs.length - 1;
        if ((await look(key, { signal, sinceMs, last, isCurrent })) && isCurrent()) this.#watches.delete(key);
      } catch (err) {
        if (signal.aborted) return;
        log.warn({ err: formatError(err) }, "the outcome of a claim is still unknown");
      }
    }
  }
}
