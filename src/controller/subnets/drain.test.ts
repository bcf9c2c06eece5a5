import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizer, type SpiderSubnet, spiderIPPools, spiderSubnets } from "#api";
import { never } from "#base";
import { TestCluster } from "../testing/cluster.ts";

/** A leader and a deleted subnet, which its finalizer holds. */
async function deletedSubnet(pools: readonly string[] = []) {
  const cluster = new TestCluster();
  for (const name of pools) cluster.pool(name, { subnet: "10.0.0.0/16", ips: ["10.0.0.2"], gateway: "10.0.0.1" });
  cluster.api.apply<SpiderSubnet>(spiderSubnets, {
    metadata: { name: "s", finalizers: [finalizer] },
    spec: { subnet: "10.0.0.0/16", ips: ["10.0.0.2-10.0.0.9"] },
  });
  await cluster.start();
  await cluster.client.delete(spiderSubnets, { name: "s" }, { signal: never });
  await cluster.pass(1_000);
  return { cluster, isThere: () => cluster.api.read(spiderSubnets, { name: "s" }) !== undefined };
}

describe("the finalizer of a subnet", () => {
  it("goes at once if no pool has a part of it", async () => {
    const { cluster, isThere } = await deletedSubnet();
    await using _cluster = cluster;
    assert.equal(isThere(), false);
  });

  it("stays while a pool has a part of it, and deletes that pool", async () => {
    const { cluster, isThere } = await deletedSubnet(["p"]);
    await using _cluster = cluster;
    assert.equal(isThere(), true);
    const { deletionTimestamp } = cluster.api.read(spiderIPPools, { name: "p" })?.metadata ?? {};
    assert.notEqual(deletionTimestamp, undefined);
    await cluster.pass(200_000);
    assert.deepEqual([isThere(), cluster.api.read(spiderIPPools, { name: "p" })], [false, undefined]);
  });
});
