/**
 * Tracks how long each subject has been in its current state, by this process's monotonic clock: timestamps in objects are not
 * trusted. After a restart it starts from zero, so decisions only take longer.
 */
export class Since {
  readonly #seen = new Map<string, { readonly state: string; readonly sinceMs: number }>();

  /** Milliseconds since `subject` was first seen in `state` without interruption. Nothing is stored for the state `usual`. */
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
