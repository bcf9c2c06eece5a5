import assert from "node:assert/strict";
import { inspect } from "node:util";

interface UntilOptions {
  /** Far more than it ever takes: only what never comes waits so long. @default 30 s */
  readonly withinMs?: number;
  /** Between two looks. @default 10 ms */
  readonly everyMs?: number;
}

/**
 * Looks again and again until `is` holds for what is seen, and returns that. For what another process or the kernel does in
 * its own time, where nothing tells of it. Throws AssertionError with `what` was waited for and what was seen last.
 */
export async function until<T, S extends T = T>(
  what: string,
  look: () => T | Promise<T>,
  is: ((seen: T) => seen is S) | ((seen: T) => boolean),
  { withinMs = 30_000, everyMs = 10 }: UntilOptions = {},
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
