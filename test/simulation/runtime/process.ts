import { AsyncLocalStorage } from "node:async_hooks";
import { type Clock, sleepBy } from "#base";
import type { Transport } from "#kube";
import type { Machine } from "../cluster/machine.ts";
import { Random } from "./random.ts";
import type { Happening, Time } from "./time.ts";

interface ProcessOptions {
  readonly time: Time;
  /** `agent n1`, `controller a`: who is told of in traces. */
  readonly name: string;
  readonly seed: string | number;
  /** How far its wall clock is off. */
  readonly skewMs: number;
  /** The machine that it runs on; a controller's has no Pods. */
  readonly machine: Machine;
}

/** What a Promise that never settles is: the fate of all that a killed process waits for. */
const never = () => new Promise<never>(() => {});

/**
 * One process of the simulated cluster: its clock, its randomness, and whether it still runs. A killed process is not told:
 * nothing that it waits for comes any more, and nothing that it does has an effect.
 */
export class Process {
  readonly name: string;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly random: Random;
  /** Set by the world before the program starts. */
  transport: Transport | undefined;
  isDead = false;
  readonly #time: Time;
  #pausedUntilMs = 0;
  readonly #onKill: (() => void)[] = [];

  constructor({ time, name, seed, skewMs, machine }: ProcessOptions) {
    this.name = name;
    this.machine = machine;
    this.#time = time;
    this.random = new Random(seed, name);
    const offMs = this.random.int(1_000_000);
    machine.monotonicOffMs ??= offMs;
    const sleep = sleepBy((ms, act) => this.#alarm(ms, act));
    this.clock = {
      monotonicMs: () => (machine.monotonicOffMs ?? 0) + time.nowMs,
      wall: () => new Date(epochMs + time.nowMs + skewMs),
      after: (ms, act) => this.#alarm(ms, act),
      sleep: (ms, o) => (this.isDead ? never() : sleep(ms, o)),
    };
  }

  kill(): void {
    if (this.isDead) return;
    this.isDead = true;
    for (const act of this.#onKill.splice(0)) act();
  }

  /** What others notice when it is killed: connections break. */
  onKill(act: () => void): void {
    if (this.isDead) act();
    else this.#onKill.push(act);
  }

  /** It gets nothing done and hears nothing for so long (SIGSTOP, a stalled machine); then everything at once. */
  pause(ms: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#time.nowMs + ms);
  }

  /** Ends the pause. */
  resume(): void {
    this.#pausedUntilMs = 0;
  }

  /** Runs `act` as this process. */
  run<T>(act: () => T): T {
    return context.run(this, act);
  }

  /** Lets something reach the process in `ms`: the end of a sleep, an answer. */
  after(ms: number, act: () => void): Happening {
    return this.#time.after(ms, () => this.#reach(act));
  }

  #reach(act: () => void): void {
    if (this.isDead) return;
    const pauseMs = this.#pausedUntilMs - this.#time.nowMs;
    if (pauseMs > 0) this.#time.after(pauseMs, () => this.#reach(act));
    else this.run(act);
  }

  #alarm(ms: number, act: () => void): () => void {
    const alarm = this.after(ms, act);
    return () => {
      alarm.cancelled = true;
    };
  }
}

/** When the world begins. */
export const epochMs = Date.parse("2026-01-01T00:00:00Z");

const context = new AsyncLocalStorage<Process>();

/** The process whose code runs now. Throws where none does. */
export function current(): Process {
  const process = context.getStore();
  if (process === undefined) throw new Error("this runs outside of every simulated process");
  return process;
}

/** {@link current}, or undefined for the code of the test itself. */
export function currentIfAny(): Process | undefined {
  return context.getStore();
}
