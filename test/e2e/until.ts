import { until as untilSo } from "../../src/base/testing/until.ts";

/** Asks again until the answer is not undefined. Throws AssertionError with `what` after `seconds`. */
export function until<T>(what: string, look: () => Promise<T | undefined>, seconds = 300): Promise<T> {
  const isThere = (found: T | undefined): found is T & {} => found !== undefined;
  return untilSo(what, look, isThere, { withinMs: seconds * 1000, everyMs: 500 });
}
