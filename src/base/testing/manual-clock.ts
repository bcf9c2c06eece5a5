import { type Clock, sleepBy } from "../clock.ts";

interface Sleeper {
  readonly atMs: number;
  readonly act: () => void;
}

/** A clock that moves only by `advance`, which wakes sleepers in the order of their times. */
export class ManualClock implements Clock {
  #nowMs = 0;
  #wallStartMs: number;
  #sleepers: Sleeper[] = [];

  constructor(options: { readonly wall?: Date } = {}) {
    this.#wallStartMs = (options.wall ?? new Date("2026-01-01T00:00:00Z")).getTime();
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wall(): Date {
    return new Date(this.#wallStartMs + this.#nowMs);
  }

  /** Sets the wall clock forward or, by less than 0, back, as NTP does; no time passes. */
  jumpWall(ms: number): void {
    this.#wallStartMs += ms;
  }

  after(ms: number, act: () => void): () => void {
    const sleeper = { atMs: this.#nowMs + ms, act };
    this.#sleepers.push(sleeper);
    return () => {
      this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
    };
  }

  readonly sleep = sleepBy((ms, act) => this.after(ms, act));

  /** The number of pending sleeps and acts. A test waits for these before it advances. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Moves time forward until the promise has settled, by ten minutes at most. */
  async drive<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    promise.then(settle, settle);
    for (let steps = 0; steps < 6_000 && !settled; steps++) await this.advance(100);
    if (!settled) throw new Error("nothing came of it in ten minutes");
    return promise;
  }

  /** Moves time forward, waking each sleeper at its own time and letting it run before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await turn();
    for (;;) {
      const next = this.#sleepers.filter((s) => s.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.act();
      await turn();
    }
    this.#nowMs = endMs;
    await turn();
  }
}

/** Runs everything that is ready. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
