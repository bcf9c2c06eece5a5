import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Logger, silentLogger } from "#base";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { KubeClient } from "./client.ts";
import { EventRecorder } from "./events.ts";
import { events } from "./kinds/core.ts";
import { limits } from "./limits.ts";
import { FakeApi } from "./testing/fake-api.ts";

const pod = { apiVersion: "v1", kind: "Pod", namespace: "x", name: "a", uid: "u" };
const text = { type: "Warning", reason: "PoolExhausted", message: "no address is free" } as const;

function setUp() {
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_fields, message) => void warnings.push(message) };
  const client = new KubeClient({ transport: api, clock });
  const recorder = new EventRecorder({ client, clock, log, component: "test-agent", host: "n1" });
  const stop = new AbortController();
  const start = () => recorder.run(stop);
  return { clock, api, recorder, warnings, start, stop: () => stop.abort() };
}

describe("EventRecorder", () => {
  it("writes an Event beside its object, or in the namespace default", async () => {
    const { clock, api, recorder, start, stop } = setUp();
    const running = start();
    recorder.record(pod, { ...text, message: "x".repeat(2_000) });
    const hostile = "no pool \u001b[31m\u202e";
    recorder.record({ apiVersion: "v1", kind: "Node", name: "n1" }, { ...text, type: "Normal", message: hostile });
    await clock.advance(0);
    const [ofNode, ofPod] = api.all(events);
    assert.equal(ofPod?.metadata.namespace, "x");
    assert.deepEqual(ofPod?.involvedObject, pod);
    assert.equal(ofPod?.message?.length, 1_024);
    assert.deepEqual(ofPod?.source, { component: "test-agent", host: "n1" });
    assert.equal(ofPod?.firstTimestamp, "2026-01-01T00:00:00Z");
    assert.deepEqual([ofNode?.metadata.namespace, ofNode?.type, ofNode?.count], ["default", "Normal", 1]);
    assert.equal(ofNode?.message, "no pool \\u001b[31m\\u202e", "it is shown on terminals");
    stop();
    await running;
  });

  it("writes one cause once in 5 minutes and then tells how often it came", async () => {
    const { clock, api, recorder, start, stop } = setUp();
    const running = start();
    for (let n = 0; n < 4; n++) {
      recorder.record(pod, text);
      await clock.advance(60_000);
    }
    recorder.record({ ...pod, uid: "another" }, text);
    await clock.advance(0);
    assert.equal(api.all(events).length, 2);
    await clock.advance(60_000);
    recorder.record(pod, text);
    await clock.advance(0);
    const last = api.all(events).at(-1);
    assert.deepEqual(
      [last?.count, last?.firstTimestamp, last?.lastTimestamp],
      [4, "2026-01-01T00:01:00Z", "2026-01-01T00:05:00Z"],
    );
    stop();
    await running;
  });

  it("drops what the queue cannot hold and what cannot be written, says so once, and goes on", async () => {
    const { clock, api, recorder, warnings, start, stop } = setUp();
    for (let n = 0; n < limits.eventQueue + 3; n++) recorder.record(pod, { ...text, message: `${n}` });
    assert.equal(recorder.dropped, 3);
    api.fail(() => true, { kind: "status", status: 403, reason: "Forbidden" }, 2);
    api.fail(() => true, { kind: "lost-after" }, 1);
    const running = start();
    await clock.advance(0);
    assert.deepEqual(warnings, ["Events cannot be written"]);
    assert.equal(recorder.dropped, 6);
    assert.equal(api.all(events).length, limits.eventQueue - 2);
    stop();
    await running;
  });

  it("writes a cause at its next occurrence where it could not be written before", async () => {
    const { clock, api, recorder, start, stop } = setUp();
    api.fail(() => true, { kind: "status", status: 403, reason: "Forbidden" }, 1);
    const running = start();
    for (let n = 0; n < 3; n++) {
      recorder.record(pod, text);
      await clock.advance(10_000);
    }
    assert.deepEqual([recorder.dropped, api.all(events).length], [1, 1]);
    stop();
    await running;
  });

  it("keeps Warnings in a burst, at the cost of what went well", async () => {
    const { clock, api, recorder, start, stop } = setUp();
    const record = (type: "Normal" | "Warning", count: number) => {
      for (let n = 0; n < count; n++) recorder.record(pod, { ...text, type, message: `${type} ${n}` });
    };
    record("Warning", 2);
    record("Normal", limits.eventQueue);
    record("Warning", 7);
    assert.equal(recorder.dropped, 7);
    const running = start();
    await clock.advance(0);
    const written = api.all(events).map(({ message = "" }) => message);
    assert.deepEqual(
      ["Warning 6", "Normal 4", "Normal 5"].map((message) => written.includes(message)),
      [true, false, true],
    );
    assert.equal(written.length, limits.eventQueue);
    stop();
    await running;
  });

  it("waits for a server that is away, up to 30 seconds per Event, and ends at once when told", async () => {
    const { clock, api, recorder, start, stop } = setUp();
    const running = start();
    api.faults = () => ({ kind: "not-sent" });
    recorder.record(pod, text);
    await clock.advance(20_000);
    api.faults = () => undefined;
    await clock.advance(10_000);
    assert.equal(api.all(events).length, 1);
    api.faults = () => ({ kind: "hang" });
    recorder.record(pod, { ...text, reason: "Other" });
    await clock.advance(0);
    stop();
    await running;
    assert.equal(clock.sleeping, 0);
  });
});
