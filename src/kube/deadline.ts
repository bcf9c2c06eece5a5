import { type Clock, type Signal, withTimeout } from "#base";

/** A time limit that can be moved. Dispose it when the work is done: it holds a timer and a listener. */
export interface Deadline extends Signal, Disposable {
  /** Moves the end to `ms` from now. */
  postpone(ms: number): void;
}

/** `signal` aborts when `parent` does, or with `reason()` after `ms` of the injected clock, whichever is first. */
export function deadline(clock: Clock, parent: AbortSignal, ms: number, reason: () => Error): Deadline {
  let untilMs = clock.monotonicMs() + ms;
  // A postponed end is met when the former one passes: most deadlines are moved often and never reached.
  const signal = withTimeout(parent, ms, reason, { clock, leftMs: () => untilMs - clock.monotonicMs() });
  return {
    signal,
    postpone: (toMs) => {
      untilMs = clock.monotonicMs() + toMs;
    },
    [Symbol.dispose]: () => signal[Symbol.dispose](),
  };
}
