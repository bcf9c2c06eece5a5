import { backoffMs, type Clock, type Signal } from "#base";
import { ApiStatusError, ApiUnreachableError, surelyUnchanged } from "./errors.ts";

interface RetryOptions extends Signal {
  readonly clock: Clock;
  /** @default {@link isRetryable} */
  readonly retryable?: (error: unknown) => boolean;
  /** The ceiling of the first delay. @default 200 */
  readonly firstMs?: number;
  /** @default 5000 */
  readonly maxMs?: number;
  /** The longest Retry-After that is obeyed, for callers that have no time for more. @default any */
  readonly askedMsMax?: number;
  /** @default Math.random */
  readonly random?: () => number;
}

/**
 * True where doing the same again is safe and may help: the server asked for it (429, 503 with Retry-After), nothing
 * was sent, or it was a read that met a 5xx or a broken connection. A change whose outcome is unknown is not: its
 * caller must know what a repetition means.
 */
export function isRetryable(error: unknown): boolean {
  if (error instanceof ApiUnreachableError) return error.outcome !== "unknown";
  if (!(error instanceof ApiStatusError)) return false;
  if (error.status === 429 || (error.status === 503 && error.retryAfterMs !== undefined)) return true;
  return error.status >= 500 && (error.details["verb"] === "get" || error.details["verb"] === "list");
}

/**
 * For changes that do no harm when they are made twice (a name is created once, an update holds for one resourceVersion, a
 * view says the same again): true also where the outcome is unknown.
 */
export function mayRepeat(error: unknown): boolean {
  return isRetryable(error) || !surelyUnchanged(error);
}

/**
 * Repeats `act` with jittered backoff, and never before the server's Retry-After, until it succeeds, fails in another
 * way, or the signal aborts; then the last error of `act` is thrown, which says more than the signal's reason.
 */
export async function retry<T>(act: (o: Signal) => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, clock, retryable = isRetryable, random = Math.random } = options;
  const { firstMs = 200, maxMs = 5_000, askedMsMax = Number.POSITIVE_INFINITY } = options;
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await act({ signal });
    } catch (error) {
      if (signal.aborted || !retryable(error)) throw error;
      const askedMs = error instanceof ApiStatusError ? Math.min(error.retryAfterMs ?? 0, askedMsMax) : 0;
      // Jitter comes on top of what was asked: all who were told "1 s" must not come back in the same millisecond.
      const delayMs = askedMs + backoffMs(attempt, { firstMs, maxMs, random });
      const woken = await clock.sleep(delayMs, { signal }).then(
        () => true,
        () => false,
      );
      if (!woken) throw error;
    }
  }
}
