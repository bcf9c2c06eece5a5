import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { SpiderIPAddressSpec } from "#api";
import { decide, type HolderView, limits, type Observation, type Policy } from "./decide.ts";

const ms = fc.oneof(fc.constantFrom(0, 30_000, limits.nodeAbsentMs, limits.agentMissingMs), fc.nat(2_000_000));
const held = <T>(fact: fc.Arbitrary<T>) => fc.record({ fact, forMs: ms });
const podFact = fc.oneof(
  fc.constantFrom({ kind: "alive" } as const, { kind: "gone" } as const, { kind: "unknowable" } as const),
  fc.constant({ kind: "replaced", uid: "other" } as const),
  fc.record({ kind: fc.constant("without-addresses" as const), phase: fc.constantFrom("Running", "Unknown") }),
  fc.record({
    kind: fc.constant("ending" as const),
    how: fc.constantFrom("Terminating" as const, "Succeeded" as const, "Failed" as const),
    graceMs: fc.constantFrom(0, 30_000),
  }),
);
const view: fc.Arbitrary<HolderView> = fc.record({
  pod: held(podFact),
  node: held(
    fc
      .constantFrom(
        "ready" as const,
        "unready" as const,
        "silent" as const,
        "out-of-service" as const,
        "absent" as const,
      )
      .map((kind) => ({ kind })),
  ),
  agent: held(fc.constantFrom("ready" as const, "missing" as const, "untold" as const).map((kind) => ({ kind }))),
});
const base = {
  format: 1,
  address: "10.0.0.1",
  pool: "p",
  poolUID: "u",
  poolGeneration: 1,
  podName: "a-0",
  podUID: "x",
};
const until = fc.constantFrom("1970-01-01T00:00:10Z", "1970-01-01T00:00:30Z");
const spec: fc.Arbitrary<SpiderIPAddressSpec> = fc.oneof(
  fc.constant({ ...base, purpose: "Pod" as const, node: "n1" }),
  fc.constant({ ...base, purpose: "Sticky" as const, node: "n1" }),
  fc.constant({ ...base, purpose: "Sticky" as const, node: "n1", nextNode: "n2", nextPodName: "b", nextPodUID: "y" }),
  fc.boolean().map((unclean) => ({ ...base, purpose: "Sticky" as const, unclean })),
  fc.constant({ ...base, purpose: "Lease" as const, node: "n1" }),
  until.map((at) => ({ ...base, purpose: "Hold" as const, until: at, reason: "r" })),
  until.map((at) => ({ ...base, purpose: "Quarantine" as const, until: at, reason: "r", node: "n1" })),
  until.map((at) => ({ ...base, purpose: "Quarantine" as const, until: at, reason: "r" })),
);
const observation: fc.Arbitrary<Observation> = fc
  .record({
    spec,
    holder: view,
    next: view,
    owner: fc.constantFrom(
      { kind: "valid" } as const,
      { kind: "invalid", why: "w" } as const,
      { kind: "unknown" } as const,
    ),
    stickyPod: podFact,
    probe: fc.constantFrom("silent" as const, "answered" as const, "unknown" as const),
  })
  .map(({ spec: of, holder, next, owner, stickyPod, probe }) => ({
    spec: of,
    forced: false,
    holder: of.node === undefined ? undefined : holder,
    next: of.nextNode === undefined ? undefined : next,
    sticky:
      of.purpose === "Sticky" && of.node === undefined ? { owner, pod: stickyPod, successor: undefined } : undefined,
    probe: of.purpose === "Quarantine" ? probe : "unknown",
    nowMs: 20_000,
    untilSeenMs: 0,
  }));
const policy: fc.Arbitrary<Policy> = fc.record({
  enabled: fc.boolean(),
  endingOnReadyNode: fc.boolean(),
  endingOnNotReadyNode: fc.boolean(),
  runningWithoutAddresses: fc.boolean(),
  delayMs: fc.constantFrom(0, 10_000),
});

const isHeld = ({ spec: { purpose } }: Observation) => purpose === "Pod" || purpose === "Sticky";
const isFenced = ({ node }: HolderView) =>
  node.fact.kind === "out-of-service" || (node.fact.kind === "absent" && node.forMs >= limits.nodeAbsentMs);
const always = (property: (seen: Observation, by: Policy) => void) =>
  fc.assert(fc.property(observation, policy, property), { numRuns: 5_000 });

describe("decide()", () => {
  it("gives the same verdict for what was logged: evidence can be judged again", () => {
    always((seen, by) => {
      assert.deepEqual(decide(JSON.parse(JSON.stringify(seen)), by), decide(seen, by));
    });
  });

  it("leaves every claim to a node that is ready with its agent, and to a Pod that is alive", () => {
    always((seen, by) => {
      const { holder } = seen;
      if (holder === undefined || !isHeld(seen) || seen.next !== undefined) return;
      const speaks = holder.node.fact.kind === "ready" && holder.agent.fact.kind !== "missing";
      if (speaks || holder.pod.fact.kind === "alive") assert.equal(decide(seen, by).kind, "keep");
    });
  });

  it("deletes a Pod's claim only where its node is fenced and its Pod gone", () => {
    always((seen, by) => {
      const verdict = decide(seen, by);
      if (seen.spec.purpose !== "Pod" || verdict.kind === "keep" || verdict.action !== "release") return;
      assert.ok(seen.holder !== undefined && isFenced(seen.holder));
      assert.ok(["gone", "replaced", "unknowable"].includes(seen.holder.pod.fact.kind));
    });
  });

  it("never deletes an attached sticky claim, nor a detached one that was left uncleanly", () => {
    always((seen, by) => {
      const verdict = decide(seen, by);
      if (seen.spec.purpose !== "Sticky" || verdict.kind === "keep" || verdict.action !== "release") return;
      assert.equal(seen.spec.node, undefined);
      assert.notEqual(seen.spec.unclean, true);
      assert.equal(seen.sticky?.owner.kind, "invalid");
    });
  });

  it("ends no hold or quarantine before its time, and no quarantine that a probe answers for", () => {
    always((seen, by) => {
      const { purpose, until: at = "" } = seen.spec;
      if (purpose !== "Hold" && purpose !== "Quarantine") return;
      const verdict = decide(seen, by);
      if (Date.parse(at) > seen.nowMs) assert.equal(verdict.kind, "keep");
      if (seen.probe === "answered" && verdict.kind === "act") assert.equal(verdict.action, "extend");
      assert.equal(decide({ ...seen, untilSeenMs: limits.untilMs }, by).kind, "act", "whatever the clocks say");
    });
  });

  it("touches no held claim where collection is switched off, and any claim on an order", () => {
    always((seen, by) => {
      if (isHeld(seen)) assert.equal(decide(seen, { ...by, enabled: false }).kind, "keep");
      const verdict = decide({ ...seen, forced: true }, { ...by, enabled: false });
      assert.ok(verdict.kind === "act" && verdict.action === "release");
    });
  });

  it("names at least one piece of evidence for whatever it does", () => {
    always((seen, by) => {
      const verdict = decide(seen, by);
      if (verdict.kind === "act")
        assert.ok(verdict.evidence.length > 0 && verdict.evidence.every((text) => text !== ""));
    });
  });
});
