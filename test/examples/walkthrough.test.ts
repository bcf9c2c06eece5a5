import assert from "node:assert/strict";
import { it } from "node:test";
import { Stage } from "../../lab/scenarios/stage.ts";
import { playWalkthrough } from "../../lab/scenarios/walkthrough.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { manifests } from "../stage.ts";

// With the oldest kubectl; test/examples/guides.test.ts types the walk-through with the newest.
it("the walk-through passes with kubectl 1.32", async () => {
  const lines: string[] = [];
  await using lab = await launchProductLab({ nodes: 2 });
  const stage = new Stage({ lab, kubectl: await findKubectl("1.32"), print: (line) => lines.push(line) });
  await playWalkthrough(stage, { manifests });
  assert.deepEqual(stage.failures, [], lines.join("\n"));
  assert.equal(stage.passed, 25);
});
