import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { findKubectl } from "../../lab/kubectl.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { playWalkthrough } from "../../lab/scenarios/walkthrough.ts";
import { manifests, type Suite, startSuite } from "./suite.ts";

describe("the walk-through, on a real Kubernetes", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("walkthrough");
  });
  after(() => suite[Symbol.asyncDispose]());

  it("goes as the guide says, word for word", async (t) => {
    const lines: string[] = [];
    const stage = new Stage({
      lab: suite.cluster,
      kubectl: await findKubectl("1.35"),
      print: (line) => lines.push(line),
    });
    await playWalkthrough(stage, { manifests });
    t.diagnostic(`${stage.passed} checks`);
    assert.deepEqual(stage.failures, [], lines.join("\n"));
    assert.ok(stage.passed > 20, `only ${stage.passed} checks were made`);
  });
});
