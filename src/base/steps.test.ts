import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never } from "./clock.ts";
import { Steps, stages } from "./steps.ts";
import { ManualClock } from "./testing/manual-clock.ts";

function steps(
  options: { failPoint?: (point: string) => void; onUndoError?: (stage: string, error: unknown) => void } = {},
) {
  return new Steps({ clock: new ManualClock(), signal: never, ...options });
}

describe("Steps", () => {
  it("undoes newest first, with what each act returned", async () => {
    const undone: unknown[] = [];
    const call = steps();
    await call.run("claim", async () => "address", { undo: (done) => void undone.push(done) });
    await call.run("link", async () => "veth", { undo: (done) => void undone.push(done) });
    await call.abort();
    assert.deepEqual(undone, ["veth", "address"]);
  });

  it("gives undefined to the undo of an act that failed, because its outcome is unknown", async () => {
    const undone: unknown[] = [];
    const call = steps();
    const failing = call.run("claim", () => Promise.reject(new Error("lost")), {
      undo: (done) => void undone.push(done),
    });
    await assert.rejects(failing, /lost/);
    await call.abort();
    assert.deepEqual(undone, [undefined]);
  });

  it("disposes its resources at the end, after any undo", async () => {
    const order: string[] = [];
    for (const end of ["commit", "abort"] as const) {
      const call = steps();
      call.own({ [Symbol.dispose]: () => order.push("closed") });
      await call.run("link", () => {}, { undo: () => void order.push("undone") });
      await call[end]();
    }
    assert.deepEqual(order, ["closed", "undone", "closed"]);
  });

  it("waits for running stages before it undoes", async () => {
    const order: string[] = [];
    const call = steps();
    const gate = Promise.withResolvers<void>();
    const slow = call.run(
      "port",
      async () => {
        await gate.promise;
        order.push("port done");
      },
      { undo: () => void order.push("port undone") },
    );
    const aborting = call.abort();
    gate.resolve();
    await slow;
    await aborting;
    assert.deepEqual(order, ["port done", "port undone"]);
  });

  it("throws the first failure of all() only when every other has settled", async () => {
    const call = steps();
    let settled = false;
    const gate = Promise.withResolvers<void>();
    const bad = call.run("claim", () => Promise.reject(new Error("no address")));
    const slow = call.run("link", async () => {
      await gate.promise;
      settled = true;
    });
    const both = call.all(bad, slow);
    gate.resolve();
    await assert.rejects(both, /no address/);
    assert.equal(settled, true);
  });

  it("throws the failure of a stage started by beside() only from settled()", async () => {
    const call = steps();
    const undone: true[] = [];
    call.beside("ofport", () => Promise.reject(new Error("no port")), {
      of: "net1",
      undo: () => void undone.push(true),
    });
    await call.run("coordinator", async () => {});
    await assert.rejects(call.settled(), /no port/);
    const told = (error: unknown, of: string) => new Error(`${of}: ${String(error)}`);
    await assert.rejects(call.settled(told), /^Error: net1: Error: no port$/);
    await call.abort();
    assert.deepEqual(undone, [true]);
  });

  it("forgets the undo entries at commit and refuses later stages", async () => {
    const undone: true[] = [];
    const call = steps();
    await call.run("link", async () => {}, { undo: () => void undone.push(true) });
    call.commit();
    await call.abort();
    assert.deepEqual(undone, []);
    await assert.rejects(
      call.run("reply", async () => {}),
      /after its call had ended/,
    );
  });

  it("reports a failing undo and goes on with the others", async () => {
    const errors: string[] = [];
    const undone: true[] = [];
    const call = steps({ onUndoError: (stage) => void errors.push(stage) });
    await call.run("claim", async () => {}, { undo: () => void undone.push(true) });
    await call.run("link", async () => {}, { undo: () => Promise.reject(new Error("busy")) });
    await call.abort();
    assert.deepEqual([errors, undone], [["link"], [true]]);
  });

  it("passes every stage's two fail points and undoes a stage that failed after its act", async () => {
    for (const stage of stages) {
      for (const side of ["before", "after"] as const) {
        const undone: true[] = [];
        const call = steps({
          failPoint: (point) => {
            if (point === `${stage}:${side}`) throw new Error(point);
          },
        });
        await assert.rejects(
          call.run(stage, async () => {}, { undo: () => void undone.push(true) }),
          new RegExp(side),
        );
        await call.abort();
        assert.deepEqual(undone, [true], `${stage}:${side}`);
      }
    }
  });

  it("passes two fail points of every step of undoing, and goes on after one that fails", async () => {
    const passed: string[] = [];
    const call = steps({
      failPoint: (point) => {
        passed.push(point);
        if (point === "link:undo") throw new Error(point);
      },
    });
    for (const stage of ["claim", "link"] as const)
      await call.run(stage, () => {}, { undo: () => void passed.push(stage) });
    passed.length = 0;
    await call.abort();
    assert.deepEqual(passed, ["link:undo", "claim:undo", "claim", "claim:undone"]);
  });

  it("records a span for each stage, even for one that failed", async () => {
    const call = steps();
    await call.run("claim", async () => {}, { of: "eth0/4" });
    await assert.rejects(call.run("link", () => Promise.reject(new Error("no"))));
    assert.deepEqual(
      call.spans.map(({ stage, of, failed }) => ({ stage, of, failed })),
      [
        { stage: "claim", of: "eth0/4", failed: false },
        { stage: "link", of: "", failed: true },
      ],
    );
  });

  it("waits for a turn before a stage that blocks the thread, which the record counts as part of the queue", async () => {
    const clock = new ManualClock();
    const free = Promise.withResolvers<void>();
    let turns = 0;
    const steps = new Steps({
      clock,
      signal: never,
      turn: async () => {
        await free.promise;
        turns += 1;
        return {
          [Symbol.dispose]: () => {
            turns -= 1;
          },
        };
      },
    });
    const linked = steps.run("link", () => turns, { of: "eth0", blocking: true });
    assert.equal(await steps.run("claim", () => turns), 0, "others do not wait");
    await clock.advance(5);
    free.resolve();
    assert.equal(await linked, 1);
    assert.equal(turns, 0, "given back");
    assert.deepEqual(
      steps.spans.map(({ stage, of, startMs, endMs }) => [stage, of, startMs, endMs]),
      [
        ["claim", "", 0, 0],
        ["queue", "eth0", 0, 5],
        ["link", "eth0", 5, 5],
      ],
    );
  });
});
