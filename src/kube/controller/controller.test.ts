import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SpiderError, silentLogger } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { KubeClient } from "../client.ts";
import { ApiStatusError } from "../errors.ts";
import { pods } from "../kinds/core.ts";
import { FakeApi } from "../testing/fake-api.ts";
import { WatchedStore } from "../watch/store.ts";
import { type ControllerOptions, fromStore, KeySource, runController, TerminalError } from "./controller.ts";

function start(options: Partial<ControllerOptions> & Pick<ControllerOptions, "reconcile">) {
  const clock = new ManualClock();
  const source = new KeySource();
  const results: string[] = [];
  const metrics = {
    reconciled: (_name: string, result: string) => void results.push(result),
    queued: () => {},
  };
  const stop = new AbortController();
  const running = runController(
    { name: "test", sources: [source], clock, log: silentLogger, metrics, random: () => 0.999, ...options },
    stop,
  );
  const end = async () => {
    stop.abort();
    await running;
    assert.equal(clock.sleeping, 0);
  };
  return { clock, source, results, end };
}

describe("runController()", () => {
  it("reconciles each key, again after afterMs, and with backoff after a failure", async () => {
    const seen: string[] = [];
    const { clock, source, results, end } = start({
      reconcile: async (key) => {
        seen.push(`${key}@${clock.monotonicMs()}`);
        if (key === "later" && seen.length < 4) return { afterMs: 5_000 };
        if (key === "fails" && seen.filter((one) => one.startsWith("fails")).length < 3) throw new Error("not yet");
        return {};
      },
    });
    source.add("later");
    await clock.advance(6_000);
    source.add("fails");
    await clock.advance(10_000);
    assert.deepEqual(seen, ["later@0", "later@5000", "fails@6000", "fails@6499", "fails@7498", "later@10000"]);
    assert.deepEqual(results, ["requeue_after", "requeue_after", "error", "error", "success", "success"]);
    await end();
  });

  it("does not repeat a terminal error, and reads again after a conflict", async () => {
    const attempt = { verb: "update", resource: "pods", object: "x/a" };
    const errors = [
      new TerminalError("cannot ever work", { cause: new SpiderError("X", "x") }),
      new ApiStatusError(attempt, { status: 409, reason: "Conflict" }),
    ];
    const { clock, source, results, end } = start({
      reconcile: async () => {
        const error = errors.shift();
        if (error !== undefined) throw error;
        return {};
      },
    });
    source.add("a");
    await clock.advance(600_000);
    assert.deepEqual(results, ["terminal_error"]);
    source.add("a");
    await clock.advance(600_000);
    assert.deepEqual(results, ["terminal_error", "conflict", "success"]);
    await end();
  });

  it("works on several keys at once, never twice on one, and waits for them at the end", async () => {
    const gate = Promise.withResolvers<void>();
    const running = new Set<string>();
    let most = 0;
    const { clock, source, end } = start({
      workers: 3,
      reconcile: async (key) => {
        assert.ok(!running.has(key));
        running.add(key);
        most = Math.max(most, running.size);
        await gate.promise;
        running.delete(key);
        return {};
      },
    });
    await clock.advance(0);
    for (const key of ["a", "b", "a", "c", "d"]) source.add(key);
    await clock.advance(0);
    source.add("a");
    await clock.advance(0);
    assert.equal(most, 3);
    const ending = end();
    gate.resolve();
    await ending;
    assert.equal(running.size, 0);
  });

  it("starts when all stores are synced, with all that exists, and follows old and new owners", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const client = new KubeClient({ transport: api, clock });
    const store = new WatchedStore({ client, resource: pods, clock, log: silentLogger, random: () => 0 });
    const pod = (name: string, nodeName: string) => ({ metadata: { namespace: "x", name }, spec: { nodeName } });
    api.apply(pods, pod("a", "n1"));
    api.fail(() => true, { kind: "late-answer", ms: 1_000 });
    const stop = new AbortController();
    const seen: string[] = [];
    const running = runController(
      {
        name: "nodes",
        sources: [fromStore(store), fromStore(store, (p) => [`node ${p.spec?.nodeName}`])],
        clock,
        log: silentLogger,
        reconcile: async (key) => {
          assert.ok(store.isSynced);
          seen.push(key);
          return {};
        },
      },
      stop,
    );
    const watching = store.run(stop);
    await clock.advance(999);
    assert.deepEqual(seen, []);
    await clock.advance(1);
    assert.deepEqual(seen.splice(0), ["x/a", "node n1"]);
    api.apply(pods, pod("a", "n2"));
    await clock.advance(0);
    assert.deepEqual(seen, ["x/a", "node n1", "node n2"]);
    stop.abort();
    await Promise.all([running, watching]);
  });
});
