import type { Clock, Signal } from "#base";
import { isRetryable, retry } from "#kube";

/**
 * An overloaded API server refuses requests and asks to wait for up to 32 s. An ADD has 30 s in all, so it tries again after
 * this time at the latest. That costs the server little.
 */
const askedMsMax = 3_000;

/** Repeats `act` while that may help. After the deadline it throws the last failure, which says more than "too late". */
export async function persist<T>(
  act: (o: Signal) => Promise<T>,
  options: Signal & { readonly clock: Clock; readonly retryable?: (error: unknown) => boolean },
): Promise<T> {
  const { signal, clock, retryable = isRetryable } = options;
  let last: unknown;
  const worthIt = (error: unknown) => {
    last = error;
    return retryable(error);
  };
  try {
    return await retry(act, { signal, clock, retryable: worthIt, firstMs: 50, maxMs: 2_000, askedMsMax });
  } catch (error) {
    throw signal.aborted && last !== undefined ? last : error;
  }
}
