import assert from "node:assert/strict";
import { it } from "node:test";
import { until } from "./until.ts";

it("until() returns the value that fulfils the condition, and reports the last value if none does", async () => {
  let count = 0;
  assert.equal(
    await until(
      "three",
      () => ++count,
      (seen) => seen === 3,
      { everyMs: 1 },
    ),
    3,
  );
  const never = until(
    "four",
    () => ({ count }),
    (seen) => seen.count === 4,
    { withinMs: 5, everyMs: 1 },
  );
  await assert.rejects(never, /not within 0\.005 s: four; last seen: \{ count: 3 \}/);
});
