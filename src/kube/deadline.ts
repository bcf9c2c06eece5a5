import type { Clock } from "#base";

/**
 * A signal that aborts when `parent` does, or with `reason()` after `ms` of the injected clock; dispose it when the work
 * is done. (`withTimeout` of `#base` is the same on real time.)
 */
export function deadline(clock: Clock, parent: AbortSignal, ms: number, reason: () => Error): AbortSignal & Disposable {
  const controller = new AbortController();
  const done = new AbortController();
  const forward = () => controller.abort(parent.reason);
  if (parent.aborted) forward();
  else parent.addEventListener("abort", forward, { once: true });
  clock.sleep(ms, { signal: done.signal }).then(
    () => controller.abort(reason()),
    () => {},
  );
  return Object.assign(controller.signal, {
    [Symbol.dispose]: () => {
      done.abort();
      parent.removeEventListener("abort", forward);
    },
  });
}
