import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { TestCluster } from "../testing/cluster.ts";

const statusWrites = ({ api }: TestCluster) => api.requests.filter(({ path }) => path.includes("/p/status")).length;
const usageWrites = ({ api }: TestCluster) =>
  api.requests.filter(({ method, path }) => method !== "GET" && path.includes("spiderpoolusages")).length;

/** A cluster with a leader and the idle pool `p`, all views written. */
async function quietCluster() {
  const cluster = new TestCluster();
  const pool = cluster.pool("p");
  await cluster.start();
  await cluster.pass(3_000);
  const status = () => cluster.api.read(spiderIPPools, { name: "p" })?.status;
  const usage = () => cluster.api.read(spiderPoolUsages, { name: "p" })?.spec;
  return { cluster, pool, status, usage };
}

describe("a pool's status", () => {
  it("follows claims as they come and go", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    assert.deepEqual(status(), { allocatedIPCount: 0, totalIPCount: 10 });
    cluster.claim("172.18.30.132", pool);
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(1_000);
    assert.equal(status()?.allocatedIPCount, 2);
    const record = (ip: string) => `"${ip}":{"pod":"default/pod-${ip}","podUid":"uid-${ip}"}`;
    assert.equal(status()?.allocatedIPs, `{${record("172.18.30.131")},${record("172.18.30.132")}}`);
    cluster.release("172.18.30.131");
    cluster.release("172.18.30.132");
    await cluster.pass(1_000);
    assert.deepEqual(status(), { allocatedIPCount: 0, totalIPCount: 10 });
  });

  it("is written at once where it was quiet, then at most once a second", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    const before = statusWrites(cluster);
    cluster.claim("172.18.30.131", pool);
    await cluster.settle();
    assert.deepEqual([status()?.allocatedIPCount, statusWrites(cluster) - before], [1, 1]);
    for (const last of [2, 3, 4, 5]) cluster.claim(`172.18.30.13${last}`, pool);
    await cluster.pass(900);
    assert.equal(statusWrites(cluster) - before, 1);
    await cluster.pass(200);
    assert.deepEqual([status()?.allocatedIPCount, statusWrites(cluster) - before], [5, 2]);
    await cluster.pass(5_000);
    assert.equal(statusWrites(cluster) - before, 2);
  });

  it("counts the addresses of a huge pool as 2^63 - 1, digit by digit", async () => {
    await using cluster = new TestCluster();
    cluster.pool("p", { subnet: "fd00::/64", ips: ["fd00::-fd00::ffff:ffff:ffff:ffff"], gateway: "" });
    await cluster.start();
    await cluster.pass(2_000);
    const sent = cluster.api.requests.filter(({ path }) => path.includes("/p/status"));
    assert.match(Buffer.from(sent.at(-1)?.body ?? []).toString(), /"totalIPCount":9223372036854775807\b/);
    await cluster.pass(5_000);
    assert.equal(cluster.api.requests.filter(({ path }) => path.includes("/p/status")).length, sent.length);
  });

  it("counts a claim by its address where its pool was made anew", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(1_000);
    cluster.api.remove(spiderIPPools, { name: "p" });
    cluster.pool("p");
    await cluster.pass(5_000);
    assert.equal(status()?.allocatedIPCount, 1);
  });
});

describe("SpiderPoolUsage", () => {
  it("tells what is taken, how many are free, and on which nodes", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    assert.deepEqual([usage()?.used, usage()?.free, usage()?.nodes, usage()?.epoch], [[], 10, [], 0]);
    cluster.claim("172.18.30.131", pool, "n2");
    cluster.claim("172.18.30.132", pool, "n1");
    await cluster.pass(1_000);
    assert.deepEqual(usage()?.used, ["172.18.30.131-172.18.30.132"]);
    assert.deepEqual([usage()?.free, usage()?.nodes], [8, ["n1", "n2"]]);
  });

  it("is published within 25 ms where a tenth of what was free is gone, and within a second otherwise", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.131", pool);
    await cluster.settle();
    assert.equal(usage()?.free, 9);
    cluster.claim("172.18.30.132", pool);
    await cluster.pass(30);
    assert.equal(usage()?.free, 8);
    const before = usageWrites(cluster);
    cluster.release("172.18.30.132");
    await cluster.pass(500);
    assert.equal(usageWrites(cluster), before);
    await cluster.pass(600);
    assert.equal(usage()?.free, 9);
  });

  it("names an address that was released as cooling for 30 s", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    cluster.release("172.18.30.131");
    await cluster.pass(2_000);
    assert.deepEqual([usage()?.used, usage()?.cooling], [[], ["172.18.30.131"]]);
    await cluster.pass(27_000);
    assert.deepEqual(usage()?.cooling, ["172.18.30.131"]);
    await cluster.pass(2_000);
    assert.equal(usage()?.cooling, undefined);
  });

  it("is written only when something changed, comes back when it is removed, and goes with its pool", async () => {
    const { cluster, usage } = await quietCluster();
    await using _cluster = cluster;
    const before = usageWrites(cluster);
    await cluster.pass(10_000);
    assert.equal(usageWrites(cluster), before);
    cluster.api.remove(spiderPoolUsages, { name: "p" });
    await cluster.pass(100);
    assert.equal(usage()?.free, 10);
    cluster.api.remove(spiderIPPools, { name: "p" });
    await cluster.pass(100);
    assert.equal(usage(), undefined);
  });
});
