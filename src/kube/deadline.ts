import type { Clock, Signal } from "#base";

/** A time limit that can be moved. Dispose it when the work is done: it holds a timer and a listener. */
export interface Deadline extends Signal, Disposable {
  /** Moves the end to `ms` from now. */
  postpone(ms: number): void;
}

/** `signal` aborts when `parent` does, or with `reason()` after `ms` of the injected clock, whichever is first. */
export function deadline(clock: Clock, parent: AbortSignal, ms: number, reason: () => Error): Deadline {
  const controller = new AbortController();
  let untilMs = clock.monotonicMs() + ms;
  let cancel = () => {};
  const wait = (leftMs: number) => {
    if (leftMs <= 0) controller.abort(reason());
    // A postponed end is met when the former one passes: most deadlines are moved often and never reached.
    else cancel = clock.after(leftMs, () => wait(untilMs - clock.monotonicMs()));
  };
  const onParent = () => controller.abort(parent.reason);
  if (parent.aborted) onParent();
  else parent.addEventListener("abort", onParent, { once: true });
  wait(ms);
  return {
    signal: controller.signal,
    postpone: (toMs) => {
      untilMs = clock.monotonicMs() + toMs;
    },
    [Symbol.dispose]: () => {
      cancel();
      parent.removeEventListener("abort", onParent);
    },
  };
}
