import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import { backoffMs } from "./backoff.ts";
import { abortable, never, systemClock, within, withTimeout } from "./clock.ts";
import { codeOf, formatError, hasCode, SpiderError } from "./errors.ts";
import { KeyedLock } from "./lock.ts";
import { RecentLines, silentLogger } from "./log.ts";
import { Tasks } from "./tasks.ts";
import { ManualClock } from "./testing/manual-clock.ts";

describe("RecentLines", () => {
  it("keeps the newest lines, as many as it may, whatever their lengths", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1, maxLength: 30 })), (all) => {
        const recent = new RecentLines({ charsMax: 40 });
        for (const line of all) recent.add(line);
        const kept = recent.list();
        assert.deepEqual(kept, all.slice(all.length - kept.length));
        const charsOf = (lines: readonly string[]) => lines.join("").length;
        assert.ok(charsOf(kept) <= 40);
        assert.ok(kept.length === all.length || charsOf(all.slice(-kept.length - 1)) > 40);
      }),
    );
  });
});

describe("formatError()", () => {
  it("joins the messages of the causes once each", () => {
    const inner = new SpiderError("EEXIST", "File exists");
    const outer = new SpiderError("LINK", "cannot create veth1", { cause: inner });
    assert.equal(formatError(outer), "cannot create veth1: File exists");
    assert.equal(
      formatError(new SpiderError("X", "cannot create veth1: File exists", { cause: inner })),
      "cannot create veth1: File exists",
    );
    assert.equal(formatError("text"), "text");
  });

  it("finds codes on our errors and on the system's", () => {
    assert.equal(codeOf(new SpiderError("A", "a")), "A");
    assert.equal(codeOf(Object.assign(new Error("x"), { code: "ENOENT" })), "ENOENT");
    assert.equal(codeOf(null), undefined);
    assert.equal(hasCode(new SpiderError("A", "a"), "B"), false);
  });
});

describe("backoffMs()", () => {
  it("stays between 0 and the ceiling, which doubles up to the maximum", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const ms = backoffMs(attempt, { firstMs: 100, maxMs: 5000, random: () => random });
        assert.ok(ms >= 0 && ms <= Math.min(5000, 100 * 2 ** Math.min(attempt, 30)));
      }),
    );
  });
});

describe("KeyedLock", () => {
  it("serves the waiters of one key in order and lets other keys pass", async () => {
    const lock = new KeyedLock();
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = lock.run(
      "a",
      async () => {
        await gate.promise;
        order.push("a1");
      },
      { signal: never },
    );
    const second = lock.run("a", async () => void order.push("a2"), { signal: never });
    await lock.run("b", async () => void order.push("b"), { signal: never });
    gate.resolve();
    await Promise.all([first, second]);
    assert.deepEqual(order, ["b", "a1", "a2"]);
    assert.equal(lock.size, 0);
  });

  it("lets a waiter give up without letting the next one overtake the holder", async () => {
    const lock = new KeyedLock();
    const gate = Promise.withResolvers<void>();
    let holding = false;
    const first = lock.run(
      "a",
      async () => {
        holding = true;
        await gate.promise;
        holding = false;
      },
      { signal: never },
    );
    const impatient = new AbortController();
    const second = lock.run("a", async () => assert.fail("must not run"), { signal: impatient.signal });
    const third = lock.run("a", async () => assert.equal(holding, false), { signal: never });
    impatient.abort(new Error("gave up"));
    await assert.rejects(second, /gave up/);
    gate.resolve();
    await Promise.all([first, third]);
  });

  it("frees the key when the act throws", async () => {
    const lock = new KeyedLock();
    await assert.rejects(
      lock.run("a", () => Promise.reject(new Error("x")), { signal: never }),
      /x/,
    );
    assert.equal(await lock.run("a", async () => 1, { signal: never }), 1);
  });
});

describe("time", () => {
  it("wakes sleepers of the manual clock at their own times", async () => {
    const clock = new ManualClock();
    const woken: number[] = [];
    for (const ms of [30, 10, 20]) void clock.sleep(ms, { signal: never }).then(() => woken.push(clock.monotonicMs()));
    await clock.advance(25);
    assert.deepEqual([woken, clock.sleeping], [[10, 20], 1]);
  });

  it("ends abortable() with the signal's reason", async () => {
    const controller = new AbortController();
    const waiting = abortable(new Promise(() => {}), controller.signal);
    controller.abort(new Error("deadline"));
    await assert.rejects(waiting, /deadline/);
  });

  it("tells with within() whether a promise came in time, and leaves no timer", async () => {
    const clock = new ManualClock();
    const { signal } = new AbortController();
    const late = within(new Promise(() => {}), 100, { clock, signal });
    await clock.advance(99);
    assert.equal(await within(Promise.resolve(), 100, { clock, signal }), true);
    assert.equal(clock.sleeping, 1, "the one of the promise that does not come");
    await clock.advance(1);
    assert.equal(await late, false);
  });

  it("rejects within() as the promise does, or with the signal's reason", async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const o = { clock, signal: controller.signal };
    await assert.rejects(within(Promise.reject(new Error("no")), 100, o), /no/);
    const waiting = within(new Promise(() => {}), 100, o);
    controller.abort(new Error("stop"));
    await assert.rejects(waiting, /stop/);
  });

  it("reads what a peer had sent in time before a timer fires that the process was kept from running", async () => {
    await using server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const accepted = once(server, "connection");
    await using client = connect((server.address() as AddressInfo).port);
    const [peer]: Socket[] = await accepted;
    const seen: string[] = [];
    client.on("data", (bytes) => seen.push(String(bytes)));
    const over = new Promise<void>((resolve) => systemClock.after(20, resolve)).then(() => seen.push("timer"));
    peer?.end("answer"); // The kernel has it now.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
    await over;
    assert.deepEqual(seen, ["answer", "timer"]);
  });

  it("does not run what was cancelled while the answer was read", async () => {
    const ran: string[] = [];
    const cancel = systemClock.after(1, () => ran.push("cancelled"));
    const over = new Promise<void>((resolve) => {
      setTimeout(() => {
        cancel();
        setImmediate(() => setImmediate(resolve));
      }, 1);
    });
    await over;
    assert.deepEqual(ran, []);
  });

  it("hands the parent's abort through withTimeout()", () => {
    const parent = new AbortController();
    using signal = withTimeout(parent.signal, 60_000, () => new Error("late"));
    parent.abort(new Error("parent"));
    assert.match(String(signal.reason), /parent/);
  });
});

describe("Tasks", () => {
  it("counts failures, and stop() waits for all to end", async () => {
    const tasks = new Tasks(silentLogger);
    let ended = false;
    tasks.spawn("fails", () => Promise.reject(new Error("x")));
    tasks.spawn("runs", async (signal) => {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      ended = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    await tasks.stop();
    assert.deepEqual([tasks.failures, ended], [1, true]);
  });
});
