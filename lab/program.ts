import { setTimeout as delay } from "node:timers/promises";
import type { NodeProcess } from "./topology/index.ts";

const restartAfterMs = 1_000;

/** A program that is restarted whenever it ends, until it is held. */
export class Program {
  readonly #start: () => NodeProcess;
  readonly #onExit: (how: number | string | null) => void;
  #process: NodeProcess | undefined;
  #held = false;

  constructor(start: () => NodeProcess, onExit: (how: number | string | null) => void) {
    this.#start = start;
    this.#onExit = onExit;
    this.#launch();
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Stops restarting it; the caller ends the process. */
  abandon(): void {
    this.#held = true;
  }

  /** Ends it and keeps it ended, or lets it run again. Resolves when it has ended or started. */
  async hold(held: boolean): Promise<void> {
    this.#held = held;
    if (held) {
      this.signal("SIGTERM");
      await this.#process?.exited;
    } else if (this.#process === undefined) this.#launch();
  }

  #launch(): void {
    const started = this.#start();
    this.#process = started;
    void started.exited.then(async (how) => {
      this.#process = undefined;
      if (this.#held) return;
      this.#onExit(how);
      await delay(restartAfterMs);
      if (!this.#held && this.#process === undefined) this.#launch();
    });
  }
}
