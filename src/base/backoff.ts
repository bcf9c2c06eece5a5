/** Exponential growth with full jitter (a delay anywhere between 0 and the ceiling), so that retries do not march in step. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** @default Math.random */
  readonly random?: () => number;
}

/** The delay in milliseconds before attempt `attempt` (0 = the first retry). */
export function backoffMs(attempt: number, { firstMs, maxMs, random = Math.random }: BackoffOptions): number {
  const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * ceiling);
}
