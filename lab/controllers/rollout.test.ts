import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Deployment } from "./kinds.ts";
import { boundsOf, type Generation, nextStep } from "./rollout.ts";

function deployment(replicas: number, strategy?: Deployment["spec"]["strategy"]): Deployment {
  return {
    metadata: { name: "d", uid: "d", resourceVersion: "1", creationTimestamp: "" },
    spec: { replicas, selector: {}, template: {}, ...(strategy && { strategy }) },
  };
}

test("surge is rounded up and unavailability down, and both are never zero", () => {
  assert.deepEqual(boundsOf(deployment(2)), { wanted: 2, maxSurge: 1, maxUnavailable: 0 });
  assert.deepEqual(boundsOf(deployment(10)), { wanted: 10, maxSurge: 3, maxUnavailable: 2 });
  const none = { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: "0%" } };
  assert.deepEqual(boundsOf(deployment(4, none)), { wanted: 4, maxSurge: 0, maxUnavailable: 1 });
});

test("a rolling update ends with all Pods new, and keeps its bounds at every step, in whatever order Pods become available", () => {
  const cases = fc.record({
    wanted: fc.integer({ min: 1, max: 12 }),
    oldReplicas: fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 3 }),
    surge: fc.integer({ min: 0, max: 4 }),
    unavailable: fc.integer({ min: 0, max: 4 }),
    readiness: fc.infiniteStream(fc.boolean()),
  });
  fc.assert(
    fc.property(cases, ({ wanted, oldReplicas, surge, unavailable, readiness }) => {
      const rollingUpdate = { maxSurge: surge, maxUnavailable: unavailable };
      const bounds = boundsOf(deployment(wanted, { type: "RollingUpdate", rollingUpdate }));
      let current: Generation = { name: "new", replicas: 0, available: 0 };
      let old: readonly Generation[] = oldReplicas.map((replicas, index) => ({
        name: `old${index}`,
        replicas,
        available: replicas,
      }));
      const total = () => [current, ...old].reduce((sum, { replicas }) => sum + replicas, 0);
      const available = () => [current, ...old].reduce((sum, set) => sum + set.available, 0);
      for (let step = 0; step < 200; step++) {
        const [totalBefore, availableBefore] = [total(), available()];
        const targets = nextStep(current, old, bounds);
        const apply = (set: Generation): Generation => {
          const replicas = targets.get(set.name) ?? set.replicas;
          return { ...set, replicas, available: Math.min(set.available, replicas) };
        };
        current = apply(current);
        old = old.map(apply);
        assert.ok(total() <= Math.max(totalBefore, wanted + bounds.maxSurge));
        assert.ok(available() >= Math.min(availableBefore, wanted - bounds.maxUnavailable));
        if (current.available < current.replicas && (step % 3 === 2 || readiness.next().value === true))
          current = { ...current, available: current.available + 1 };
      }
      assert.equal(current.replicas, wanted);
      assert.equal(total(), wanted);
    }),
  );
});
