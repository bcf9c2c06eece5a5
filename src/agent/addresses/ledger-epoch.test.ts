import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { annotations, lostToken, spiderEndpoints, spiderIPAddresses, spiderIPPools, takeOverToken } from "#api";
import { never, type SpiderError } from "#base";
import { parseIp } from "#ip";
import { type KubeObject, nodes, pods } from "#kube";
import { takenOverDraft } from "#ledger";
import { TestCluster } from "../testing/agent.ts";

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

  it("has claims name the sandboxes of now again, not those of then", async () => {
    const agent = await cluster.agent("n1");
    const uid = cluster.pod({ name: "a" });
    await agent.add("a", "s1");
    await cluster.advance(2_000);
    const restore = cluster.api.fake.backup();
    await agent.add("a", "s2");
    await cluster.advance(2_000);
    await putBack(restore);
    await cluster.advance(20_000);
    assert.deepEqual([specs()[0]?.podUID, specs()[0]?.containerID], [uid, "s2"]);
    cluster.erase("a");
    for (const sandbox of ["s1", "s2"]) await agent.del("a", sandbox);
    await cluster.advance(5_000);
    assert.deepEqual(cluster.claims, {});
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

  it("is told to be complete when there is a pool for every address, where pools were lost, too", async () => {
    const agent = await cluster.agent("n1");
    cluster.pod({ name: "a" });
    const [address] = await agent.add("a", "s-a");
    await cluster.advance(5_000);
    const before = cluster.claims;
    loseLedger();
    cluster.api.fake.remove(spiderIPPools, { name: "pool" });
    for (const { metadata } of cluster.api.fake.all(spiderEndpoints))
      cluster.api.fake.remove(spiderEndpoints, metadata);
    cluster.pool("other", "10.6.1.1");
    close("t1");
    await cluster.advance(20_000);
    assert.deepEqual([cluster.claims, toldOf("n1")], [{}, "t1 in part"], "nobody waits for pools that may never come");
    cluster.pool("anew", "10.6.0.1-10.6.0.9");
    close("t1");
    await cluster.advance(5_000);
    assert.deepEqual([cluster.claims, toldOf("n1"), agent.cut, address], [before, "t1", [], "10.6.0.1"]);
    const shown = cluster.api.fake.all(spiderEndpoints).map(({ status }) => status.current.ips[0]?.ipv4);
    assert.deepEqual(shown, ["10.6.0.1/16"]);
  });

  it("is told of by the leader's own closure only: the one of an admission says that he does not know the pool yet", async () => {
    await cluster.agent("n1");
    close(lostToken("1"));
    await cluster.advance(5_000);
    assert.equal(toldOf("n1"), undefined);
    close("t1");
    await cluster.advance(5_000);
    assert.equal(toldOf("n1"), "t1");
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

describe("a node of a former system", () => {
  const owned = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "u", controller: true } as const;

  /** What the controller makes of a Pod that has the address from the former system. */
  function takeOver(address: string, podName: string, podUid: string, owner?: string): void {
    const { metadata } = cluster.api.fake.read(spiderIPPools, { name: "pool" }) ?? assert.fail();
    const pod = { namespace: "default", name: podName, uid: podUid };
    const pool = { name: "pool", uid: metadata.uid, generation: 1 };
    const given = { ip: parseIp(address), pool, pod, nic: "eth0", node: "n1", answer: { prefix: 16 } };
    cluster.api.fake.apply<KubeObject>(
      spiderIPAddresses,
      takenOverDraft({ ...given, owner: owner === undefined ? undefined : { text: owner } }, new Date(0)),
    );
  }
  /** The Pod "old" of this UID has 10.6.0.1 from the former system, and pools are open since. */
  async function takenOver(uid: string): Promise<void> {
    close(takeOverToken("1"));
    await cluster.advance(1_000);
    takeOver("10.6.0.1", "old", uid);
    close(undefined);
    await cluster.advance(5_000);
  }
  const end = (name: string) => {
    const pod = cluster.api.fake.read(pods, { namespace: "default", name }) ?? assert.fail();
    const metadata = { ...pod.metadata, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["ends"] };
    cluster.api.fake.apply(pods, { ...pod, metadata });
  };
  const names = () => Object.keys(cluster.claims);

  it("gives no address until it knows what its Pods have, however long that takes; a new sandbox of theirs keeps it", async () => {
    close(takeOverToken("1"));
    const agent = await cluster.agent("n1");
    const uid = cluster.pod({ name: "old" });
    cluster.pod({ name: "new" });
    const adding = agent.add("new", "s1");
    const again = agent.add("old", "s2");
    await cluster.advance(20_000);
    assert.deepEqual([names(), toldOf("n1")], [[], takeOverToken("1")]);
    takeOver("10.6.0.1", "old", uid);
    close(undefined);
    assert.deepEqual([await again, await adding], [["10.6.0.1"], ["10.6.0.2"]]);
  });

  it("does not open by itself as after a loss, and says what it waits for", async () => {
    close(takeOverToken("1"));
    const agent = await cluster.agent("n1");
    await cluster.advance(300_000);
    const late = AbortSignal.abort(new Error("late"));
    await assert.rejects(agent.epoch.open({ signal: late }), (error: SpiderError) => {
      assert.match(error.message, /no new address is given while the ledger is taken over/);
      // The fix names the release's own namespace.
      assert.match(
        String(error.details["fix"]),
        /kubectl -n spiderpool logs -l spiderpool\.spidernet\.io\/program=controller /,
      );
      return true;
    });
    close(undefined);
    await cluster.advance(1_000);
    await agent.epoch.open({ signal: never });
  });

  it("keeps the address of a Pod that ends until the runtime has taken its sandbox down", async () => {
    const agent = await cluster.agent("n1");
    const uid = cluster.pod({ name: "old" });
    await takenOver(uid);
    end("old");
    await cluster.advance(200_000);
    assert.deepEqual(names(), ["10.6.0.1"]);
    await agent.del("old", "of-the-former-system", { uid });
    await cluster.advance(5_000);
    assert.deepEqual(names(), []);
  });

  it("gives the address of a Pod that is gone without a DEL back after a minute", async () => {
    await cluster.agent("n1");
    const uid = cluster.pod({ name: "old" });
    await takenOver(uid);
    cluster.erase("old");
    cluster.pod({ name: "old" });
    await cluster.advance(50_000);
    assert.deepEqual(names(), ["10.6.0.1"]);
    await cluster.advance(20_000);
    assert.deepEqual(names(), []);
  });

  it("detaches a StatefulSet's address for its next Pod", async () => {
    const agent = await cluster.agent("n1");
    const uid = cluster.pod({ name: "web-0", owner: owned });
    close(takeOverToken("1"));
    await cluster.advance(1_000);
    takeOver("10.6.0.7", "web-0", uid, "apps/v1/StatefulSet/default/web");
    cluster.api.fake.apply(spiderEndpoints, {
      metadata: { namespace: "default", name: "web-0" },
      status: {
        current: { uid, node: "n1", ips: [{ interface: "eth0", ipv4: "10.6.0.7/16", ipv4Pool: "pool" }] },
        ownerControllerType: "StatefulSet",
        ownerControllerName: "web",
      },
    });
    close(undefined);
    await cluster.advance(5_000);
    end("web-0");
    await agent.del("web-0", "of-the-former-system", { uid });
    await cluster.advance(5_000);
    assert.deepEqual(Object.values(cluster.claims), [`${uid}@nowhere`]);
    cluster.erase("web-0");
    cluster.erase("web-0");
    const next = cluster.pod({ name: "web-0", owner: owned });
    assert.deepEqual(await agent.add("web-0", "s1", { uid: next }), ["10.6.0.7"]);
  });
});
