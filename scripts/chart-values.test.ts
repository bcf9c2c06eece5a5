import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ipamDashboard } from "./chart-dashboard.ts";
import { valuesSchema } from "./chart-schema.ts";
import { chartFolder, generatedTemplate, readChartValues, valuesPage } from "./chart-values.ts";

describe("what is generated from the chart's values", () => {
  const file = (path: string) => readFileSync(new URL(path, chartFolder), "utf8");

  it("is committed as generated (run `npm run generate` after a change)", () => {
    assert.equal(file("templates/_generated.tpl"), generatedTemplate());
    assert.equal(file("values.schema.json"), valuesSchema());
    assert.equal(file("files/dashboards/ipam.json"), ipamDashboard());
    assert.equal(file("../../docs/reference/values.md"), valuesPage());
  });
});

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
