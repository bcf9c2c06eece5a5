import { type Clock, formatError, type Logger, type Signal } from "#base";

/** What became of a create that was cut off is looked up after these times. Absent at the last look: it never happened. */
const lookAfterMs = [2_000, 14_000, 60_000] as const;

/** One look at a create whose answer never came. */
export interface LimboLook extends Signal {
  /** How long the create is over at least. */
  readonly sinceMs: number;
  readonly last: boolean;
  /** False where a later watch over the same key took over. */
  readonly isCurrent: () => boolean;
}

interface LimboOptions extends Signal {
  readonly clock: Clock;
  readonly log: Logger;
  /** True when nothing is open any more. */
  readonly look: (key: string, look: LimboLook) => Promise<boolean>;
}

/** Keys with a create whose outcome is open: each is looked at until that is certain. */
export class Limbo {
  readonly #options: LimboOptions;
  /** The latest watch over each key. */
  readonly #watches = new Map<string, symbol>();

  constructor(options: LimboOptions) {
    this.#options = options;
  }

  /** Starts over where the key is watched already: its create was sent again. */
  watch(key: string): void {
    const turn = Symbol(key);
    this.#watches.set(key, turn);
    void this.#watch(key, () => this.#watches.get(key) === turn);
  }

  /** Whether the outcome of its create is open. */
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
