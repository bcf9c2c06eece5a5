import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LabelSelector } from "#api";
import { formatLabelsFor, formatSelector, matchSelector } from "./selector.ts";

function expression(operator: string, values?: readonly string[]): LabelSelector {
  return { matchExpressions: [{ key: "zone", operator, ...(values && { values }) }] };
}

describe("matchSelector()", () => {
  it("knows each operator, with the label there, other and absent", () => {
    const [there, other, absent] = [{ zone: "a" }, { zone: "b" }, {}];
    const table: readonly [LabelSelector, boolean, boolean, boolean][] = [
      [{}, true, true, true],
      [{ matchLabels: { zone: "a" } }, true, false, false],
      [expression("In", ["a", "c"]), true, false, false],
      [expression("NotIn", ["a"]), false, true, true],
      [expression("Exists"), true, true, false],
      [expression("DoesNotExist"), false, false, true],
      [expression("Near", ["a"]), false, false, false],
      [{ matchLabels: { zone: "a" }, ...expression("NotIn", ["a"]) }, false, false, false],
    ];
    for (const [selector, ...want] of table) {
      assert.deepEqual(
        [there, other, absent].map((labels) => matchSelector(selector, labels)),
        want,
        JSON.stringify(selector),
      );
    }
  });

  it("does not take what every object has for a label", () => {
    assert.equal(matchSelector({ matchExpressions: [{ key: "constructor", operator: "Exists" }] }, {}), false);
  });
});

describe("formatSelector()", () => {
  it("writes selectors as kubectl does, and what was found beside them", () => {
    const selector: LabelSelector = {
      matchLabels: { app: "web" },
      matchExpressions: [
        { key: "zone", operator: "In", values: ["a", "b"] },
        { key: "rack", operator: "NotIn", values: ["r1"] },
        { key: "disk", operator: "Exists" },
        { key: "gpu", operator: "DoesNotExist" },
      ],
    };
    assert.equal(formatSelector(selector), "app=web,zone in (a,b),rack!=r1,disk,!gpu");
    assert.equal(
      formatLabelsFor(selector, { app: "db", other: "x" }),
      "app=db,zone absent,rack absent,disk absent,gpu absent",
    );
    assert.match(formatSelector(expression("Near")), /zone 'Near' \(not an operator/);
  });
});
