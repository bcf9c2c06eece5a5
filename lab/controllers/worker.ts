import { backoffMs, type Clock, type Tasks } from "#base";

interface WorkerOptions {
  readonly name: string;
  readonly tasks: Tasks;
  readonly clock: Clock;
  /** Must read the present state itself: a key only says that something may have changed. */
  readonly reconcile: (key: string) => Promise<void>;
}

/**
 * A work queue with one worker. A key that is added while it waits is run once; one that is added while it runs is run again.
 * A failed run is retried after a growing delay.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #waiting = new Set<string>();
  readonly #failures = new Map<string, number>();
  #running = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  add(key: string): void {
    this.#waiting.add(key);
    if (this.#running) return;
    this.#running = true;
    this.#options.tasks.spawn(this.#options.name, (signal) => this.#drain(signal));
  }

  async #drain(signal: AbortSignal): Promise<void> {
    try {
      for (const key of this.#waiting) {
        if (signal.aborted) return;
        this.#waiting.delete(key); // a key added again meanwhile goes to the end of this same iteration
        await this.#reconcile(key);
      }
    } finally {
      this.#running = false;
    }
  }

  async #reconcile(key: string): Promise<void> {
    try {
      await this.#options.reconcile(key);
      this.#failures.delete(key);
    } catch {
      const failures = this.#failures.get(key) ?? 0;
      this.#failures.set(key, failures + 1);
      this.#options.tasks.spawn(`${this.#options.name} retry`, async (signal) => {
        await this.#options.clock.sleep(backoffMs(failures, { firstMs: 50, maxMs: 5_000 }), { signal });
        this.add(key);
      });
    }
  }
}
