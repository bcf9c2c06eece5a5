/** Time as a dependency: tests and simulations inject a manual one (`testing/manual-clock.ts`). */
export interface Clock {
  /** Milliseconds of a clock that never jumps: since the machine's start, so that those of its processes can be compared. */
  monotonicMs(): number;
  wall(): Date;
  /** Runs `act` after `ms`. The returned function cancels it. */
  after(ms: number, act: () => void): () => void;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, options: { readonly signal: AbortSignal }): Promise<void>;
}

/** How long the machine was up when this process started. An interruption between two readings makes it less: the most is right. */
const upBeforeMs = Math.max(
  ...Array.from({ length: 9 }, () => Number(process.hrtime.bigint()) / 1e6 - performance.now()),
);

/** The clock of the machine. */
export const systemClock: Clock = {
  monotonicMs: () => upBeforeMs + performance.now(),
  wall: () => new Date(),
  after,
  sleep: sleepBy(after),
};

/**
 * What had reached the process by then is read first. Where it was kept from running for longer than `ms` (no processor, a machine
 * that was paused), Node asks its timers before its sockets, and what a peer had answered in time would count as late.
 */
function after(ms: number, act: () => void): () => void {
  let read: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    read = setImmediate(act);
  }, ms);
  return () => {
    clearTimeout(timer);
    clearImmediate(read);
  };
}

/** A clock's `sleep`, by its `after`. */
export function sleepBy(after: Clock["after"]): Clock["sleep"] {
  // Rejects with the signal's own reason: most sleeps are aborted, and a new error's stack trace costs 100 µs.
  return (ms, { signal }) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        cancel();
        reject(signal.reason);
      };
      const cancel = after(ms, () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      });
      signal.addEventListener("abort", onAbort);
    });
}

/** Every function that can wait takes one of these, last. */
export interface Signal {
  readonly signal: AbortSignal;
}

/** A signal that never aborts, for work that must not be cut short (undo, release). */
export const never: AbortSignal = new AbortController().signal;

/** When a time limit is met. */
interface LimitOptions {
  /** @default the machine's */
  readonly clock?: Pick<Clock, "after">;
  /** Asked when the time is over: how much longer to wait. @default 0 ms */
  readonly leftMs?: () => number;
}

/** A signal that aborts with `parent`, or after `ms` with the given reason, whichever is first. */
export function withTimeout(
  parent: AbortSignal,
  ms: number,
  reason: () => Error,
  { clock = systemClock, leftMs }: LimitOptions = {},
): AbortSignal & Disposable {
  const controller = new AbortController();
  let cancel: (() => void) | undefined;
  const wait = (forMs: number) => {
    if (forMs <= 0) controller.abort(reason());
    else cancel = clock.after(forMs, over);
  };
  const over = () => wait(leftMs?.() ?? 0);
  const forward = () => controller.abort(parent.reason);
  if (parent.aborted) forward();
  else parent.addEventListener("abort", forward);
  wait(ms);
  return Object.assign(controller.signal, {
    [Symbol.dispose]: () => {
      cancel?.();
      parent.removeEventListener("abort", forward);
    },
  });
}

/**
 * Waits for `wanted`, but at most `ms`. False if that was too short. Rejects as `wanted` does, or with the signal's reason as soon
 * as it aborts. Does not cancel the promise's work.
 */
export async function within(
  wanted: Promise<unknown>,
  ms: number,
  { clock, signal }: Signal & { readonly clock: Clock },
): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const cancel = clock.after(ms, () => resolve(false));
  wanted.then(() => resolve(true), reject);
  try {
    return await abortable(promise, signal);
  } finally {
    cancel();
  }
}

/** The promise's result, or a rejection with the signal's reason as soon as it aborts. Does not cancel the promise's work. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  // One promise instead of the five of Promise.race(): every stage of a call goes through here.
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => {});
      reject(signal.reason);
      return;
    }
    const onAbort = () => reject(signal.reason);
    // Without options, of which Node makes two objects: a signal aborts once anyway.
    signal.addEventListener("abort", onAbort);
    const settled = () => signal.removeEventListener("abort", onAbort);
    promise.then(
      (value) => {
        settled();
        resolve(value);
      },
      (error) => {
        settled();
        reject(error);
      },
    );
  });
}
