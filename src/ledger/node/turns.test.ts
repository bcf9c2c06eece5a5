import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "./turns.ts";

/** How many of so many Pods get their turn at once. */
async function atOnce(turns: Turns): Promise<number> {
  const stop = new AbortController();
  const entered: Disposable[] = [];
  const waiting = Array.from({ length: 12 }, () =>
    turns.enter("a", stop).then(
      (turn) => entered.push(turn),
      () => {},
    ),
  );
  await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  await Promise.all(waiting);
  for (const turn of entered) turn[Symbol.dispose]();
  return entered.length;
}

describe("turns of creates in one pool", () => {
  it("allow one create in flight at first, and eight after eight successes with addresses of its own", async () => {
    const turns = new Turns();
    turns.among(1, { granted: 1 });
    const counts = [];
    for (let made = 0; made < 9; made++) {
      counts.push(await atOnce(turns));
      turns.made();
    }
    assert.deepEqual(counts, [1, 2, 3, 4, 5, 6, 7, 8, 8]);
  });

  it("leave each of many nodes on which Pods wait its part of what all have in flight, and one at least", async () => {
    const turns = new Turns();
    const made = async (granted: number) => {
      turns.among(1, { granted });
      for (let times = 0; times < 9; times++) turns.made();
      return await atOnce(turns);
    };
    assert.deepEqual([await made(100), await made(20), await made(2)], [1, 3, 8]);
    assert.equal(await made(100), 1);
  });

  it("allow more slowly where no addresses are granted to the node yet", async () => {
    const turns = new Turns();
    for (let made = 0; made < 4; made++) turns.made();
    assert.equal(await atOnce(turns), 2);
  });

  it("allow one again after a collision, and then grow slowly", async () => {
    const turns = new Turns();
    for (let made = 0; made < 28; made++) turns.made();
    turns.met();
    assert.equal(await atOnce(turns), 1);
    for (let made = 0; made < 4; made++) turns.made();
    assert.equal(await atOnce(turns), 2);
    for (let made = 0; made < 8; made++) turns.made();
    assert.equal(await atOnce(turns), 4);
  });

  it("grow more slowly the more nodes there are, until nobody has drawn for a while", async () => {
    const turns = new Turns();
    turns.among(10);
    turns.met();
    for (let made = 0; made < 9; made++) turns.made();
    assert.equal(await atOnce(turns), 1);
    for (let made = 0; made < 2; made++) turns.made();
    assert.equal(await atOnce(turns), 2);
    turns.rested();
    turns.among(1, { granted: 1 });
    turns.made();
    turns.made();
    assert.equal(await atOnce(turns), 4);
  });
});
