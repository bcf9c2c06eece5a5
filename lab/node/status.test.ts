import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "../controllers/index.ts";
import { type ContainerPhase, podStatus } from "./status.ts";

const now = new Date("2026-01-02T03:04:05.678Z");
const before = "2026-01-01T00:00:00Z";
const running: ContainerPhase = { kind: "running", startedAt: before };
const ended = (code: number): ContainerPhase => ({ kind: "ended", startedAt: before, finishedAt: before, code });

function pod(
  restartPolicy: string,
  conditions: { type: string; status: string; lastTransitionTime?: string }[] = [],
): Pod {
  return {
    metadata: { name: "p", namespace: "default", uid: "u", resourceVersion: "1", creationTimestamp: before },
    spec: { restartPolicy, containers: [{ name: "a" }, { name: "b" }] },
    status: { conditions },
  };
}

function statusOf(of: Pod, a: ContainerPhase | undefined, b: ContainerPhase | undefined) {
  const entries = Object.entries({ a, b }).flatMap(([name, phase]) =>
    phase === undefined ? [] : [[name, { phase, restarts: 0 }] as const],
  );
  return podStatus(
    of,
    { nodeIp: "10.222.0.11", podIps: ["172.18.30.131", "fd00::1"], startedAt: before, containers: new Map(entries) },
    now,
  );
}

test("a Pod is Ready when all of its containers run", () => {
  const status = statusOf(pod("Always"), running, running);
  assert.equal(status.phase, "Running");
  assert.equal(status.conditions?.find(({ type }) => type === "Ready")?.status, "True");
  assert.equal(status.podIP, "172.18.30.131");
  assert.deepEqual(status.podIPs, [{ ip: "172.18.30.131" }, { ip: "fd00::1" }]);
  const half = statusOf(pod("Always"), running, undefined);
  assert.equal(half.phase, "Running");
  assert.equal(half.conditions?.find(({ type }) => type === "Ready")?.reason, "ContainersNotReady");
});

test("the phase follows the restart policy once all containers have ended", () => {
  assert.equal(statusOf(pod("Never"), undefined, undefined).phase, "Pending");
  assert.equal(statusOf(pod("Never"), ended(0), ended(0)).phase, "Succeeded");
  assert.equal(statusOf(pod("Never"), ended(0), ended(4)).phase, "Failed");
  assert.equal(statusOf(pod("OnFailure"), ended(0), ended(4)).phase, "Running");
  assert.equal(statusOf(pod("OnFailure"), ended(0), ended(0)).phase, "Succeeded");
  assert.equal(statusOf(pod("Always"), ended(0), ended(0)).phase, "Running");
});

test("a condition that says the same keeps its time, and conditions of others stay", () => {
  const known = { type: "Ready", status: "True", lastTransitionTime: before };
  const foreign = { type: "example.com/gate", status: "True" };
  const { conditions = [] } = statusOf(pod("Always", [known, foreign]), running, running);
  const find = (wanted: string) => conditions.find(({ type }) => type === wanted);
  assert.equal(find("Ready")?.lastTransitionTime, before);
  assert.equal(find("ContainersReady")?.lastTransitionTime, "2026-01-02T03:04:05Z");
  assert.deepEqual(find("example.com/gate"), foreign);
});
