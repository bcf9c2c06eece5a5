import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { never } from "./clock.ts";
import { FairQueue } from "./fair-queue.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("FairQueue", () => {
  it("lets one call of a quiet namespace overtake two hundred of a busy one", async () => {
    const queue = new FairQueue({ slots: 1, maxWaiting: 300 });
    const order: string[] = [];
    const first = await queue.enter("busy", { signal: never });
    const call = async (tenant: string) => {
      using _slot = await queue.enter(tenant, { signal: never });
      order.push(tenant);
    };
    const calls = [...Array.from({ length: 200 }, () => call("busy")), call("quiet")];
    first[Symbol.dispose]();
    await Promise.all(calls);
    assert.ok(order.indexOf("quiet") <= 1, `served as number ${order.indexOf("quiet") + 1}`);
    assert.deepEqual(queue.depth, { inside: 0, waiting: 0 });
  });

  it("admits more calls when it grows, and none until enough have left when it shrinks", async () => {
    const queue = new FairQueue({ slots: 1, maxWaiting: 10 });
    const inside = Array.from({ length: 5 }, () => queue.enter("busy", { signal: never }));
    queue.resize(3);
    assert.deepEqual(queue.depth, { inside: 3, waiting: 2 });
    queue.resize(1);
    for (const left of [2, 1, 1]) {
      (await inside.shift())?.[Symbol.dispose]();
      assert.equal(queue.depth.inside, left);
    }
    assert.equal(queue.depth.waiting, 1);
  });

  it("admits a quiet namespace beside a busy one to a spare slot, one call at a time", async () => {
    const queue = new FairQueue({ slots: 2, spare: 1, maxWaiting: 300 });
    const entered: string[] = [];
    const enter = async (tenant: string) => {
      const slot = await queue.enter(tenant, { signal: never });
      entered.push(tenant);
      return slot;
    };
    const [first] = [enter("busy"), enter("busy"), enter("busy"), enter("quiet"), enter("quiet")];
    await settle();
    assert.deepEqual(entered, ["busy", "busy", "quiet"]);
    (await first)[Symbol.dispose]();
    await settle();
    // Normal slots are given out again only when the spare one is free.
    assert.deepEqual([entered.length, queue.depth], [3, { inside: 2, waiting: 2 }]);
  });

  it("reports when no call is inside any more", async () => {
    const queue = new FairQueue({ slots: 2, maxWaiting: 1 });
    await queue.idle();
    const slot = await queue.enter("a", { signal: never });
    let idle = false;
    const told = queue.idle().then(() => {
      idle = true;
    });
    await settle();
    assert.equal(idle, false);
    slot[Symbol.dispose]();
    await told;
  });

  it("refuses a call when the queue is full", async () => {
    const queue = new FairQueue({ slots: 1, maxWaiting: 1 });
    await queue.enter("a", { signal: never });
    void queue.enter("a", { signal: never });
    await assert.rejects(queue.enter("a", { signal: never }), /try again later/);
  });

  it("never admits more calls than slots, serves everyone, and forgets callers that give up", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 2 }),
        fc.array(fc.record({ tenant: fc.constantFrom("a", "b", "c"), givesUp: fc.boolean() }), { maxLength: 30 }),
        async (slots, spare, calls) => {
          const queue = new FairQueue({ slots, spare, maxWaiting: 100 });
          let served = 0;
          const running = calls.map(async ({ tenant, givesUp }) => {
            const patience = new AbortController();
            const entering = queue.enter(tenant, { signal: patience.signal });
            if (givesUp) patience.abort(new Error("gave up"));
            try {
              using _slot = await entering;
              assert.ok(queue.depth.inside <= slots + spare);
              await settle();
              served += 1;
            } catch (error) {
              if (!givesUp) throw error;
            }
          });
          await Promise.all(running);
          assert.ok(served >= calls.filter((call) => !call.givesUp).length);
          assert.deepEqual(queue.depth, { inside: 0, waiting: 0 });
        },
      ),
      { numRuns: 50 },
    );
  });
});
