import assert from "node:assert/strict";
import { inspect } from "node:util";

interface UntilOptions {
  /** Longer than the condition ever takes: only a failing test waits this long. @default 2 min */
  readonly withinMs?: number;
  /** Time between two looks. @default 10 ms */
  readonly everyMs?: number;
}

/**
 * Looks until `is` holds for the value seen, and returns that. For changes that another process or the kernel makes without
 * notice. Throws AssertionError with `what` was waited for and the value seen last.
 */
export async function until<T, S extends T = T>(
  what: string,
  look: () => T | Promise<T>,
  is: ((seen: T) => seen is S) | ((seen: T) => boolean),
  { withinMs = 120_000, everyMs = 10 }: UntilOptions = {},
): Promise<S> {
  for (const endMs = performance.now() + withinMs; ; ) {
    const seen = await look();
    if (is(seen)) return seen as S;
    if (performance.now() > endMs) {
      assert.fail(`not within ${withinMs / 1000} s: ${what}; last seen: ${inspect(seen, { depth: 6 })}`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
