import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { spiderIPAddresses, spiderIPPools } from "#api";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

let cluster: TestCluster;
let n1: TestAgent;
let n2: TestAgent;
let uid: string;

/** Pod a runs on n1 with 10.6.0.1. */
beforeEach(async () => {
  cluster = new TestCluster();
  cluster.pool("pool", "10.6.0.1-10.6.0.2");
  n1 = await cluster.agent("n1", { families: [4] });
  n2 = await cluster.agent("n2", { families: [4] });
  uid = cluster.pod({ name: "a" });
  await n1.add("a", "s1");
});
afterEach(() => cluster[Symbol.dispose]());

/** The controller gave the address of a node that was away to nobody yet, or to a Pod of the other node. */
async function lose({ to }: { readonly to?: string } = {}): Promise<void> {
  cluster.api.fake.remove(spiderIPAddresses, { name: "10.6.0.1" });
  if (to === undefined) return;
  cluster.pod({ name: to, node: "n2" });
  assert.deepEqual(await n2.add(to, "s2"), ["10.6.0.1"]);
}

async function restart(): Promise<void> {
  n1.kill();
  n1 = await cluster.agent("n1", { families: [4] });
  await cluster.advance(1_000);
}

describe("a node that comes back with a running sandbox", () => {
  it("is left alone where its address is still its own", async () => {
    await restart();
    assert.deepEqual([n1.cut, n1.told, cluster.claims], [[], [], { "10.6.0.1": `${uid}@n1` }]);
  });

  it("claims the address of a living Pod again where the ledger has lost it", async () => {
    await lose();
    await restart();
    assert.deepEqual([n1.cut, cluster.claims], [[], { "10.6.0.1": `${uid}@n1` }]);
    assert.equal(cluster.api.fake.read(spiderIPAddresses, { name: "10.6.0.1" })?.spec.answer, '{"prefix":16}');
    assert.deepEqual(await n1.add("a", "s1b"), ["10.6.0.1"]);
  });

  it("claims it again as soon as a pool has it, where all pools were gone at its start", async () => {
    await lose();
    cluster.api.fake.remove(spiderIPPools, { name: "pool" });
    await restart();
    assert.deepEqual([n1.cut, cluster.claims], [[], {}]);
    cluster.pool("other", "10.6.1.1");
    await cluster.advance(100);
    assert.deepEqual(cluster.claims, {});
    cluster.pool("anew", "10.6.0.1-10.6.0.2");
    await cluster.advance(100);
    assert.deepEqual([n1.cut, cluster.claims], [[], { "10.6.0.1": `${uid}@n1` }]);
  });

  it("is cut off where somebody else has the address, with an Event on the Pod", async () => {
    await lose({ to: "b" });
    await restart();
    assert.deepEqual(n1.cut, ["s1"]);
    assert.match(n1.told.join(), /AddressLost: cut off the network: its address has another holder \(10\.6\.0\.1\)/);
    assert.equal(n1.records.list()[0]?.cut, true);
    await restart();
    assert.deepEqual(n1.cut, [], "it is not cut twice");
  });

  it("is cut off where its Pod is gone and the address is free", async () => {
    await lose();
    n1.kill();
    cluster.erase("a");
    await restart();
    assert.deepEqual([n1.cut, cluster.claims], [["s1"], {}]);
  });

  it("keeps the address of a static Pod whose claim and mirror are lost, also where its name is taken", async () => {
    const hash = "0123456789abcdef0123456789abcdef";
    const mirror = { "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash };
    for (const name of ["s", "t"]) cluster.pod({ name: `${name}-n1`, annotations: mirror });
    assert.deepEqual(await n1.add("s-n1", "s3", { uid: hash }), ["10.6.0.2"]);
    cluster.api.fake.remove(spiderIPAddresses, { name: "10.6.0.2" });
    n1.kill();
    cluster.erase("s-n1");
    await restart();
    assert.deepEqual([n1.cut, cluster.claims["10.6.0.2"]], [[], `${hash}@n1`]);
    cluster.api.fake.remove(spiderIPAddresses, { name: "10.6.0.2" });
    n1.kill();
    cluster.pod({ name: "s-n1" });
    await restart();
    assert.deepEqual([n1.cut, cluster.claims["10.6.0.2"]], [[], `${hash}@n1`]);
  });

  it("is looked at without a restart when it learns that its Pod is gone", async () => {
    await lose({ to: "b" });
    assert.deepEqual(n1.cut, []);
    cluster.erase("a");
    await cluster.advance(1_000);
    assert.deepEqual(n1.cut, ["s1"]);
  });

  it("waits for the API server, and is checked when that answers", async () => {
    await lose({ to: "b" });
    cluster.api.fake.faults = ({ method, path }) =>
      method === "GET" && path.includes("/spideripaddresses/")
        ? { kind: "status", status: 500, reason: "InternalError" }
        : undefined;
    await restart();
    assert.deepEqual(n1.cut, []);
    cluster.api.fake.faults = () => undefined;
    await cluster.advance(60_000);
    assert.deepEqual(n1.cut, ["s1"]);
  });
});

describe("an agent that runs on", () => {
  /** The longest that its comparison with the ledger takes to come, the first one left out. */
  const withinMs = 110_000;
  beforeEach(() => cluster.advance(200_000));

  it("claims again, within a minute, what somebody deleted behind the back of a living Pod", async () => {
    await lose();
    await cluster.advance(60_000);
    assert.deepEqual([n1.cut, cluster.claims], [[], { "10.6.0.1": `${uid}@n1` }]);
    assert.equal(n1.faults.join(), "pod-without-claim");
  });

  it("ends claims of its node that no Pod has, or a Pod of another UID", async () => {
    const { spec } = cluster.api.fake.read(spiderIPAddresses, { name: "10.6.0.1" }) ?? assert.fail();
    for (const [name, podName] of [
      ["10.6.0.7", "nobody"],
      ["10.6.0.8", "a"],
    ] as const) {
      const labels = { node: "n1", pool: "pool" };
      const podUID = `uid-of-${name}`;
      cluster.api.fake.apply(spiderIPAddresses, {
        metadata: { name, labels },
        spec: { ...spec, address: name, podName, podUID, containerID: name },
      });
    }
    await cluster.advance(60_000);
    assert.deepEqual(n1.faults.toSorted(), ["claim-without-pod", "wrong-uid"]);
    await cluster.advance(withinMs - 60_000);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
  });
});
