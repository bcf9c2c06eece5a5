import { describe, it } from "node:test";
import { changesEach, comparePlans } from "./comparison.ts";

/** Half of the 200 changes; the other half is beside it, so that both run at once. */
describe("plan", () => {
  for (let seed = 1000; seed <= 1003; seed++) {
    it(`says what then happens, for ${changesEach} random changes (seed ${seed})`, () => comparePlans(seed));
  }
});
