import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPPools } from "#api";
import { TestCluster } from "../testing/cluster.ts";

describe("a pool's status", () => {
  it("follows claims as they come and go", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    await cluster.start();
    await cluster.pass(1_000);
    const status = () => cluster.api.read(spiderIPPools, { name: "p" })?.status;
    assert.deepEqual(status(), { allocatedIPCount: 0, totalIPCount: 10 });
    await cluster.pass(1_000);
    cluster.claim("172.18.30.131", pool);
    await cluster.settle();
    assert.equal(status()?.allocatedIPCount, 1);
    assert.deepEqual(JSON.parse(status()?.allocatedIPs ?? ""), {
      "172.18.30.131": { pod: "default/pod-172.18.30.131", podUid: "uid-172.18.30.131" },
    });
    cluster.release("172.18.30.131");
    await cluster.pass(1_000);
    assert.deepEqual(status(), { allocatedIPCount: 0, totalIPCount: 10 });
  });
});
