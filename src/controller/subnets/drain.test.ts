import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizer, type SpiderSubnet, spiderSubnets } from "#api";
import { never } from "#base";
import { TestCluster } from "../testing/cluster.ts";

/** A leader and a deleted subnet, which its finalizer holds. */
async function deletedSubnet(status: SpiderSubnet["status"]) {
  const cluster = new TestCluster();
  cluster.api.apply<SpiderSubnet>(spiderSubnets, {
    metadata: { name: "s", finalizers: [finalizer] },
    spec: { subnet: "10.0.0.0/16" },
    ...(status === undefined ? {} : { status }),
  });
  await cluster.start();
  await cluster.client.delete(spiderSubnets, { name: "s" }, { signal: never });
  await cluster.pass(1_000);
  return { cluster, isThere: () => cluster.api.read(spiderSubnets, { name: "s" }) !== undefined };
}

describe("the finalizer of a subnet", () => {
  it("goes at once where no pool has a part of it", async () => {
    const { cluster, isThere } = await deletedSubnet(undefined);
    await using _cluster = cluster;
    assert.equal(isThere(), false);
  });

  it("stays while a pool has a part of it", async () => {
    const { cluster, isThere } = await deletedSubnet({ controlledIPPools: '{"p":{"ips":["10.0.0.1"]}}' });
    await using _cluster = cluster;
    assert.equal(isThere(), true);
  });
});
