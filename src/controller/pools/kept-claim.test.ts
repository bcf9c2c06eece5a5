import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, type SpiderIPAddress } from "#api";
import { claimOf } from "#ledger";
import { KeptClaim, keptClaimOf, trimClaim } from "./kept-claim.ts";

const claim = (name: string, spec: Partial<SpiderIPAddress["spec"]> = {}): SpiderIPAddress => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: "7", labels: { pool: "p" } },
  spec: {
    format: 1,
    address: name.replaceAll("-", ":"),
    purpose: "Pod",
    pool: "p",
    poolUID: "u",
    poolGeneration: 3,
    node: "n",
    podNamespace: "team",
    podName: "web-0",
    podUID: "w0",
    nic: "eth0",
    containerID: "c",
    since: "s",
    ...spec,
  },
});

describe("trimClaim()", () => {
  it("keeps of a Pod's claim, IPv4 or IPv6, every field that decisions need and nothing else", () => {
    for (const name of ["10.0.0.7", "fd00-0000-0000-0000-0000-0000-0000-0007"]) {
      const {
        containerID: _container,
        since: _since,
        ...spec
      } = claim(name, { owner: "apps/v1/StatefulSet/team/web", waiting: 3 }).spec;
      const kept = trimClaim(claim(name, { owner: "apps/v1/StatefulSet/team/web", waiting: 3 }));
      assert.ok(kept instanceof KeptClaim);
      assert.deepEqual(kept.spec, spec);
      const { uid, resourceVersion } = kept.metadata;
      assert.deepEqual(
        { name: kept.metadata.name, uid, resourceVersion },
        { name, uid: `uid-${name}`, resourceVersion: "7" },
      );
      assert.equal(keptClaimOf(kept), kept, "it is the decoded claim too");
      assert.deepEqual(kept.ip, claimOf(claim(name))?.ip);
    }
  });

  it("gives each claim its own parts, in whatever order those of several are read", () => {
    const [a, b] = ["10.0.0.7", "10.0.0.8"].map((name) => trimClaim(claim(name, { podName: `pod-${name}` })));
    for (const kept of [a, b, a, b, b]) {
      assert.ok(kept instanceof KeptClaim);
      assert.deepEqual([kept.spec.podName, kept.spec.address], [`pod-${kept.name}`, kept.name]);
      assert.deepEqual(kept.ip, claimOf(claim(kept.name))?.ip);
    }
  });

  it("keeps fields of other claims: an order to release, a second holder, the end of a hold", () => {
    const ordered = claim("10.0.0.7");
    const forced = { [annotations.forceRelease]: "uid-10.0.0.7" };
    const kept = trimClaim({ ...ordered, metadata: { ...ordered.metadata, annotations: { ...forced, other: "x" } } });
    assert.deepEqual(kept.metadata.annotations, forced);
    const second = trimClaim(claim("10.0.0.8", { purpose: "Sticky", nextNode: "m", nextPodName: "web-0" }));
    assert.deepEqual([second.spec.nextNode, second.spec.nextPodName], ["m", "web-0"]);
    const held = trimClaim(claim("10.0.0.9", { purpose: "Hold", until: "2030-01-01T00:00:00Z", reason: "why" }));
    assert.deepEqual([held.spec.until, held.spec.reason], ["2030-01-01T00:00:00Z", "why"]);
  });

  it("leaves a claim unchanged whose address contradicts its name", () => {
    const kept = trimClaim(claim("10.0.0.7", { address: "10.0.0.8" }));
    assert.equal(kept.spec.address, "10.0.0.8");
    assert.equal(keptClaimOf(trimClaim(claim("no-address"))), undefined);
  });
});
