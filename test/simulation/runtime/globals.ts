import { getEventListeners } from "node:events";
import { currentIfAny } from "./process.ts";
import type { Happening } from "./time.ts";

interface Timer extends Disposable {
  ref(): Timer;
  unref(): Timer;
  refresh(): Timer;
  readonly happening: Happening;
}

/**
 * While it lasts, what the language itself offers is simulated for code of simulated processes: timers of the global scope
 * follow the world's time, `Math.random` the process' seed. Code outside keeps the real ones.
 */
export function simulateGlobals(): Disposable {
  const { setTimeout, clearTimeout, setImmediate } = globalThis;
  const { random } = Math;
  const { timeout, any } = AbortSignal;
  const combined: WeakRef<AbortSignal>[] = [];
  const set = (act: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
    const process = currentIfAny();
    if (process === undefined) return setTimeout(act, ms, ...args);
    const happening = process.after(ms, () => act(...args));
    const timer: Timer = {
      happening,
      ref: () => timer,
      unref: () => timer,
      refresh: () => timer,
      [Symbol.dispose]: () => {
        happening.cancelled = true;
      },
    };
    return timer;
  };
  const clear = (timer: Timer | NodeJS.Timeout | undefined) => {
    if (timer !== undefined && "happening" in timer) timer.happening.cancelled = true;
    else clearTimeout(timer);
  };
  Object.assign(globalThis, {
    setTimeout: set,
    clearTimeout: clear,
    setImmediate: (act: (...args: unknown[]) => void, ...args: unknown[]) =>
      currentIfAny() === undefined ? setImmediate(act, ...args) : set(act, 0, ...args),
  });
  Math.random = () => currentIfAny()?.random.next() ?? random();
  AbortSignal.timeout = (ms) => {
    const process = currentIfAny();
    if (process === undefined) return timeout.call(AbortSignal, ms);
    const late = new AbortController();
    process.after(ms, () => late.abort(new Error(`timed out after ${ms} ms`)));
    return late.signal;
  };
  AbortSignal.any = (signals) => {
    const signal = any.call(AbortSignal, signals);
    combined.push(new WeakRef(signal));
    return signal;
  };
  return {
    [Symbol.dispose]: () => {
      // Node keeps a combined signal for as long as somebody listens, and killed processes never cease to: they would all stay.
      for (const ref of combined) {
        const signal = ref.deref();
        if (signal === undefined) continue;
        for (const listener of getEventListeners(signal, "abort"))
          signal.removeEventListener("abort", listener as () => void);
      }
      Object.assign(globalThis, { setTimeout, clearTimeout, setImmediate });
      Math.random = random;
      Object.assign(AbortSignal, { timeout, any });
    },
  };
}
