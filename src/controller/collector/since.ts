/**
 * For how long each subject has been in the state in which it is, by the monotonic clock of this process: nobody's
 * timestamps are trusted. It starts anew with the process, which only makes it wait longer.
 */
export class Since {
  readonly #seen = new Map<string, { readonly state: string; readonly sinceMs: number }>();

  /** Milliseconds since `subject` was first seen in `state` without a break. `usual`: a state that needs no memory. */
  held(subject: string, state: string, nowMs: number, { usual }: { readonly usual: string }): number {
    if (state === usual) {
      this.#seen.delete(subject);
      return 0;
    }
    const before = this.#seen.get(subject);
    if (before?.state === state) return nowMs - before.sinceMs;
    this.#seen.set(subject, { state, sinceMs: nowMs });
    return 0;
  }

  forget(subject: string): void {
    this.#seen.delete(subject);
  }
}
