import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { certificateScenarios } from "./testing/killed-leader/certificates.ts";
import { collectorScenarios } from "./testing/killed-leader/collector.ts";
import { runScenario } from "./testing/killed-leader/leader.ts";
import { ledgerScenarios } from "./testing/killed-leader/ledger.ts";
import { networkScenarios } from "./testing/killed-leader/networks.ts";
import { poolScenarios } from "./testing/killed-leader/pools.ts";
import type { Scenario } from "./testing/killed-leader/scenario.ts";
import { subnetScenarios } from "./testing/killed-leader/subnets.ts";

const scenarios: readonly Scenario[] = [
  ...collectorScenarios,
  ...poolScenarios,
  ...subnetScenarios,
  ...networkScenarios,
  ...ledgerScenarios,
  ...certificateScenarios,
];

// For late writes of a leader that was only paused see collector/failover.test.ts.
describe("a leader killed before or after any write", () => {
  for (const scenario of scenarios) {
    const { reconcile, does, restores = false } = scenario;
    it(`of ${reconcile} is followed by one that completes the work: ${does}`, async () => {
      const undisturbed = await runScenario(scenario);
      assert.ok(undisturbed.writes.length > 0, "it has nothing to write");
      if (!restores) assert.notDeepEqual(undisturbed.result, undisturbed.before);
      for (const [at, write] of undisturbed.writes.entries()) {
        // The state before a write is the state after the previous one, so only the first needs "before".
        for (const when of at === 0 ? (["before", "after"] as const) : (["after"] as const)) {
          const { result } = await runScenario(scenario, { at, when });
          assert.deepEqual(result, undisturbed.result, `killed ${when} write ${at}, ${write}`);
        }
      }
    });
  }

  it("is tried in every reconcile of the controller", () => {
    const loops = ["ledger-epoch", "take-over", "outdated-endpoints"];
    const writesOnlyEvents = ["workload-annotations", "network-keys"];
    const folder = fileURLToPath(new URL(".", import.meta.url));
    const controllers = globSync("**/*.ts", { cwd: folder, exclude: ["**/*.test.ts", "testing/**"] })
      .map((file) => readFileSync(join(folder, file), "utf8"))
      .filter((source) => source.includes("ControllerOptions"))
      .flatMap((source) => Array.from(source.matchAll(/[{\s]name: "([a-z-]+)",/g), ([, name = ""]) => name))
      .filter((name) => !writesOnlyEvents.includes(name));
    assert.deepEqual(new Set(scenarios.map(({ reconcile }) => reconcile)), new Set([...controllers, ...loops]));
  });
});
