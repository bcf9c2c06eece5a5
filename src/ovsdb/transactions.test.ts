import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { never, withTimeout } from "#base";
import { TransactionQueue } from "./transactions.ts";

const unlimited = {
  limit: (signal: AbortSignal) => withTimeout(signal, 60_000, () => new Error("late")),
  late: (reason: unknown) => reason,
};
const operation = { op: "comment", comment: "" };

describe("TransactionQueue", () => {
  // A connection that is given up is known to be closed only in a later turn of the event loop, which must come.
  it("tries once over a lost connection, lets the event loop turn, and tries again over the next one", async () => {
    const queue = new TransactionQueue(unlimited);
    let tries = 0;
    // Fails for so long only that the test can tell.
    queue.use(() => (++tries > 100 ? Promise.resolve([{}]) : Promise.reject(new Error("the connection is closed"))));
    const plan = () => ({ operations: [operation], touches: ["a"], value: "committed" });
    const committed = queue.run({ plan, explain: () => new Error("refused") }, { signal: never });
    await setImmediate();
    assert.equal(tries, 1);
    queue.use(() => Promise.resolve([{}]));
    assert.equal(await committed, "committed");
  });
});
