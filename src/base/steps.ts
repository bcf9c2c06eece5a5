import { abortable, type Clock, never, type Signal } from "./clock.ts";
import { SpiderError } from "./errors.ts";

/**
 * The stages of an ADD and of a DEL, in the order in which they are reported. Flight records, fail points and crash
 * tests all iterate this table.
 */
export const stages = [
  "queue",
  "pod",
  "networks",
  "select",
  "claim",
  "link",
  "port",
  "ofport",
  "addresses",
  "coordinator",
  "record",
  "reply",
] as const;
/** The name that steps of one kind share in flight records, metrics and fail points. */
export type Stage = (typeof stages)[number];

/** One stage as it ran. Times are milliseconds since the call arrived. */
export interface Span {
  readonly stage: Stage;
  /** What the stage worked on, where one call runs it more than once: a NIC or a family. */
  readonly of: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
}

/** Called at `<stage>:before` and `<stage>:after`; crash tests end the process or throw here. */
export type FailPoint = (point: `${Stage}:${"before" | "after"}`) => void;

export interface StepsOptions {
  readonly clock: Clock;
  /** The call's own deadline and cancellation. */
  readonly signal: AbortSignal;
  readonly failPoint?: FailPoint;
  /** Gives a stage that blocks the thread its turn among those of other calls. @default at once */
  readonly turn?: (options: Signal) => Promise<Disposable>;
  /** Told of each undo that failed; the cause of the abort is never replaced by it. */
  readonly onUndoError?: (stage: Stage, error: unknown) => void;
}

/** `undo` is registered before the act starts, and gets what the act returned, or undefined where it failed. */
export interface RunOptions<T> {
  /** What the stage works on, where one call runs it more than once: a NIC or a family. */
  readonly of?: string;
  readonly undo?: (done: T | undefined) => Promise<void> | void;
  /** It blocks the thread for as long as a tenth of a call: hundreds of calls at once take turns, fairly. */
  readonly blocking?: true;
}

interface UndoEntry {
  readonly stage: Stage;
  readonly undo: () => Promise<void>;
}

const givenUp = new SpiderError("GIVEN_UP", "another part of the call has failed");

/**
 * One call's life. `run` is at once a span of the flight record, the two fail points of its stage, and an undo entry
 * that is registered before the act starts, because the outcome of an act that was cut off is unknown.
 */
export class Steps {
  readonly signal: AbortSignal;
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #failPoint: FailPoint | undefined;
  readonly #turn: StepsOptions["turn"];
  readonly #onUndoError: (stage: Stage, error: unknown) => void;
  readonly #spans: Span[] = [];
  /** Aborts what still runs when the call is given up, by its caller or from within. */
  readonly #given = new AbortController();
  readonly #letGo: () => void;
  /** Every stage so far. */
  readonly #running: Promise<unknown>[] = [];
  readonly #beside: { readonly of: string; readonly running: Promise<unknown> }[] = [];
  readonly #owned = new DisposableStack();
  #undo: UndoEntry[] = [];
  #ended = false;

  constructor({ clock, signal, failPoint, turn, onUndoError }: StepsOptions) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
    this.signal = this.#given.signal;
    // Not AbortSignal.any(): its bookkeeping of weak references costs as much as a stage.
    const forward = () => this.#given.abort(signal.reason);
    if (signal.aborted) forward();
    else signal.addEventListener("abort", forward, { once: true });
    this.#letGo = () => signal.removeEventListener("abort", forward);
    this.#failPoint = failPoint;
    this.#turn = turn;
    this.#onUndoError = onUndoError ?? (() => {});
  }

  /**
   * Runs one stage. `undo` is called by `abort`, newest first, with what `act` returned, or with undefined when the
   * outcome is unknown: it must cope with both.
   */
  run<T>(stage: Stage, act: (options: Signal) => Promise<T> | T, options: RunOptions<T> = {}): Promise<T> {
    const running = this.#run(stage, act, options);
    running.catch(() => {}); // Nobody may have come to wait for it when the call fails otherwise.
    this.#running.push(running);
    return running;
  }

  async #run<T>(
    stage: Stage,
    act: (options: Signal) => Promise<T> | T,
    { of = "", undo, blocking }: RunOptions<T>,
  ): Promise<T> {
    using _turn = blocking === true ? await this.#takeTurn(of) : undefined;
    if (this.#ended) throw new SpiderError("STEPS_ENDED", `stage ${stage} was started after its call had ended`);
    this.signal.throwIfAborted();
    let done: T | undefined;
    if (undo !== undefined) this.#undo.push({ stage, undo: async () => undo(done) });
    const startMs = this.#now();
    let failed = true;
    try {
      this.#failPoint?.(`${stage}:before`);
      done = await act({ signal: this.signal });
      this.#failPoint?.(`${stage}:after`);
      failed = false;
      return done;
    } finally {
      this.#spans.push({ stage, of, startMs, endMs: this.#now(), failed });
    }
  }

  /** Waiting for it is told as part of the queue. */
  async #takeTurn(of: string): Promise<Disposable | undefined> {
    if (this.#turn === undefined) return undefined;
    const startMs = this.#now();
    const turn = await this.#turn({ signal: this.signal });
    if (this.#now() - startMs > 0.1)
      this.#spans.push({ stage: "queue", of, startMs, endMs: this.#now(), failed: false });
    return turn;
  }

  /** Starts a stage on which nothing that follows depends: it only has to be done before the answer (`settled`). */
  beside<T>(stage: Stage, act: (options: Signal) => Promise<T> | T, options: RunOptions<T> = {}): void {
    // Its failure is thrown by `settled`, or of no interest to a call that failed otherwise.
    this.#beside.push({ of: options.of ?? "", running: this.run(stage, act, options) });
  }

  /** Disposes it when the call has ended, after what it undoes. */
  own<T extends Disposable>(resource: T): T {
    return this.#owned.use(resource);
  }

  /**
   * Waits for all stages that were started beside; throws the first failure.
   *
   * @param told makes the error that is thrown, by what the stage worked on
   */
  async settled(told: (error: unknown, of: string) => unknown = (error) => error): Promise<void> {
    await this.all(
      ...this.#beside.map(({ of, running }) =>
        running.catch((error) => {
          throw told(error, of);
        }),
      ),
    );
  }

  /** Waits for ALL to settle, then throws the first failure (in argument order) or returns every value. */
  async all<T extends readonly Promise<unknown>[]>(
    ...running: T
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    const settled = await Promise.allSettled(running);
    for (const one of settled) if (one.status === "rejected") throw one.reason;
    return settled.map((one) => (one as PromiseFulfilledResult<unknown>).value) as {
      -readonly [K in keyof T]: Awaited<T[K]>;
    };
  }

  /** The call succeeded: its side effects stay. */
  commit(): void {
    this.#ended = true;
    this.#undo = [];
    this.#letGo();
    this.#owned.dispose();
  }

  /** The call failed: cuts short what still runs, waits for it, then undoes newest first. Never throws; failures of undo are reported aside. */
  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#given.abort(givenUp);
    for (let settled = 0; settled < this.#running.length; ) {
      settled = this.#running.length;
      await Promise.allSettled(this.#running);
    }
    this.#ended = true;
    this.#letGo();
    const entries = this.#undo.reverse();
    this.#undo = [];
    for (const { stage, undo } of entries) {
      try {
        await abortable(undo(), never);
      } catch (error) {
        this.#onUndoError(stage, error);
      }
    }
    this.#owned.dispose();
  }

  /** The spans so far, by their start. */
  get spans(): readonly Span[] {
    return this.#spans.toSorted((a, b) => a.startMs - b.startMs);
  }

  #now(): number {
    return this.#clock.monotonicMs() - this.#startMs;
  }
}
