import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { annotations, readDoubts, spiderIPAddresses, writeDoubts } from "#api";
import { nodes } from "#kube";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

let cluster: TestCluster;
let n1: TestAgent;
let uid: string;

/** Pod a runs on n1 with 10.6.0.1; n1 is one of a thousand nodes, and its first audit is over. */
beforeEach(async () => {
  cluster = new TestCluster();
  cluster.api.fake.apply(nodes, { metadata: { name: "n1" } });
  cluster.pool("pool", "10.6.0.1-10.6.0.9");
  n1 = await cluster.agent("n1", { families: [4] });
  uid = cluster.pod({ name: "a" });
  await n1.add("a", "s1");
  await cluster.advance(20_000);
});
afterEach(() => cluster[Symbol.dispose]());

function tell(...names: readonly string[]): void {
  const noted = { [annotations.doubts]: writeDoubts(names, cluster.api.clock.wall()) };
  cluster.api.fake.apply(nodes, { metadata: { name: "n1", annotations: noted } });
}

/** As somebody else's hand would make it. */
function strange(address: string, podName: string, podUID: string, node = "n1"): void {
  const spec = { ...cluster.api.fake.read(spiderIPAddresses, { name: "10.6.0.1" })?.spec, nic: "net7", node };
  cluster.api.fake.apply(spiderIPAddresses, {
    metadata: { name: address, labels: { node } },
    spec: { ...spec, address, podName, podUID, containerID: podUID } as never,
  });
}

const lists = () =>
  cluster.api.fake.requests.filter(({ method, path }) => method === "GET" && path.includes("/spideripaddresses?"))
    .length;

describe("an agent that is told of doubts", () => {
  it("ends claims that nobody has, and makes those of its Pods again, without any list", async () => {
    strange("10.6.0.2", "ghost", "u-ghost");
    strange("10.6.0.3", "a", "u-former");
    strange("10.6.0.4", "ghost", "u-ghost", "n2");
    cluster.api.fake.remove(spiderIPAddresses, { name: "10.6.0.1" });
    const before = lists();
    tell("10.6.0.1", "10.6.0.2", "10.6.0.3", "10.6.0.4");
    await cluster.advance(100);
    assert.deepEqual(n1.faults.toSorted(), ["claim-without-pod", "pod-without-claim", "wrong-uid"]);
    assert.equal(cluster.claims["10.6.0.1"], `${uid}@n1`);
    assert.notEqual(cluster.claims["10.6.0.2"], undefined, "what is seen once may be on its way");
    await cluster.advance(20_100);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1`, "10.6.0.4": "u-ghost@n2" });
    assert.equal(lists(), before);
    assert.deepEqual(n1.told.filter((event) => event.startsWith("AddressReclaimed")).toSorted(), [
      "AddressReclaimed: 10.6.0.2 of Pod default/ghost was released: no sandbox of this node uses it (node n1; container u-ghost)",
      "AddressReclaimed: 10.6.0.3 of Pod default/a was released: no sandbox of this node uses it (node n1; container u-former)",
    ]);
  });

  it("leaves alone what is right, and what a sandbox still uses", async () => {
    cluster.erase("a");
    tell("10.6.0.1", "10.6.0.7");
    await cluster.advance(60_000);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
    assert.deepEqual(n1.faults, []);
  });

  it("tells once of an address that the controller has put into quarantine while its sandbox is there", async () => {
    const claim = cluster.api.fake.read(spiderIPAddresses, { name: "10.6.0.1" }) ?? assert.fail();
    const { node: _node, containerID: _container, ...spec } = claim.spec;
    const { labels: _labels, ...metadata } = claim.metadata;
    cluster.erase("a");
    cluster.api.fake.apply(spiderIPAddresses, { metadata, spec: { ...spec, purpose: "Quarantine" } });
    for (let times = 0; times < 5; times++) {
      tell("10.6.0.1");
      await cluster.advance(30_000);
    }
    const missed = n1.warned.filter((message) => message.startsWith("the ledger does not have claims"));
    assert.equal(missed.length, 1);
  });

  it("takes every later word, too, and what is no message for none", async () => {
    cluster.api.fake.apply(nodes, { metadata: { name: "n1", annotations: { [annotations.doubts]: "{" } } });
    await cluster.advance(100);
    for (const [at, name] of ["10.6.0.2", "10.6.0.3"].entries()) {
      strange(name, "ghost", `u-${at}`);
      tell(name);
      await cluster.advance(21_000);
      assert.deepEqual(Object.keys(cluster.claims), ["10.6.0.1"]);
    }
  });
});

describe("readDoubts()", () => {
  it("gives names of claims only, and no endless list", () => {
    const many = Array.from({ length: 200 }, (_, at) => `10.6.0.${at}`);
    assert.equal(readDoubts(JSON.stringify({ claims: many })).length, 64);
    assert.deepEqual(readDoubts('{"claims":["10.6.0.1","../pods",7,"fd00::1"]}'), ["10.6.0.1"]);
    for (const text of ["", "null", "[]", '{"claims":{}}']) assert.deepEqual(readDoubts(text), []);
  });
});
