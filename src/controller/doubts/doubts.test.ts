import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, readDoubts, type SpiderIPPool, spiderIPAddresses } from "#api";
import { never } from "#base";
import { nodes, pods } from "#kube";
import { TestCluster } from "../testing/cluster.ts";

const many = 1_000;
const doubtsOf = (cluster: TestCluster, name: string) => {
  const text = cluster.api.read(nodes, { name })?.metadata.annotations?.[annotations.doubts];
  return text === undefined ? undefined : readDoubts(text);
};
const patches = ({ api }: TestCluster) =>
  api.requests.filter(({ method, path }) => method === "PATCH" && path.startsWith("/api/v1/nodes/")).length;

/** Nodes with their agents, and a running Pod with a claim on every hundredth. */
async function settled(nodeCount = 301) {
  const cluster = new TestCluster();
  const pool: SpiderIPPool = cluster.pool("p");
  for (let at = 0; at < nodeCount; at++) cluster.node(`n${at}`);
  for (let at = 0; at < nodeCount; at += 100) held(cluster, pool, at);
  await cluster.start();
  await cluster.pass(60_000);
  return { cluster, pool };
}

const addressOf = (at: number) => `172.18.31.${at / 100}`;
function held(cluster: TestCluster, pool: SpiderIPPool, at: number) {
  const pod = cluster.pod(`pod-${at}`, { spec: { nodeName: `n${at}` } });
  cluster.claim(addressOf(at), pool, `n${at}`, { podName: pod.metadata.name, podUID: pod.metadata.uid });
  return pod;
}

describe("Doubts", () => {
  it("tells the right agent among a thousand within seconds, and nobody while ledger and Pods agree", async () => {
    const { cluster, pool } = await settled(many);
    await using _cluster = cluster;
    assert.equal(patches(cluster), 0);
    const before = cluster.api.requests.length;
    cluster.claim("172.18.30.139", pool, "n7", { podName: "ghost" });
    cluster.claim("172.18.30.138", pool, "n100", { podName: "pod-100", podUID: "former" });
    cluster.release(addressOf(300));
    await cluster.pass(10_000);
    assert.deepEqual(
      ["n7", "n100", "n300"].map((node) => doubtsOf(cluster, node)),
      [["172.18.30.139"], ["172.18.30.138"], [addressOf(300)]],
    );
    assert.equal(patches(cluster), 3);
    const lists = cluster.api.requests
      .slice(before)
      .filter(({ method, path }) => method === "GET" && !path.includes("watch="));
    assert.deepEqual(
      lists.map(({ path }) => path),
      [],
    );
  });

  it("says nothing about claims that the agent releases, or makes again, by itself", async () => {
    const { cluster, pool } = await settled();
    await using _cluster = cluster;
    cluster.claim("172.18.30.139", pool, "n7", { podName: "ghost" });
    cluster.release(addressOf(300));
    await cluster.pass(2_000);
    cluster.release("172.18.30.139");
    const pod = cluster.api.read(pods, { namespace: "default", name: "pod-300" });
    cluster.claim(addressOf(300), pool, "n300", { podName: "pod-300", podUID: pod?.metadata.uid ?? "" });
    await cluster.pass(60_000);
    assert.equal(patches(cluster), 0);
  });

  it("repeats a lasting doubt less and less often, and forgets a node that is gone", async () => {
    const { cluster, pool } = await settled();
    await using _cluster = cluster;
    cluster.claim("172.18.30.139", pool, "n7", { podName: "ghost" });
    await cluster.pass(120_000);
    assert.equal(patches(cluster), 3, "after 5, 35 and 95 seconds");
    await cluster.client.delete(nodes, { name: "n7" }, { signal: never });
    await cluster.pass(600_000);
    assert.equal(patches(cluster), 4, "once it is not found");
  });

  it("does not name more claims at once than an agent reads", async () => {
    const { cluster, pool } = await settled();
    await using _cluster = cluster;
    for (let at = 0; at < 40; at++) cluster.claim(`172.18.32.${at}`, pool, "n7", { podName: `ghost-${at}` });
    await cluster.pass(10_000);
    assert.equal(doubtsOf(cluster, "n7")?.length, 8);
    assert.equal(patches(cluster), 2);
    assert.equal(cluster.api.all(spiderIPAddresses).length, 44);
  });
});
