import { type Signal, SpiderError } from "#base";
import { ApiStatusError, ApiUnreachableError, hasReason, retry } from "#kube";
import type { Deps } from "./deps.ts";

/** Retries while the server, a kind or the controller's admission is not there yet. Throws errors that a retry would repeat. */
export function untilItWorks<T>({ clock, say }: Deps, act: (o: Signal) => Promise<T>, o: Signal): Promise<T> {
  let told = "";
  const retryable = (error: unknown): boolean => {
    if (isFinal(error)) return false;
    const sentence = error instanceof ApiStatusError ? error.serverMessage : String(error);
    if (sentence !== told) say(`waiting: ${sentence}`);
    told = sentence;
    return true;
  };
  return retry(act, { ...o, clock, retryable, firstMs: 500, maxMs: 2_000 });
}

/** As `untilItWorks`, but returns false if the object of `act` does not exist. */
export function unlessGone(act: (o: Signal) => Promise<unknown>, deps: Deps, o: Signal): Promise<boolean> {
  return untilItWorks(
    deps,
    (call) =>
      act(call).then(
        () => true,
        (error: unknown) => {
          if (!hasReason(error, "NotFound")) throw error;
          return false;
        },
      ),
    o,
  );
}

/** True if the server refused the request, or our own input is wrong: a retry would fail in the same way. */
export function isFinal(error: unknown): boolean {
  if (error instanceof ApiUnreachableError) return false;
  if (error instanceof ApiStatusError) return error.status < 500 && ![404, 408, 409, 429].includes(error.status);
  return error instanceof SpiderError;
}
