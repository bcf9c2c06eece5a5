import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mistakes, Simulation } from "./index.ts";

/** Fixed, so that a failure is somebody's change; `npm run simulate` looks further. */
const seeds = ["1", "2", "3", "4"];
const stepsMin = 100_000;

describe("the law of addresses", () => {
  it(`holds through ${stepsMin} steps of histories with every fault`, async (t) => {
    const simulation = await Simulation.load();
    let steps = 0;
    for (const seed of seeds) {
      const found = await simulation.search(seed, stepsMin / seeds.length);
      steps += found.steps;
      if (found.failure === undefined) continue;
      const { violation, text } = await simulation.minimise(found.failure);
      assert.fail(`${violation}\nReplay with npm run simulate -- --replay FILE, where FILE has these lines:\n${text}`);
    }
    t.diagnostic(`seeds ${seeds.join(", ")}: ${steps} steps`);
    assert.ok(steps >= stepsMin);
  });

  it("holds where people delete claims and change their labels", async () => {
    const simulation = await Simulation.load();
    const focus = simulation.focusOn(["create", "stateful", "claim-delete", "claim-labels"]);
    const { failure } = await simulation.search("people", 10_000, () => {}, focus);
    if (failure !== undefined) assert.fail((await simulation.minimise(failure)).text);
  });

  it("holds where a virtual machine migrates live, which is refused while its Pod runs, and where that Pod is lost", async () => {
    const simulation = await Simulation.load();
    const { failure } = await simulation.search("virtual", 15_000, () => {}, simulation.focusOn(["virtual"]));
    if (failure !== undefined) assert.fail((await simulation.minimise(failure)).text);
  });

  it("is judged the same way twice: a seed is a history", async () => {
    const simulation = await Simulation.load();
    const once = await simulation.search("again", 4_000);
    assert.deepEqual(await simulation.search("again", 4_000), once);
  });
});

/** What a mistake may hide through. */
const stepsToFind = 100_000;

describe("a planted mistake", () => {
  for (const mistake of mistakes) {
    it(`is found: ${mistake.name}`, async (t) => {
      const simulation = await Simulation.load(mistake);
      const { steps, failure } = await simulation.search("mistake", stepsToFind, () => {}, mistake.focus);
      assert.ok(failure, `${steps} steps did not show it`);
      t.diagnostic(`after ${steps} steps: ${failure.violation}`);
    });
  }
});
