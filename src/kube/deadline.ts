import type { Clock, Signal } from "#base";

/** A time limit that can be moved. Dispose it when the work is done: it holds a timer and a listener. Its signal aborts then, too. */
export interface Deadline extends Signal, Disposable {
  /** Moves the end to `ms` from now. */
  postpone(ms: number): void;
}

/** One for all: nobody sees it, and making an error costs more than the rest of a deadline. */
const ended = new Error("the work is done");

/** `signal` aborts when `parent` does, or with `reason()` after `ms` of the injected clock, whichever is first. */
export function deadline(clock: Clock, parent: AbortSignal, ms: number, reason: () => Error): Deadline {
  const controller = new AbortController();
  const { signal } = controller;
  let untilMs = clock.monotonicMs() + ms;
  const wait = async () => {
    // A postponed end is met when the former one passes: most deadlines are moved often and never reached.
    for (let leftMs = ms; leftMs > 0; leftMs = untilMs - clock.monotonicMs()) await clock.sleep(leftMs, { signal });
    controller.abort(reason());
  };
  const onParent = () => controller.abort(parent.reason);
  if (parent.aborted) onParent();
  else parent.addEventListener("abort", onParent, { once: true });
  wait().catch(() => {});
  return {
    signal,
    postpone: (toMs) => {
      untilMs = clock.monotonicMs() + toMs;
    },
    [Symbol.dispose]: () => {
      parent.removeEventListener("abort", onParent);
      controller.abort(ended);
    },
  };
}
