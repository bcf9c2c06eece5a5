import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { afterEach, beforeEach, describe, it } from "node:test";
import { spiderIPPools } from "#api";
import type { ApiRequest } from "#kube";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

const isCreate = ({ method, path }: ApiRequest) => method === "POST" && path.includes("/spideripaddresses");

let cluster: TestCluster;
let agent: TestAgent;

beforeEach(async () => {
  cluster = new TestCluster();
  cluster.pool("pool", "10.6.0.1-10.6.0.9");
  agent = await cluster.agent("n1", { families: [4] });
});
afterEach(() => cluster[Symbol.dispose]());

/** An ADD that stands still after it has its addresses, until told to go on. */
function standStill(): { readonly reached: Promise<void>; readonly goOn: () => void } {
  const reached = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  agent.linked = () => {
    reached.resolve();
    return release.promise;
  };
  return { reached: reached.promise, goOn: release.resolve };
}

describe("a DEL", () => {
  it("that comes before its ADD has ended waits for it and takes down what it made", async () => {
    cluster.pod({ name: "a" });
    const { reached, goOn } = standStill();
    const adding = agent.call("ADD", "a", "s1");
    await cluster.api.drive(reached);
    cluster.erase("a");
    const deleting = agent.call("DEL", "a", "s1");
    await cluster.advance(1_000);
    assert.equal(Object.keys(cluster.claims).length, 1);
    goOn();
    await Promise.all([adding, deleting]);
    await cluster.advance(1_000);
    assert.deepEqual([cluster.claims, agent.records.list()], [{}, []]);
  });

  it("that comes before its ADD changes nothing", async () => {
    cluster.pod({ name: "a" });
    await agent.del("a", "s1");
    assert.deepEqual(await agent.add("a", "s1"), ["10.6.0.1"]);
  });

  it("that comes twice is success twice, and the second touches nothing of the next Pod", async () => {
    cluster.pod({ name: "a" });
    await agent.add("a", "s1");
    cluster.erase("a");
    await agent.del("a", "s1");
    await cluster.advance(1_000);
    const uid = cluster.pod({ name: "a" });
    const [ip = ""] = await agent.add("a", "s2");
    await agent.del("a", "s1");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, { [ip]: `${uid}@n1` });
  });

  it("that never comes is made up for when Pod and namespace are gone, also by the next process", async () => {
    cluster.pod({ name: "a" });
    await agent.add("a", "s1");
    agent.kill();
    agent.loseNamespace("s1");
    cluster.erase("a");
    await cluster.agent("n1", { families: [4] });
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {});
  });

  it("of a Pod whose object is gone already leaves no record, however slowly it goes", async () => {
    const uid = cluster.pod({ name: "a" });
    await agent.add("a", "s1", { uid });
    const isRead = ({ method, path }: ApiRequest) => method === "GET" && path.includes("/spideripaddresses/10.6.0.1");
    cluster.api.fake.fail(isRead, { kind: "late-commit", ms: 500 }, 9);
    cluster.erase("a");
    await cluster.advance(100);
    await agent.del("a", "s1", { uid });
    await cluster.advance(5_000);
    assert.deepEqual([cluster.claims, agent.records.list(), agent.cut], [{}, [], []]);
  });

  it("of a finished Job's Pod that still reads Running releases when the Pod's end is seen", async () => {
    cluster.pod({ name: "job" });
    await agent.add("job", "s1");
    await agent.del("job", "s1");
    await cluster.advance(60_000);
    assert.equal(Object.keys(cluster.claims).length, 1);
    cluster.erase("job");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {});
  });
});

describe("a CHECK", () => {
  it("that comes before a new process has read its claims waits for them", async () => {
    cluster.pod({ name: "a" });
    const [ip = ""] = await agent.add("a", "s1");
    agent.kill();
    const isRead = ({ method, path }: ApiRequest) => method === "GET" && path.endsWith(`/spideripaddresses/${ip}`);
    cluster.api.fake.fail(isRead, { kind: "late-answer", ms: 500 });
    const next = await cluster.agent("n1", { families: [4] });
    const early = next.call("CHECK", "a", "s1");
    await cluster.advance(1_000);
    assert.equal((await early).exitCode, 0);
  });
});

describe("a second sandbox of a living Pod", () => {
  it("that is added while the first hangs gets the same address, and the late end of the first leaves it alone", async () => {
    const uid = cluster.pod({ name: "a" });
    const { reached, goOn } = standStill();
    const adding = agent.call("ADD", "a", "s1");
    await cluster.api.drive(reached);
    agent.linked = async () => {};
    assert.deepEqual(await agent.add("a", "s2"), ["10.6.0.1"]);
    goOn();
    assert.equal((await adding).exitCode, 0);
    await agent.del("a", "s1");
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
  });

  it("does not take the first one's answer for a stranger's: its MAC address is known", async () => {
    const uid = cluster.pod({ name: "a" });
    await agent.add("a", "s1");
    const [record] = agent.records.list();
    const [network] = record?.networks ?? [];
    assert.ok(record !== undefined && network !== undefined);
    const interfaces = [{ name: "eth0", mac: "0a:58:0a:06:00:01", sandbox: "/proc/self/ns/net" }];
    agent.records.write({ ...record, networks: [{ ...network, result: { ...network.result, interfaces } }] });
    assert.equal(agent.claims.hasMac(uid, "0A:58:0A:06:00:01"), true);
    assert.equal(agent.claims.hasMac(uid, "0a:58:0a:06:00:02"), false);
    assert.equal(agent.claims.hasMac("another", "0a:58:0a:06:00:01"), false);
  });

  it("knows the first one's interfaces also while its ADD is under way and has told of none", async () => {
    const uid = cluster.pod({ name: "a" });
    const { reached, goOn } = standStill();
    const adding = agent.call("ADD", "a", "s1");
    await cluster.api.drive(reached);
    // The sandbox of these tests is the namespace that they run in.
    const [{ mac = "" } = {}] = networkInterfaces()["lo"] ?? [];
    assert.equal(agent.claims.hasMac(uid, mac), true);
    assert.equal(agent.claims.hasMac(uid, "0a:58:0a:06:00:02"), false);
    assert.equal(agent.claims.hasMac("another", mac), false);
    goOn();
    assert.equal((await adding).exitCode, 0);
  });

  it("that is added while the first fails keeps the address", async () => {
    const uid = cluster.pod({ name: "a" });
    const reached = Promise.withResolvers<void>();
    const fail = Promise.withResolvers<void>();
    agent.linked = () => {
      reached.resolve();
      return fail.promise;
    };
    const adding = agent.call("ADD", "a", "s1");
    await cluster.api.drive(reached.promise);
    agent.linked = async () => {};
    const [ip = ""] = await agent.add("a", "s2");
    fail.reject(new Error("the first hangs no more"));
    assert.equal((await adding).exitCode, 1);
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, { [ip]: `${uid}@n1` });
    cluster.erase("a");
    await agent.del("a", "s2");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {}, "it is still known");
  });

  it("that lives on when its Pod is gone and the first is deleted keeps the address until its own DEL", async () => {
    cluster.pod({ name: "a" });
    await agent.add("a", "s1");
    await agent.add("a", "s2");
    cluster.erase("a");
    await agent.del("a", "s2");
    await cluster.advance(10_000);
    assert.equal(Object.keys(cluster.claims).length, 1, "s1 still answers for it");
    await agent.del("a", "s1");
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, {});
  });
});

describe("agents that want the same addresses", () => {
  it("two for the last one: one has it, the other says that the pool is used up and has it later", async () => {
    cluster.pool("last", "10.6.9.1");
    await cluster.advance(100);
    const other = await cluster.agent("n2", { families: [4] });
    const pools = { default_ipv4_ippool: ["last"] };
    cluster.pod({ name: "a" });
    cluster.pod({ name: "b", node: "n2" });
    const answers = await Promise.allSettled([agent.add("a", "s1", { pools }), other.add("b", "s2", { pools })]);
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, ["fulfilled", "rejected"]);
    const [winner, loser] = answers[0]?.status === "fulfilled" ? [agent, other] : [other, agent];
    const [won, lost] = winner === agent ? ["a", "b"] : ["b", "a"];
    cluster.erase(won);
    await winner.del(won, winner === agent ? "s1" : "s2");
    await cluster.advance(40_000);
    assert.deepEqual(await loser.add(lost, "s3", { pools }), ["10.6.9.1"]);
  });

  it("a hundred for a hundred: every Pod gets one, and no address has two holders", async () => {
    cluster.pool("hundred", "10.6.9.1-10.6.9.100");
    await cluster.advance(100);
    const pools = { default_ipv4_ippool: ["hundred"] };
    const agents = await Promise.all(
      Array.from({ length: 100 }, (_, at) => cluster.agent(`m${at}`, { families: [4] })),
    );
    for (const [at, { node }] of agents.entries()) cluster.pod({ name: `p${at}`, node });
    const answers = await Promise.all(agents.map((one, at) => one.add(`p${at}`, `s${at}`, { pools })));
    assert.equal(new Set(answers.flat()).size, 100);
    assert.equal(Object.keys(cluster.claims).length, 100);
  });
});

describe("a pool that changes during an ADD", () => {
  const slow = { kind: "late-answer", ms: 2_000 } as const;

  it("and no longer has the address: the ADD takes another one that it still has", async () => {
    cluster.pod({ name: "a" });
    cluster.api.fake.fail(isCreate, slow);
    const adding = agent.add("a", "s1");
    await cluster.advance(500);
    cluster.pool("pool", "10.6.0.5-10.6.0.9");
    assert.deepEqual(await adding, ["10.6.0.5"]);
    await cluster.advance(10_000);
    assert.deepEqual(Object.keys(cluster.claims), ["10.6.0.5"]);
  });

  it("and is deleted: the ADD fails with its name, and nothing is left", async () => {
    cluster.pod({ name: "a" });
    cluster.api.fake.fail(isCreate, slow);
    const adding = agent.add("a", "s1");
    await cluster.advance(500);
    cluster.api.fake.remove(spiderIPPools, { name: "pool" });
    await assert.rejects(adding, /pool/);
    await cluster.advance(100_000);
    assert.deepEqual(cluster.claims, {});
  });
});

describe("a create whose answer is lost", () => {
  for (const kind of ["lost-before", "lost-after"] as const) {
    it(`${kind === "lost-before" ? "before" : "after"} it took effect costs no second address, also where the agent dies of it`, async () => {
      const uid = cluster.pod({ name: "a" });
      cluster.api.fake.faults = (request) => (isCreate(request) ? { kind } : undefined);
      const adding = agent.call("ADD", "a", "s1");
      await cluster.advance(1_000);
      agent.kill();
      await adding;
      cluster.api.fake.faults = () => undefined;
      const next = await cluster.agent("n1", { families: [4] });
      assert.deepEqual(await next.add("a", "s2"), ["10.6.0.1"]);
      await cluster.advance(100_000);
      assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
    });
  }
});
