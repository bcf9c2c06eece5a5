import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPAddresses, spiderIPPools } from "#api";
import { never } from "#base";
import { events } from "#kube";
import { TestCluster } from "../testing/cluster.ts";

/** A leader and a deleted pool, which its finalizer holds. */
async function deletedPool(claimed: readonly string[] = []) {
  const cluster = new TestCluster();
  const pool = cluster.pool("p");
  for (const address of claimed) cluster.claim(address, pool);
  await cluster.start();
  await cluster.pass(2_000);
  await cluster.client.delete(spiderIPPools, { name: "p" }, { signal: never });
  const isThere = () => cluster.api.read(spiderIPPools, { name: "p" }) !== undefined;
  return { cluster, pool, isThere };
}

describe("the finalizer of a pool", () => {
  it("goes 120 s after the deletion, even if nothing was ever claimed", async () => {
    const { cluster, isThere } = await deletedPool();
    await using _cluster = cluster;
    await cluster.pass(118_000);
    assert.equal(isThere(), true);
    await cluster.pass(4_000);
    assert.equal(isThere(), false);
  });

  it("stays while an address is claimed, and goes after two reads, 30 s apart, find nothing", async () => {
    const { cluster, isThere } = await deletedPool(["172.18.30.131"]);
    await using _cluster = cluster;
    await cluster.pass(300_000);
    assert.equal(isThere(), true);
    const told = () => cluster.api.all(events).flatMap((e) => (e.reason === "DeletionWaits" ? [e.message ?? ""] : []));
    assert.match(told().join("\n"), /^addresses of IPPool p are in use: .*spiderpoolctl ip show --pool p says who/);
    cluster.release("172.18.30.131");
    await cluster.pass(28_000);
    assert.equal(isThere(), true);
    assert.match(told().join("\n"), /\nnobody has an address of IPPool p: it is gone within two minutes/);
    await cluster.pass(4_000);
    assert.equal(isThere(), false);
  });

  it("trusts no watch: a claim that the watch does not show keeps the pool", async () => {
    const { cluster, pool, isThere } = await deletedPool();
    await using _cluster = cluster;
    await cluster.pass(80_000);
    cluster.api.pauseWatches();
    cluster.claim("172.18.30.140", pool);
    await cluster.pass(60_000);
    assert.equal(isThere(), true);
    cluster.api.remove(spiderIPAddresses, { name: "172.18.30.140" });
    await cluster.pass(65_000);
    assert.equal(isThere(), false);
  });

  it("counts a claim on its address that names another pool", async () => {
    const { cluster, pool, isThere } = await deletedPool();
    await using _cluster = cluster;
    cluster.claim("172.18.30.140", { ...pool, metadata: { ...pool.metadata, name: "former", uid: "former" } });
    await cluster.pass(200_000);
    assert.equal(isThere(), true);
  });
});
