import assert from "node:assert/strict";
import { test } from "node:test";
import { playWalkthrough } from "../../lab/scenarios/walkthrough.ts";
import { playInstallation } from "../cluster/product.ts";
import { settled } from "./audit.ts";
import { manifests, startBareSuite } from "./suite.ts";

test("the walk-through goes on a real Kubernetes as the guide says, word for word", async (t) => {
  const lines: string[] = [];
  await using suite = await startBareSuite("walkthrough", { print: (line) => lines.push(line) });
  const { stage } = suite;
  await playInstallation(stage);
  if (stage.failures.length === 0) await playWalkthrough(stage, { manifests });
  await settled(suite);
  t.diagnostic(`${stage.passed} checks`);
  assert.deepEqual(stage.failures, [], lines.join("\n"));
  assert.ok(stage.passed > 20, `only ${stage.passed} checks were made`);
});
