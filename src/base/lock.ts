import { abortable } from "./clock.ts";

/**
 * One holder at a time for each key; waiters are served in order. Used for container IDs and Pod UIDs: an ADD and a DEL
 * of one sandbox never overlap. A key costs memory only while it is held.
 */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `act` after every earlier holder of `key` has ended. A waiter whose signal aborts leaves the queue. */
  async run<T>(key: string, act: () => Promise<T>, { signal }: { readonly signal: AbortSignal }): Promise<T> {
    const before = this.#tails.get(key);
    const done = Promise.withResolvers<void>();
    const tail = before === undefined ? done.promise : before.then(() => done.promise);
    this.#tails.set(key, tail);
    try {
      if (before !== undefined) await abortable(before, signal);
      signal.throwIfAborted();
      return await act();
    } finally {
      done.resolve();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }

  /** How many keys are held or waited for. */
  get size(): number {
    return this.#tails.size;
  }
}
