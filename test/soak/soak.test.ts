import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isFlat, soak } from "./soak.ts";

/** Of the limits in an ADD the shortest: how long a port of Open vSwitch is waited for. */
const shortestLimitMs = 3_000;

describe("churn with agents that are killed and nodes that are cut off", () => {
  it("loses no address of a living Pod, gives none twice, and leaves nothing", async () => {
    const { churns, kills, left } = await soak({ seconds: 20, width: 4, seed: 1, faults: true });
    assert.deepEqual(
      churns.flatMap(({ violations }) => violations),
      [],
    );
    assert.deepEqual(left, []);
    assert.ok(kills > 0, "no agent was killed");
    for (const { pods } of churns) assert.ok(pods > 0, "no Pod came");
  });
});

describe("churn of Pods with three NICs", () => {
  it("leaves no interface, port, rule, route, neighbour, nf_tables rule, record or claim of 500 Pods, or of as many as come in half a minute", async () => {
    const { churns, left } = await soak({ seconds: 30, podsMax: 250, width: 16, nics: 3, seed: 3, faults: false });
    assert.deepEqual(
      churns.flatMap(({ violations }) => violations),
      [],
    );
    assert.deepEqual(left, []);
    // Where the machine has so much else to do that somebody is too late, the runtime tries again: after as long as that takes.
    const isLate = ([words, { soonestMs }]: readonly [string, { readonly soonestMs: number }]) =>
      / in time|not done within|cannot be reached/.test(words) && soonestMs >= shortestLimitMs;
    assert.deepEqual(
      churns.flatMap(({ failures }) => Object.entries(failures).filter((one) => !isLate(one))),
      [],
    );
    for (const { pods } of churns) assert.ok(pods > 0, "no Pod came");
  });
});

describe("memory in a soak", () => {
  it("is flat where no minute is far from the median, the first two aside", () => {
    assert.ok(isFlat([40, 70, 88, 89, 86, 92]));
    assert.ok(isFlat([40]));
    assert.ok(!isFlat([40, 70, 80, 88, 96, 104]));
  });
});
