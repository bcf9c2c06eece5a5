import { type Clock, type Signal, SpiderError } from "#base";

export interface RetryOptions extends Signal {
  readonly clock: Clock;
  /** @default {@link isRetryable} */
  readonly retryable?: (error: unknown) => boolean;
  /** @default 200 */
  readonly firstMs?: number;
  /** @default 5000 */
  readonly maxMs?: number;
  readonly random?: () => number;
}

/** True where doing the same again is safe and may help: 429, 503 and their like, and requests that changed nothing. */
export function isRetryable(_error: unknown): boolean {
  throw new SpiderError("NOT_YET", "not yet");
}

/**
 * Repeats `act` with jittered backoff, and not before the server's Retry-After, until it succeeds, fails otherwise, or
 * the signal aborts. In the last case the error of the last attempt is thrown, if there was one.
 */
export async function retry<T>(_act: (o: Signal) => Promise<T>, _options: RetryOptions): Promise<T> {
  throw new SpiderError("NOT_YET", "not yet");
}
