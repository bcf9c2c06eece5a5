import type { Logger } from "./log.ts";

/**
 * Owns every promise that nobody awaits. Background work is spawned here, so that failures are logged and counted, and the
 * process can wait for running work when it stops.
 */
export class Tasks {
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #log: Logger;
  #failures = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Aborts when the process stops. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get failures(): number {
    return this.#failures;
  }

  spawn(name: string, act: (signal: AbortSignal) => Promise<void>): void {
    const running = act(this.signal).catch((err: unknown) => {
      if (this.signal.aborted) return;
      this.#failures += 1;
      this.#log.error({ task: name, err }, "background task failed");
    });
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Aborts all tasks and waits until they have ended. */
  async stop(reason: Error = new Error("stopping")): Promise<void> {
    this.#stop.abort(reason);
    await this.idle();
  }
}
