import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { spiderIPAddresses, spiderIPPools } from "#api";
import { pods } from "#kube";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

const statefulSet = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "uid-web", controller: true };
const machine = {
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachineInstance",
  name: "vm",
  uid: "uid-vm",
  controller: true,
};

let cluster: TestCluster;
let n1: TestAgent;
let n2: TestAgent;

beforeEach(async () => {
  cluster = new TestCluster();
  cluster.pool("v4", "10.6.0.1-10.6.0.3", { gateway: "10.6.0.254" });
  n1 = await cluster.agent("n1");
  n2 = await cluster.agent("n2");
});
afterEach(() => cluster[Symbol.dispose]());

describe("a Pod of both families", () => {
  beforeEach(() => cluster.pool("v6", "fd00::1-fd00::2"));

  it("gets one address of each, and gives both back", async () => {
    const uid = cluster.pod({ name: "a" });
    assert.deepEqual(await n1.add("a", "s1"), ["10.6.0.1", "fd00::1"]);
    assert.deepEqual(cluster.claims, {
      "10.6.0.1": `${uid}@n1`,
      "fd00-0000-0000-0000-0000-0000-0000-0001": `${uid}@n1`,
    });
    await cluster.advance(2_000);
    const [nic] = cluster.endpoint("a")?.status.current.ips ?? [];
    assert.deepEqual([nic?.ipv4, nic?.ipv6], ["10.6.0.1/16", "fd00::1/64"]);
    cluster.erase("a");
    await n1.del("a", "s1");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {});
  });

  it("keeps neither where one family is used up", async () => {
    cluster.pool("v6", "fd00::1", { excludeIPs: ["fd00::1"] });
    await cluster.advance(100);
    cluster.pod({ name: "a" });
    await assert.rejects(n1.add("a", "s1"), /IPv6/);
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, {});
  });

  it("keeps neither where what follows fails, and has them at the next try", async () => {
    cluster.pod({ name: "a" });
    n1.linked = () => Promise.reject(new Error("no link"));
    await assert.rejects(n1.add("a", "s1"), /no link/);
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, {});
    n1.linked = async () => {};
    assert.equal((await n1.add("a", "s2")).length, 2);
  });

  it("keeps both at a new sandbox that fails: it had them before", async () => {
    cluster.pod({ name: "a" });
    const had = await n1.add("a", "s1");
    n1.linked = () => Promise.reject(new Error("no link"));
    await assert.rejects(n1.add("a", "s2"), /no link/);
    await cluster.advance(10_000);
    assert.equal(Object.keys(cluster.claims).length, 2);
    n1.linked = async () => {};
    assert.deepEqual(await n1.add("a", "s3"), had);
  });
});

describe("a DEL before the agent has listed its Pods", () => {
  const isPods = ({ path }: { readonly path: string }) => path.startsWith("/api/v1/pods?");

  for (const [fate, left] of [
    ["keeps its address", 1],
    ["loses it once the list says that it is gone", 0],
  ] as const) {
    it(`releases nothing, and its Pod ${fate}`, async () => {
      const uid = cluster.pod({ name: "a" });
      const had = await n1.add("a", "s1", { uid });
      n1.kill();
      if (left === 0) cluster.erase("a");
      cluster.api.fake.fail(isPods, { kind: "not-sent" }, 5);
      n1 = await cluster.agent("n1", { isSynced: false });
      await cluster.advance(100);
      await n1.del("a", "s1", { uid });
      await cluster.advance(10);
      assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
      await cluster.api.drive(n1.ready);
      await cluster.advance(5_000);
      assert.equal(Object.keys(cluster.claims).length, left);
      if (left === 1) assert.deepEqual(await n1.add("a", "s2", { uid }), had);
    });
  }
});

describe("a living Pod whose pool goes", () => {
  const annotations = { "ipam.spidernet.io/ippool": '{"ipv4":["v4"]}' };
  const pool = () => cluster.api.fake.read(spiderIPPools, { name: "v4" }) ?? assert.fail("no pool");

  it("has its address again in a new sandbox while the pool is terminating, and nobody else gets one", async () => {
    const uid = cluster.pod({ name: "a" });
    const had = await n1.add("a", "s1");
    const { metadata, ...rest } = pool();
    cluster.api.fake.apply(spiderIPPools, { ...rest, metadata: { ...metadata, finalizers: ["x/y"] } });
    await cluster.api.drive(cluster.api.client.delete(spiderIPPools, { name: "v4" }, cluster.api));
    await cluster.advance(100);
    cluster.pod({ name: "b" });
    await assert.rejects(n1.add("b", "s2"), /terminating IPPool v4/);
    await n1.del("a", "s1");
    assert.deepEqual(await n1.add("a", "s3"), had);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
    cluster.erase("a");
    await n1.del("a", "s3");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {}, "nothing keeps the pool");
  });

  for (const [what, act] of [
    ["was removed by force", () => cluster.api.fake.remove(spiderIPPools, { name: "v4" })],
    ["cannot be used any more", () => cluster.pool("v4", "10.6.0.3-10.6.0.1")],
  ] as const) {
    it(`has it again where the pool ${what}`, async () => {
      cluster.pod({ name: "a", annotations });
      const had = await n1.add("a", "s1");
      act();
      await cluster.advance(100);
      assert.deepEqual(await n1.add("a", "s2"), had);
      cluster.pod({ name: "b", annotations });
      await assert.rejects(n1.add("b", "s3"), /IPPool v4/);
    });
  }
});

describe("a Pod whose routes cannot be read", () => {
  it("is refused before anything is written for it", async () => {
    cluster.pod({ name: "a", annotations: { "ipam.spidernet.io/routes": '[{"dst":"10.9.0.0/16","gw":"fd00::1"}]' } });
    const from = cluster.api.fake.requests.length;
    await assert.rejects(n1.add("a", "s1"), /ipam\.spidernet\.io\/routes': invalid route format in \[0\]/);
    const written = cluster.api.fake.requests.slice(from).filter(({ method }) => method !== "GET");
    assert.deepEqual(written, []);
  });
});

describe("an edit of a pool", () => {
  it("reaches only new Pods: who has an address keeps gateway and routes in a new sandbox, too", async () => {
    cluster.pod({ name: "a" });
    await n1.add("a", "s1");
    const routes = [{ dst: "10.9.0.0/16", gw: "10.6.0.253" }];
    cluster.pool("v4", "10.6.0.1-10.6.0.3", { gateway: "10.6.0.252", routes });
    await cluster.advance(100);
    cluster.pod({ name: "b" });
    const told = async (pod: string, sandbox: string) =>
      JSON.parse(String((await cluster.api.drive(n1.call("ADD", pod, sandbox))).stdout)).routes;
    assert.deepEqual(await told("a", "s2"), [{ dst: "0.0.0.0/0", gw: "10.6.0.254" }]);
    assert.deepEqual(await told("b", "s3"), [...routes, { dst: "0.0.0.0/0", gw: "10.6.0.252" }]);
  });

  it("that disables it refuses new Pods, and releases go on", async () => {
    cluster.pod({ name: "a" });
    const had = await n1.add("a", "s1");
    cluster.pool("v4", "10.6.0.1-10.6.0.3", { disable: true });
    await cluster.advance(100);
    cluster.pod({ name: "b" });
    await assert.rejects(n1.add("b", "s2"), /disabled IPPool v4/);
    assert.deepEqual(await n1.add("a", "s3"), had);
    cluster.erase("a");
    await n1.del("a", "s1");
    await n1.del("a", "s3");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {});
  });
});

describe("two Pods of one name in two namespaces", () => {
  it("have nothing to do with each other: the end of one leaves the other its address", async () => {
    const [uid, other] = [cluster.pod({ name: "a" }), cluster.pod({ name: "a", namespace: "other" })];
    assert.deepEqual(await n1.add("a", "s1"), ["10.6.0.1"]);
    assert.deepEqual(await n1.add("a", "s2", { namespace: "other" }), ["10.6.0.2"]);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1`, "10.6.0.2": `${other}@n1` });
    cluster.erase("a");
    await n1.del("a", "s1");
    await cluster.advance(40_000);
    assert.deepEqual(cluster.claims, { "10.6.0.2": `${other}@n1` });
    assert.deepEqual(await n1.add("a", "s3", { namespace: "other" }), ["10.6.0.2"]);
  });
});

describe("a living Pod whose claim its agent does not know any more", () => {
  const claim = () => cluster.api.fake.read(spiderIPAddresses, { name: "10.6.0.1" }) ?? assert.fail("no claim");

  it("has its address again where boots took every record that named it", async () => {
    const uid = cluster.pod({ name: "a" });
    const had = await n1.add("a", "s1");
    await cluster.advance(2_000);
    n1.kill();
    cluster.forget("n1");
    n1 = await cluster.agent("n1");
    assert.deepEqual(await n1.add("a", "s2"), had);
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
  });

  it("has its address again where it was released, and etcd was put back to a time before that", async () => {
    const uid = cluster.pod({ name: "a" });
    const had = await n1.add("a", "s1");
    await cluster.advance(2_000);
    const before = claim();
    n1.ledger.release(n1.ledger.claims()[0] ?? assert.fail(), { why: "its Pod has ended", evidence: [] });
    await cluster.advance(2_000);
    assert.deepEqual(cluster.claims, {});
    cluster.api.fake.apply(spiderIPAddresses, before);
    assert.deepEqual(await n1.add("a", "s2"), had);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${uid}@n1` });
  });

  it("gets another address where that one is somebody else's, whatever its own annotation says", async () => {
    cluster.pod({ name: "a" });
    await n1.add("a", "s1");
    await cluster.advance(2_000);
    const { spec } = claim();
    cluster.api.fake.apply(spiderIPAddresses, {
      ...claim(),
      spec: { ...spec, podUID: "another", podName: "b", node: "n2" },
    });
    n1.kill();
    cluster.forget("n1");
    n1 = await cluster.agent("n1");
    assert.deepEqual(await n1.add("a", "s2"), ["10.6.0.2"]);
  });
});

describe("a call without the Pod's UID", () => {
  it("claims for the Pod that is, not for the one of that name that the watch still shows", async () => {
    const former = cluster.pod({ name: "a" });
    await n1.add("a", "s1");
    cluster.api.fake.pauseWatches();
    cluster.erase("a");
    const uid = cluster.pod({ name: "a" });
    await n1.del("a", "s1");
    const [ip] = await n1.add("a", "s2");
    assert.equal(cluster.claims[String(ip)], `${uid}@n1`);
    cluster.api.fake.resumeWatches();
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, { [String(ip)]: `${uid}@n1` }, `what ${former} had is free`);
  });
});

describe("a StatefulSet's Pod", () => {
  const web0 = (more = {}) => cluster.pod({ name: "web-0", owner: statefulSet, ...more });
  async function had(): Promise<readonly string[]> {
    web0();
    const ips = await n1.add("web-0", "s1");
    cluster.erase("web-0");
    await n1.del("web-0", "s1");
    await cluster.advance(1_000);
    return ips;
  }

  it("keeps its index when its StatefulSet orphans it: the next one of that name wants its address", async () => {
    web0();
    await n1.add("web-0", "s1");
    const { metadata } = cluster.api.fake.read(pods, { namespace: "default", name: "web-0" }) ?? assert.fail("no Pod");
    cluster.api.fake.apply(pods, {
      metadata: { ...metadata, ownerReferences: [] },
      spec: { nodeName: "n1" },
      status: { phase: "Running" },
    });
    await cluster.advance(100);
    await n1.del("web-0", "s1");
    await n1.add("web-0", "s2");
    await cluster.advance(3_000);
    assert.deepEqual(cluster.endpoint("web-0")?.metadata.ownerReferences ?? [], []);
  });

  it("has an index before it has its answer: a SpiderEndpoint that outlives the Pod", async () => {
    const uid = web0();
    await n1.add("web-0", "s1");
    const { metadata, status } = cluster.endpoint("web-0") ?? assert.fail("no endpoint");
    assert.deepEqual(metadata.ownerReferences ?? [], []);
    assert.deepEqual([status.ownerControllerType, status.ownerControllerName], ["StatefulSet", "web"]);
    assert.deepEqual(
      [status.current.uid, status.current.node, status.current.ips[0]?.ipv4],
      [uid, "n1", "10.6.0.1/16"],
    );
  });

  it("does not start where the index cannot be written, and its address is free again", async () => {
    web0();
    const isIndex = ({ method, path }: { method: string; path: string }) =>
      method === "POST" && path.includes("spiderendpoints");
    cluster.api.fake.fail(isIndex, { kind: "status", status: 403, reason: "Forbidden" }, 9);
    await assert.rejects(n1.add("web-0", "s1"), /spiderendpoints/);
    await cluster.advance(10_000);
    assert.deepEqual(cluster.claims, {});
  });

  it("has the same address at each try from its first index on, and so has the next of its name, where none has run yet", async () => {
    web0();
    n1.linked = () => Promise.reject(new Error("no link"));
    for (const sandbox of ["s1", "s2"]) {
      await assert.rejects(n1.add("web-0", sandbox), /no link/);
      await n1.del("web-0", sandbox);
      await cluster.advance(10_000);
      assert.deepEqual(Object.keys(cluster.claims), ["10.6.0.1"], sandbox);
    }
    cluster.pod({ name: "b" });
    n1.linked = async () => {};
    assert.deepEqual(await n1.add("b", "s3"), ["10.6.0.2"], "nobody else gets it");
    cluster.erase("web-0");
    web0({ node: "n2" });
    assert.deepEqual(await n2.add("web-0", "s4"), ["10.6.0.1"]);
  });

  it("keeps its address when it goes, and has it again on any node, though the pool is full or switched off", async () => {
    assert.deepEqual(await had(), ["10.6.0.1"]);
    for (const name of ["b", "c"]) {
      cluster.pod({ name });
      await n1.add(name, name);
    }
    cluster.pod({ name: "d" });
    await assert.rejects(n1.add("d", "d"), /all IP addresses used out/);
    cluster.pool("v4", "10.6.0.1-10.6.0.3", { gateway: "10.6.0.254", disable: true });
    await cluster.advance(100);
    const uid = web0({ node: "n2" });
    assert.deepEqual(await n2.add("web-0", "s2"), ["10.6.0.1"]);
    assert.equal(cluster.claims["10.6.0.1"], `${uid}@n2`);
    assert.equal(cluster.endpoint("web-0")?.status.current.node, "n2");
  });

  it("has it again after its agent was killed, on the same node", async () => {
    web0();
    const ips = await n1.add("web-0", "s1");
    n1.kill();
    cluster.erase("web-0");
    web0();
    n1.loseNamespace("s1");
    const again = await cluster.agent("n1");
    assert.deepEqual(await again.add("web-0", "s2"), ips);
  });

  it("waits for a former sandbox of its name, and says so", async () => {
    web0();
    await n1.add("web-0", "s1");
    cluster.erase("web-0");
    web0({ node: "n2" });
    await assert.rejects(n2.add("web-0", "s2"), /10\.6\.0\.1 is kept for Pod default\/web-0 and cannot be taken yet/);
    const waiting = n2.add("web-0", "s3");
    await n1.del("web-0", "s1");
    assert.deepEqual(await waiting, ["10.6.0.1"]);
  });

  it("gets another address where it asks for another pool, and the former is free", async () => {
    await had();
    cluster.pool("other", "10.6.9.1");
    await cluster.advance(100);
    web0({ annotations: { "ipam.spidernet.io/ippool": '{"ipv4":["other"]}' } });
    assert.deepEqual(await n1.add("web-0", "s2"), ["10.6.9.1"]);
    assert.deepEqual(Object.keys(cluster.claims), ["10.6.9.1"]);
    assert.equal(cluster.endpoint("web-0")?.status.current.ips[0]?.ipv4Pool, "other");
  });

  it("keeps the address of a NIC that the new Pod has not got yet", async () => {
    web0();
    await n1.add("web-0", "s1");
    await n1.add("web-0", "s1", { nic: "net1" });
    cluster.erase("web-0");
    for (const nic of ["net1", "eth0"]) await n1.del("web-0", "s1", { nic });
    await cluster.advance(1_000);
    web0();
    await n1.add("web-0", "s2");
    assert.deepEqual(
      cluster.endpoint("web-0")?.status.current.ips.map(({ interface: nic, ipv4 }) => [nic, ipv4]),
      [
        ["eth0", "10.6.0.1/16"],
        ["net1", "10.6.0.2/16"],
      ],
    );
    assert.deepEqual(await n1.add("web-0", "s2", { nic: "net1" }), ["10.6.0.2"]);
  });

  it("that is a virtual machine finds its address by the machine", async () => {
    cluster.pod({ name: "virt-launcher-1", owner: machine });
    const ips = await n1.add("virt-launcher-1", "s1");
    cluster.erase("virt-launcher-1");
    await n1.del("virt-launcher-1", "s1");
    await cluster.advance(1_000);
    cluster.pod({ name: "virt-launcher-2", owner: machine, node: "n2" });
    assert.deepEqual(await n2.add("virt-launcher-2", "s2"), ips);
    assert.equal(cluster.endpoint("vm")?.status.ownerControllerType, "VirtualMachineInstance");
  });

  it("that is the target of a live migration is refused by name, and nothing of the source's changes", async () => {
    const source = cluster.pod({ name: "virt-launcher-1", owner: machine });
    const ips = await n1.add("virt-launcher-1", "s1");
    const before = cluster.api.fake.all(spiderIPAddresses);
    const index = cluster.endpoint("vm");
    const target = cluster.pod({ name: "virt-launcher-2", owner: machine, node: "n2" });
    const held = new RegExp(`address ${ips[0]} is kept .* cannot be taken yet: Pod ${source} on node n1 still has it`);
    await assert.rejects(n2.add("virt-launcher-2", "s2"), held);
    await n2.del("virt-launcher-2", "s2");
    await cluster.advance(10_000);
    // Not even a second holder is written down: an address has one.
    assert.deepEqual([cluster.api.fake.all(spiderIPAddresses), cluster.endpoint("vm")], [before, index]);
    cluster.erase("virt-launcher-1");
    await n1.del("virt-launcher-1", "s1");
    await cluster.advance(1_000);
    assert.deepEqual(await n2.add("virt-launcher-2", "s3"), ips);
    assert.deepEqual(Object.values(cluster.claims), [`${target}@n2`]);
  });
});

describe("a static Pod", () => {
  const hash = "0123456789abcdef0123456789abcdef";
  const annotations = { "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash };

  it("has claims by the runtime's UID and a SpiderEndpoint by its mirror's", async () => {
    const uid = cluster.pod({ name: "static-n1", annotations });
    await n1.add("static-n1", "s1", { uid: hash });
    await cluster.advance(2_000);
    assert.deepEqual(cluster.claims, { "10.6.0.1": `${hash}@n1` });
    const { status } = cluster.endpoint("static-n1") ?? assert.fail("no endpoint");
    assert.deepEqual([status.current.uid, status.current.ips[0]?.ipv4], [uid, "10.6.0.1/16"]);
  });

  it("keeps its address while its mirror is missing, and loses it when that lasts and no sandbox is there", async () => {
    cluster.pod({ name: "static-n1", annotations });
    await n1.add("static-n1", "s1", { uid: hash });
    cluster.erase("static-n1");
    await cluster.advance(1_000_000);
    assert.equal(Object.keys(cluster.claims).length, 1, "its sandbox is there");
    await n1.del("static-n1", "s1", { uid: hash });
    await cluster.advance(300_000);
    assert.equal(Object.keys(cluster.claims).length, 1, "a missing mirror is no evidence at once");
    await cluster.advance(301_000);
    assert.deepEqual(cluster.claims, {});
  });
});

describe("a claim that a sandbox still uses", () => {
  it("survives the Pod and the audit until its DEL", async () => {
    cluster.pod({ name: "a" });
    await n1.add("a", "s1");
    cluster.erase("a");
    await cluster.advance(8_000_000);
    assert.equal(Object.keys(cluster.claims).length, 1);
    await n1.del("a", "s1");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {});
  });

  it("goes with the next reconcile where the namespace is gone and no DEL came", async () => {
    cluster.pod({ name: "a" });
    await n1.add("a", "s1");
    n1.loseNamespace("s1");
    await cluster.advance(8_000_000);
    assert.equal(Object.keys(cluster.claims).length, 1, "the Pod lives");
    cluster.erase("a");
    await cluster.advance(1_000);
    assert.deepEqual(cluster.claims, {});
  });
});
