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
  /** The NIC or family that the stage worked on, if a call runs the stage more than once. */
  readonly of: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
}

/**
 * Called at `<stage>:before` and `<stage>:after`; where a call is undone, at `<stage>:undo` and `<stage>:undone` of each entry.
 * Crash tests end the process or throw here.
 */
export type FailPoint = (point: `${Stage}:${"before" | "after" | "undo" | "undone"}`) => void;

/** A call's clock and deadline, and who hears of its stages. */
export interface StepsOptions {
  readonly clock: Clock;
  /** The call's own deadline and cancellation. */
  readonly signal: AbortSignal;
  readonly failPoint?: FailPoint;
  /** Gives a stage that blocks the thread its turn among those of other calls. @default at once */
  readonly turn?: (options: Signal) => Promise<Disposable>;
  /** Called for each undo that fails; such an error never replaces the cause of the abort. */
  readonly onUndoError?: (stage: Stage, error: unknown) => void;
}

/** `undo` is registered before the act starts. It gets the act's result, or undefined if the act failed. */
interface RunOptions<T> {
  /** The NIC or family that the stage works on, if a call runs the stage more than once. */
  readonly of?: string;
  readonly undo?: (done: T | undefined) => Promise<void> | void;
  /** The stage blocks the thread for up to a tenth of a call, so that concurrent calls must take fair turns. */
  readonly blocking?: true;
}

interface UndoEntry {
  readonly stage: Stage;
  readonly undo: (done: unknown) => Promise<void> | void;
  done: unknown;
}

/** A stage that has begun. */
interface Begun extends Omit<Span, "endMs" | "failed"> {
  /** Undefined while it runs. */
  endMs: number | undefined;
  failed: boolean;
}

const givenUp = new SpiderError("GIVEN_UP", "another part of the call has failed");

/**
 * The steps of one call. Each `run` makes a span of the flight record, passes the two fail points of its stage, and registers an
 * undo entry before the act starts, because the outcome of an interrupted act is unknown.
 */
export class Steps {
  readonly signal: AbortSignal;
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #failPoint: FailPoint | undefined;
  readonly #turn: StepsOptions["turn"];
  readonly #onUndoError: (stage: Stage, error: unknown) => void;
  /** Every stage so far, in the order in which they began. */
  readonly #begun: Begun[] = [];
  /** Aborts running stages when the call is given up, by its caller or by `abort`. */
  readonly #given = new AbortController();
  readonly #acts: Signal;
  readonly #letGo: () => void;
  readonly #running: Promise<unknown>[] = [];
  readonly #beside: { readonly of: string; readonly running: Promise<unknown> }[] = [];
  readonly #owned = new DisposableStack();
  #undo: UndoEntry[] = [];
  #ended = false;

  constructor({ clock, signal, failPoint, turn, onUndoError }: StepsOptions) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
    this.signal = this.#given.signal;
    this.#acts = { signal: this.signal };
    // AbortSignal.any() would cost as much as a stage, because of its weak references.
    const forward = () => this.#given.abort(signal.reason);
    if (signal.aborted) forward();
    else signal.addEventListener("abort", forward);
    this.#letGo = () => signal.removeEventListener("abort", forward);
    this.#failPoint = failPoint;
    this.#turn = turn;
    this.#onUndoError = onUndoError ?? (() => {});
  }

  /**
   * Runs one stage. `abort` calls `undo`, newest first, with the result of `act`, or with undefined if the outcome is unknown:
   * it must handle both.
   */
  run<T>(stage: Stage, act: (options: Signal) => Promise<T> | T, options: RunOptions<T> = {}): Promise<T> {
    const running = options.blocking === true ? this.#inTurn(stage, act, options) : this.#run(stage, act, options);
    running.catch(() => {}); // If another stage fails first, nobody may ever await this one.
    this.#running.push(running);
    return running;
  }

  async #inTurn<T>(stage: Stage, act: (options: Signal) => Promise<T> | T, options: RunOptions<T>): Promise<T> {
    using _turn = await this.#takeTurn(options.of);
    return await this.#run(stage, act, options);
  }

  async #run<T>(stage: Stage, act: (options: Signal) => Promise<T> | T, { of = "", undo }: RunOptions<T>): Promise<T> {
    if (this.#ended) throw new SpiderError("STEPS_ENDED", `stage ${stage} was started after its call had ended`);
    this.signal.throwIfAborted();
    const entry = undo && { stage, undo: undo as UndoEntry["undo"], done: undefined as unknown };
    if (entry !== undefined) this.#undo.push(entry);
    const span: Begun = { stage, of, startMs: this.#now(), endMs: undefined, failed: true };
    this.#begun.push(span);
    try {
      this.#failPoint?.(`${stage}:before`);
      const done = await act(this.#acts);
      if (entry !== undefined) entry.done = done;
      this.#failPoint?.(`${stage}:after`);
      span.failed = false;
      return done;
    } finally {
      span.endMs = this.#now();
    }
  }

  /** Waits for a turn. The flight record counts this as part of the queue. */
  async #takeTurn(of = ""): Promise<Disposable | undefined> {
    if (this.#turn === undefined) return undefined;
    const startMs = this.#now();
    const turn = await this.#turn(this.#acts);
    const endMs = this.#now();
    if (endMs - startMs > 0.1) this.#begun.push({ stage: "queue", of, startMs, endMs, failed: false });
    return turn;
  }

  /** Starts a stage on which no later stage depends: it only has to end before the answer (`settled`). */
  beside<T>(stage: Stage, act: (options: Signal) => Promise<T> | T, options: RunOptions<T> = {}): void {
    // `settled` throws its failure, unless the call has failed for another reason.
    this.#beside.push({ of: options.of ?? "", running: this.run(stage, act, options) });
  }

  /** Disposes the resource when the call has ended, after any undo. */
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

  /** After a failure: aborts running stages, waits for them, then undoes newest first. Never throws: see `onUndoError`. */
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
    for (const { stage, undo, done } of entries) {
      try {
        this.#failPoint?.(`${stage}:undo`);
        await abortable(Promise.resolve(undo(done)), never);
        this.#failPoint?.(`${stage}:undone`);
      } catch (error) {
        this.#onUndoError(stage, error);
      }
    }
    this.#owned.dispose();
  }

  /** The spans so far, ordered by start. */
  get spans(): readonly Span[] {
    return this.#begun.filter(isEnded).sort((a, b) => a.startMs - b.startMs);
  }

  /** The stages that have begun and not ended, with what they work on, for people. */
  get unfinished(): readonly string[] {
    const open = this.#begun.filter((stage) => !isEnded(stage));
    return open.map(({ stage, of }) => (of === "" ? stage : `${stage} ${of}`));
  }

  #now(): number {
    return this.#clock.monotonicMs() - this.#startMs;
  }
}

function isEnded(stage: Begun): stage is Begun & Span {
  return stage.endMs !== undefined;
}
