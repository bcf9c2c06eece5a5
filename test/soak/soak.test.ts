import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judge } from "./judge.ts";
import { type SoakReport, soak } from "./soak.ts";

describe("churn with agents that are killed and nodes that are cut off", () => {
  it("loses no address of a living Pod, gives none twice, leaves nothing, and fails no call for another reason", async () => {
    const report = await soak({ seconds: 20, width: 4, seed: 1, faults: true });
    assert.deepEqual(judge(report, { faults: true }), []);
  });
});

describe("churn of Pods with three NICs", () => {
  it("leaves no interface, port, rule, route, neighbour, nf_tables rule, record or claim of 500 Pods, or of as many as come in half a minute", async () => {
    const report = await soak({ seconds: 30, podsMax: 250, width: 16, nics: 3, seed: 3, faults: false });
    assert.deepEqual(judge(report, { faults: false }), []);
  });
});

describe("the verdict on a soak", () => {
  const pods = { pods: 500, adds: 1_000, violations: [] };
  const calm = { churns: [{ ...pods, failures: {} }], kills: 0, partitions: 0, rssMb: new Map(), left: [] };
  const failed = (words: string, times = 1, soonestMs = 5) => ({
    ...calm,
    kills: 1,
    churns: [{ ...pods, failures: { [words]: { times, soonestMs } } }],
  });
  const judged = (report: SoakReport, faults = false) => judge(report, { faults }).length;

  it("is without reproach where Pods came and went", () => assert.equal(judged(calm), 0));

  it("finds what is left, what was violated, that no Pod came and that no agent was killed", () => {
    const other = { ...pods, pods: 0, violations: ["10.6.0.1 is in use"], failures: {} };
    assert.deepEqual(judge({ ...calm, churns: [other], left: ["node1: link veth1"] }, { faults: true }), [
      ...["left: node1: link veth1", "10.6.0.1 is in use", "no Pod came", "no agent was killed"],
    ]);
  });

  it("excuses with faults what they cause, and nothing else", () => {
    const lost = "add: spiderpool-agent did not answer; socket /var/run/spidernet/cni.sock: Connection reset by peer";
    const pending = "add: an earlier create of address … may still take effect: try again";
    assert.deepEqual([judged(failed(lost), true), judged(failed(lost))], [1, 1]);
    assert.deepEqual([judged(failed(pending), true), judged(failed(pending))], [0, 1]);
    assert.equal(judged(failed("add: another interface on br1 has the MAC address 0a:58:ac:14:64:20"), true), 1);
  });

  it("wants memory flat, the first two minutes aside, where no agent was killed", () => {
    const grown = (...minutes: readonly number[]) => ({ ...calm, kills: 1, rssMb: new Map([["node1", minutes]]) });
    assert.equal(judged(grown(40, 70, 88, 89, 86, 92)), 0);
    assert.equal(judged(grown(40)), 0);
    assert.equal(judged(grown(40, 70, 80, 88, 96, 104)), 1);
    assert.equal(judged(grown(40, 70, 80, 88, 96, 104), true), 0);
  });
});
