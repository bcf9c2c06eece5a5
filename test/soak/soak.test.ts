import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { soak } from "./soak.ts";

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
