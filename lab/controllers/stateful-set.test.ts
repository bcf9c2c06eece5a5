import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Pod, StatefulSet } from "./kinds.ts";
import { nextSteps } from "./stateful-set.ts";

const set = (spec: object): StatefulSet =>
  ({ metadata: { name: "db", namespace: "default", uid: "u1" }, spec: { replicas: 3, ...spec } }) as StatefulSet;

interface State {
  readonly ready?: boolean;
  readonly ending?: boolean;
  readonly revision?: string;
}
const pod = (ordinal: number, { ready = true, ending = false, revision = "new" }: State = {}): Pod =>
  ({
    metadata: {
      name: `db-${ordinal}`,
      labels: { "controller-revision-hash": revision },
      ...(ending && { deletionTimestamp: "2026-01-01T00:00:00Z" }),
    },
    spec: { containers: [] },
    status: { phase: "Running", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  }) as unknown as Pod;

/** `+db-0` creates, `-db-0` deletes. */
const steps = (spec: object, ...pods: readonly Pod[]) =>
  nextSteps(set(spec), pods, "new").map((step) =>
    step.kind === "create" ? `+${step.name}` : `-${step.pod.metadata.name}`,
  );

describe("what a StatefulSet does next", () => {
  it("creates the lowest missing Pod once those below it are ready", () => {
    assert.deepEqual(steps({}), ["+db-0"]);
    assert.deepEqual(steps({}, pod(0, { ready: false })), []);
    assert.deepEqual(steps({}, pod(0), pod(2)), ["+db-1"]);
  });
  it("creates all at once with podManagementPolicy Parallel", () => {
    assert.deepEqual(steps({ podManagementPolicy: "Parallel" }, pod(1, { ready: false })), ["+db-0", "+db-2"]);
  });
  it("waits for a Pod that is being deleted before it gives its name to the next one", () => {
    assert.deepEqual(steps({}, pod(0, { ending: true }), pod(1), pod(2)), []);
  });
  it("deletes surplus Pods from the highest, each when the one before is gone", () => {
    assert.deepEqual(steps({ replicas: 1 }, pod(0), pod(1), pod(2)), ["-db-2"]);
    assert.deepEqual(steps({ replicas: 1 }, pod(0), pod(1), pod(2, { ending: true })), []);
    assert.deepEqual(steps({ replicas: 1, podManagementPolicy: "Parallel" }, pod(0), pod(1), pod(2)), [
      "-db-2",
      "-db-1",
    ]);
  });
  it("replaces Pods of another template, the highest first, unless told not to", () => {
    const old = { revision: "old" };
    assert.deepEqual(steps({}, pod(0, old), pod(1, old), pod(2)), ["-db-1"]);
    assert.deepEqual(steps({}, pod(0, old), pod(1, { ready: false }), pod(2)), []);
    assert.deepEqual(steps({ updateStrategy: { type: "OnDelete" } }, pod(0, old), pod(1), pod(2)), []);
  });
  it("counts from spec.ordinals.start", () => {
    assert.deepEqual(steps({ replicas: 1, ordinals: { start: 5 } }), ["+db-5"]);
    assert.deepEqual(steps({ replicas: 1, ordinals: { start: 5 } }, pod(5), pod(0)), ["-db-0"]);
  });
});
