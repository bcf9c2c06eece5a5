import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { recordMeanwhile } from "./recording.ts";
import type { RecordedNetwork, SandboxRecord } from "./records.ts";

const result = { cniVersion: "1.0.0", interfaces: [] };

function network(ifName: string, more: Partial<RecordedNetwork> = {}): RecordedNetwork {
  const own = { name: `default/${ifName}`, networkName: ifName, cniVersion: "1.0.0", plugins: [] };
  return { ...own, ifName, cniArgs: [], capabilityArgs: {}, ...more };
}

function record(networks: readonly RecordedNetwork[], more: Partial<SandboxRecord> = {}): SandboxRecord {
  const of = { containerId: "c1", ifName: "eth0", network: "multus", bootId: "this", pod: null };
  const netns = { path: "/run/netns/c1", device: "4", inode: "7" };
  return { format: 1, ...of, netns, networks, complete: false, ...more };
}

describe("the record while an ADD is under way", () => {
  const running = record([network("eth0", { result }), network("net1", { result })], {
    complete: true,
    answeredAtMs: 5,
  });

  it("is its own where it is the sandbox's first", () => {
    const fresh = record([network("eth0")]);
    assert.equal(recordMeanwhile(fresh, undefined), fresh);
  });

  it("has what runs as it is, and what only this ADD is to make", () => {
    const fresh = record([network("eth0"), network("net2")]);
    assert.deepEqual(recordMeanwhile(fresh, running), {
      ...running,
      networks: [...running.networks, network("net2")],
    });
  });

  const ended: Readonly<Record<string, Partial<SandboxRecord>>> = {
    "never came to its end": { complete: false },
    "was of another boot": { bootId: "former" },
    "had another namespace": { netns: { ...running.netns, inode: "8" } },
  };
  for (const [what, more] of Object.entries(ended)) {
    it(`is its own where the former one ${what}, with what that may have made besides`, () => {
      const fresh = record([network("eth0")]);
      const found = recordMeanwhile(fresh, { ...running, ...more });
      assert.deepEqual(found, { ...fresh, networks: [network("eth0"), network("net1", { result })] });
    });
  }
});
