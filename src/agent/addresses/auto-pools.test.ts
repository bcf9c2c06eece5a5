import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import { annotations as keys, labels, spiderIPAddresses, spiderIPPools } from "#api";
import { deployments, replicaSets } from "#kube";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

let cluster: TestCluster;
let n1: TestAgent;

/** The ReplicaSet of a Deployment; the controller's part is played by `makePool`. */
const replicaSet = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-1", uid: "", controller: true };

beforeEach(async () => {
  cluster = new TestCluster();
  cluster.pool("default", "10.6.1.1-10.6.1.9");
  n1 = await cluster.agent("n1");
});
afterEach(() => cluster[Symbol.dispose]());

/** A Deployment, its ReplicaSet and a Pod of it; returns the Deployment's UID. */
function deployment(...pods: readonly string[]): string {
  const metadata = { namespace: "default", name: "web" };
  const { uid } = cluster.api.fake.apply(deployments, { metadata, spec: {} }).metadata;
  const owner = { apiVersion: "apps/v1", kind: "Deployment", name: "web", uid, controller: true };
  const set = { metadata: { namespace: "default", name: "web-1", ownerReferences: [owner] }, spec: {} };
  const of = cluster.api.fake.apply(replicaSets, set).metadata.uid;
  for (const name of pods) {
    cluster.pod({ name, owner: { ...replicaSet, uid: of }, annotations: { [keys.subnet]: '{"ipv4":["s"]}' } });
  }
  return uid;
}

function makePool(uid: string, ips: string): void {
  cluster.api.fake.apply(spiderIPPools, {
    metadata: {
      name: "auto4-web-eth0-00001",
      labels: {
        [labels.ownerApplicationName]: "web",
        [labels.ownerApplicationUid]: uid,
        [labels.interface]: "eth0",
        [labels.ownerSubnet]: "s",
      },
    },
    spec: { subnet: "10.6.0.0/16", ips: [ips] },
  });
}

describe("a Pod of an application with a subnet", () => {
  it("waits for the application's pool by watch, without asking the API server again and again", async () => {
    const uid = deployment("a");
    const got = n1.add("a", "s1");
    await cluster.advance(3_000);
    const { requests } = cluster.api.fake;
    const from = requests.length;
    await cluster.advance(20_000);
    const asked = requests.slice(from).filter(({ path }) => !path.includes(spiderIPAddresses.plural));
    assert.deepEqual(asked, [], "but for the look at the node's own claims, which is its own");
    makePool(uid, "10.6.0.1");
    assert.deepEqual(await got, ["10.6.0.1"]);
    assert.equal(n1.waits, 1);
  });

  it("has its address as soon as the pool is there", async () => {
    const uid = deployment("a");
    let isAnswered = false;
    const got = n1.call("ADD", "a", "s1").finally(() => {
      isAnswered = true;
    });
    await cluster.advance(10_000);
    makePool(uid, "10.6.0.1");
    await cluster.advance(60);
    assert.equal(isAnswered, true);
    assert.equal((await got).exitCode, 0);
  });

  it("fails after 50 s where none is made, and says whose pool is missing", async () => {
    deployment("a");
    const got = n1.add("a", "s1");
    got.catch(() => {});
    await cluster.advance(49_000);
    assert.deepEqual(cluster.claims, {});
    await assert.rejects(
      got,
      /auto-created IPPool of Deployment default\/web for NIC eth0 from SpiderSubnet s is not there yet/,
    );
  });

  it("says whose pool is missing, also where the call's deadline comes first", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      deployment("a");
      const got = n1.add("a", "s1");
      got.catch(() => {});
      await cluster.advance(10_000);
      mock.timers.tick(30_000);
      await assert.rejects(got, /auto-created IPPool of Deployment default\/web .* is not there yet/);
      assert.deepEqual(cluster.claims, {});
    } finally {
      mock.timers.reset();
    }
  });

  it("waits for a larger pool where it is used up, for 5 s", async () => {
    const uid = deployment("a", "b", "c");
    makePool(uid, "10.6.0.1");
    await cluster.advance(100);
    await n1.add("a", "s1");
    const second = n1.add("b", "s2");
    await cluster.advance(1_000);
    makePool(uid, "10.6.0.1-10.6.0.2");
    assert.deepEqual(await second, ["10.6.0.2"]);
    await assert.rejects(n1.add("c", "s3"), /all IP addresses used out/);
  });
});

describe("a Pod that gets no pool of a subnet", () => {
  it("bare Pod refused, at once", async () => {
    cluster.pod({ name: "bare", annotations: { [keys.subnet]: '{"ipv4":["s"]}' } });
    await assert.rejects(n1.add("bare", "s1"), /SpiderSubnet feature doesn't support no-controller pod/);
  });

  it("one of a third party's controller is refused at once, and told what to do", async () => {
    const owner = { apiVersion: "apps.kruise.io/v1alpha1", kind: "CloneSet", name: "web", uid: "u", controller: true };
    cluster.pod({ name: "a", owner, annotations: { [keys.subnet]: '{"ipv4":["s"]}' } });
    await assert.rejects(
      n1.add("a", "s1"),
      /made for Deployment, .* only, and the Pod is one of CloneSet default\/web/,
    );
  });
});
