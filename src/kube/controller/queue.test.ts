import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { never } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { WorkQueue } from "./queue.ts";

const o = { signal: never };

function setUp() {
  const clock = new ManualClock();
  return { clock, queue: new WorkQueue({ clock, firstMs: 100, maxMs: 1_000, random: () => 0.999 }) };
}

describe("WorkQueue", () => {
  it("gives a key once, however often it was added, in order", async () => {
    const { queue } = setUp();
    for (const key of ["b", "a", "b", "c", "a"]) queue.add(key);
    assert.deepEqual([await queue.take(o), await queue.take(o), await queue.take(o)], ["b", "a", "c"]);
    assert.equal(queue.length, 0);
  });

  it("holds a key while it is worked on and gives it again afterwards if it was added meanwhile", async () => {
    const { queue } = setUp();
    queue.add("a");
    const key = await queue.take(o);
    queue.add("a");
    queue.add("a");
    assert.equal(queue.length, 0);
    queue.done(key);
    assert.equal(await queue.take(o), "a");
    queue.done("a");
    assert.equal(queue.length, 0);
  });

  it("gives a delayed key at its time, the earliest of several", async () => {
    const { clock, queue } = setUp();
    queue.addAfter("a", 500);
    queue.addAfter("a", 200);
    queue.addAfter("a", 900);
    let taken: number | undefined;
    const taking = queue.take(o).then((key) => {
      taken = clock.monotonicMs();
      queue.done(key);
    });
    await clock.advance(199);
    assert.equal(taken, undefined);
    await clock.advance(1);
    await taking;
    assert.equal(taken, 200);
    await clock.advance(2_000);
    assert.deepEqual([queue.length, queue.delayed], [0, 0]);
  });

  it("lets an add overtake a delay", async () => {
    const { queue } = setUp();
    queue.addAfter("a", 500);
    queue.add("a");
    assert.equal(await queue.take(o), "a");
    assert.equal(queue.delayed, 0);
  });

  it("waits longer with each failure of a key until it is forgotten", async () => {
    const { clock, queue } = setUp();
    const waits: number[] = [];
    for (let n = 0; n < 6; n++) {
      if (n === 5) queue.forget("a");
      queue.retry("a");
      const startMs = clock.monotonicMs();
      const taking = queue.take(o).then((key) => {
        waits.push(clock.monotonicMs() - startMs);
        queue.done(key);
      });
      await clock.advance(2_000);
      await taking;
    }
    assert.deepEqual(waits, [99, 199, 399, 799, 999, 99]);
  });

  it("lets a waiting worker give up, and leaves the key to another", async () => {
    const { queue } = setUp();
    const impatient = new AbortController();
    const first = queue.take(impatient);
    const second = queue.take(o);
    impatient.abort(new Error("stop"));
    await assert.rejects(first, /stop/);
    queue.add("a");
    assert.equal(await second, "a");
  });

  it("gives a key once that is added several times while a worker waits", async () => {
    const { queue } = setUp();
    const taking = queue.take(o);
    for (let times = 0; times < 3; times++) queue.add("a");
    queue.done(await taking);
    assert.equal(queue.length, 0);
  });

  it("has one timer, however many workers wait, and none when no worker does", async () => {
    const { clock, queue } = setUp();
    const stop = new AbortController();
    const workers = ["1", "2", "3"].map(() => queue.take(stop).catch(() => "stopped"));
    queue.addAfter("late", 200);
    queue.addAfter("soon", 100);
    assert.equal(clock.sleeping, 1);
    await clock.advance(100);
    assert.equal(await workers[0], "soon");
    assert.equal(clock.sleeping, 1);
    stop.abort();
    assert.deepEqual(await Promise.all(workers), ["soon", "stopped", "stopped"]);
    assert.equal(clock.sleeping, 0);
  });

  it("loses no key that was given to a worker which then gives up", async () => {
    const { queue } = setUp();
    const stop = new AbortController();
    const taking = queue.take(stop);
    queue.add("a");
    // The worker has the key, but has not gone on yet.
    await Promise.resolve();
    stop.abort();
    assert.equal(await taking, "a");
  });

  it("never gives one key to two, and loses none, in any history", async () => {
    const key = fc.constantFrom("a", "b", "c", "d");
    const action = fc.oneof(
      fc.record({ kind: fc.constant("add" as const), key }),
      fc.record({ kind: fc.constant("after" as const), key, ms: fc.nat(50) }),
      fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(30) }),
      fc.record({ kind: fc.constant("done" as const), nth: fc.nat(3) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
        const { clock, queue } = setUp();
        const held: string[] = [];
        /** Key → the time by which it must be taken after its last add. */
        const owed = new Map<string, number>();
        const stop = new AbortController();
        const worker = async () => {
          for (;;) {
            const taken = await queue.take(stop);
            assert.ok(!held.includes(taken), "held twice");
            held.push(taken);
            if ((owed.get(taken) ?? Number.POSITIVE_INFINITY) <= clock.monotonicMs()) owed.delete(taken);
          }
        };
        const workers = [worker(), worker()].map((running) => running.catch(() => {}));
        const owe = (of: string, ms: number) =>
          owed.set(of, Math.min(owed.get(of) ?? Number.POSITIVE_INFINITY, clock.monotonicMs() + ms));
        for (const act of actions) {
          if (act.kind === "add") queue.add(act.key);
          if (act.kind === "after") queue.addAfter(act.key, act.ms);
          if (act.kind === "add") owe(act.key, 0);
          if (act.kind === "after") owe(act.key, act.ms);
          if (act.kind === "pass") await clock.advance(act.ms);
          if (act.kind === "done") for (const one of held.splice(act.nth, 1)) queue.done(one);
        }
        for (let round = 0; round < 5; round++) {
          await clock.advance(100);
          for (const one of held.splice(0)) queue.done(one);
        }
        assert.deepEqual([...owed.keys()], []);
        assert.deepEqual([queue.length, queue.delayed], [0, 0]);
        stop.abort();
        await Promise.all(workers);
        assert.equal(clock.sleeping, 0);
      }),
      { numRuns: 200 },
    );
  });
});
