import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { annotations, spiderIPAddresses, spiderIPPools } from "#api";
import { nodes } from "#kube";
import { TestCluster } from "./testing/agent.ts";

let cluster: TestCluster;

beforeEach(() => {
  cluster = new TestCluster();
  cluster.pool("pool", "10.6.0.1-10.6.0.9");
  for (const name of ["n1", "n2"]) cluster.api.fake.apply(nodes, { metadata: { name } });
});
afterEach(() => cluster[Symbol.dispose]());

/** Closes or opens all pools, as the leader does. */
function close(token: string | undefined): void {
  const { fake } = cluster.api;
  for (const pool of fake.all(spiderIPPools)) {
    const noted = token === undefined ? {} : { [annotations.ledgerClosed]: token };
    fake.apply(spiderIPPools, { ...pool, metadata: { ...pool.metadata, annotations: noted } });
  }
}

/** Every claim is lost, without a word. */
function loseLedger(): void {
  for (const { metadata } of cluster.api.fake.all(spiderIPAddresses)) {
    cluster.api.fake.remove(spiderIPAddresses, { name: metadata.name });
  }
}

const specs = () => cluster.api.fake.all(spiderIPAddresses).map(({ spec }) => spec);
const toldOf = (name: string) =>
  cluster.api.fake.read(nodes, { name })?.metadata.annotations?.[annotations.ledgerClosed];

/** A server that is away for a moment, and comes back as it was at the backup. */
async function putBack(restore: () => void): Promise<void> {
  cluster.api.fake.bookmark();
  await cluster.advance(0);
  cluster.api.fake.fail(({ path }) => path.includes("watch="), { kind: "not-sent" }, 10);
  restore();
}

describe("an API server that was put back to an earlier state", () => {
  it("is seen by each agent: it claims its addresses again at once, and gives no other before the leader says so", async () => {
    const agents = [await cluster.agent("n1"), await cluster.agent("n2")] as const;
    for (const name of ["a", "b"]) cluster.pod({ name });
    const restore = cluster.api.fake.backup();
    await agents[0].add("a", "s-a");
    const [ip] = await agents[0].add("b", "s-b");
    const before = cluster.claims;
    await cluster.advance(2_000);
    await putBack(restore);
    assert.deepEqual(cluster.claims, {});
    cluster.pod({ name: "c", node: "n2" });
    let got: readonly string[] = [];
    const adding = agents[1].add("c", "s-c").then((ips) => {
      got = ips;
    });
    await cluster.advance(20_000);
    assert.deepEqual([cluster.claims, got], [before, []]);
    close("t1");
    await cluster.advance(5_000);
    assert.deepEqual([toldOf("n1"), toldOf("n2"), got], ["t1", "t1", []]);
    close(undefined);
    await adding;
    assert.ok(got.length === 1 && got[0] !== ip);
  });

  it("is not waited for longer than a minute where no leader has seen it", async () => {
    const agent = await cluster.agent("n1");
    const restore = cluster.api.fake.backup();
    cluster.pod({ name: "a" });
    await agent.add("a", "s-a");
    await cluster.advance(2_000);
    await putBack(restore);
    await cluster.advance(1_000);
    cluster.pod({ name: "b" });
    const added = agent.add("b", "s-b");
    await cluster.advance(65_000);
    assert.equal((await added).length, 1);
  });
});

describe("a lost ledger", () => {
  it("is made again by the agents, claim by claim, and each says so on its Node", async () => {
    const agents = { n1: await cluster.agent("n1"), n2: await cluster.agent("n2") };
    for (const [name, node] of [
      ["a", "n1"],
      ["b", "n1"],
      ["c", "n2"],
    ] as const) {
      cluster.pod({ name, node });
      await agents[node].add(name, `s-${name}`);
    }
    await cluster.advance(5_000);
    const before = cluster.claims;
    assert.equal(Object.keys(before).length, 3);
    loseLedger();
    close("t1");
    await cluster.advance(5_000);
    assert.deepEqual(cluster.claims, before);
    assert.deepEqual([toldOf("n1"), toldOf("n2")], ["t1", "t1"]);
  });

  it("gives no new address while it is closed, and answers when it is open", async () => {
    const agent = await cluster.agent("n1");
    close("t1");
    await cluster.advance(1_000);
    cluster.pod({ name: "a" });
    let answered = false;
    const adding = agent.add("a", "s1").finally(() => {
      answered = true;
    });
    await cluster.advance(10_000);
    assert.deepEqual([answered, cluster.claims], [false, {}]);
    close(undefined);
    assert.deepEqual(await adding, ["10.6.0.1"]);
  });

  it("is not waited for longer than a minute", async () => {
    const agent = await cluster.agent("n1");
    close("t1");
    await cluster.advance(58_000);
    cluster.pod({ name: "a" });
    assert.deepEqual(await agent.add("a", "s1"), ["10.6.0.1"]);
  });

  it("leaves an address to whoever has it by now, and cuts off the sandbox that had it", async () => {
    const agent = await cluster.agent("n1");
    const uid = cluster.pod({ name: "a" });
    await agent.add("a", "s1");
    await cluster.advance(5_000);
    const claim = cluster.api.fake.all(spiderIPAddresses)[0] ?? assert.fail();
    loseLedger();
    const spec = { ...claim.spec, node: "n2", podName: "b", podUID: "other" };
    cluster.api.fake.apply(spiderIPAddresses, { metadata: { name: claim.metadata.name }, spec });
    close("t1");
    await cluster.advance(5_000);
    assert.equal(specs()[0]?.podUID, "other");
    assert.deepEqual([agent.ledger.claimsOf(uid), agent.cut, toldOf("n1")], [[], ["s1"], "t1"]);
  });
});
