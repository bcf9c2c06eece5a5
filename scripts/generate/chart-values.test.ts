import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readChartValues } from "./chart-values.ts";

describe("readChartValues()", () => {
  it("reads path, default, description, and marks of values without effect", () => {
    const text = "a:\n  # -- First.\n  b: 1\n  # -- [no effect] Second.\n  c:\n    d: x\n# -- Third.\ne: []\n";
    assert.deepEqual(readChartValues(text), [
      { path: "a.b", default: 1, description: "First.", inert: undefined },
      { path: "a.c", default: { d: "x" }, description: "Second.", inert: "no effect" },
      { path: "e", default: [], description: "Third.", inert: undefined },
    ]);
  });

  it("requires a description of every value", () => {
    assert.throws(() => readChartValues("a:\n  b: 1\n"), /a\.b in values\.yaml has no description/);
  });
});
