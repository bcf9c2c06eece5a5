import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planJob } from "./job.ts";
import type { Job, Pod } from "./kinds.ts";

const pods = (...phases: readonly string[]) => phases.map((phase) => ({ metadata: {}, status: { phase } }) as Pod);
const plan = (spec: object, ...phases: readonly string[]) => planJob({ spec } as Job, pods(...phases));

describe("what a Job does next", () => {
  it("has one Pod that has to succeed, unless told otherwise", () => {
    assert.deepEqual(plan({}), { create: 1 });
    assert.deepEqual(plan({}, "Running"), { create: 0 });
    assert.deepEqual(plan({}, "Succeeded"), { create: 0, end: "Complete" });
  });
  it("has so many Pods at once, and no more than are still needed", () => {
    const spec = { parallelism: 2, completions: 3 };
    assert.deepEqual(plan(spec), { create: 2 });
    assert.deepEqual(plan(spec, "Succeeded", "Succeeded"), { create: 1 });
    assert.deepEqual(plan(spec, "Succeeded", "Succeeded", "Succeeded"), { create: 0, end: "Complete" });
  });
  it("replaces what fails, until it gives up", () => {
    assert.deepEqual(plan({ completions: 1, backoffLimit: 1 }, "Failed"), { create: 1 });
    assert.deepEqual(plan({ completions: 1, backoffLimit: 1 }, "Failed", "Failed"), { create: 0, end: "Failed" });
  });
  it("makes no Pods any more once it is over, whatever becomes of those that it had", () => {
    const status = { conditions: [{ type: "Complete", status: "True" }] };
    assert.deepEqual(planJob({ spec: {}, status } as unknown as Job, []), { create: 0, end: "Complete" });
  });
});
