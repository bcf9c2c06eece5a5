import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Rounds } from "./doctor.ts";

describe("the doctor's rounds", () => {
  it("come after a minute and then every ten, and once as soon as Open vSwitch is missed for longer than a restart", () => {
    const rounds = new Rounds(0);
    // In seconds; missed for one look only, then from 200 s on to 1,000 s.
    const isMissed = (s: number) => s === 100 || (s >= 200 && s < 1_000) || s >= 1_500;
    const looks: number[] = [];
    for (let s = 2; s <= 1_600; s += 2) if (rounds.isDue(s * 1_000, isMissed(s))) looks.push(s);
    assert.deepEqual(looks, [60, 202, 802, 1_402, 1_502]);
  });
});
