import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderEndpoints, spiderIPAddresses, spiderIPPools } from "#api";
import { pods, statefulSets } from "#kube";
import { virtualMachines } from "#ledger";
import { TestCluster } from "../testing/cluster.ts";
import { claimed, detached, ip, reasons, sticky } from "./testing/claimed.ts";

describe("a sticky address", () => {
  const set = (cluster: TestCluster, spec: object) =>
    cluster.api.apply(statefulSets, { metadata: { namespace: "default", name: "web" }, spec });

  it("is detached as unclean where its node is silent or gone, and stays with its application", async () => {
    for (const state of [
      { ready: "Unknown", agent: "False" },
      { ready: "Unknown", agent: "False", outOfService: true },
    ] as const) {
      const { cluster } = await claimed({ claim: sticky({ bootID: "b" }) });
      await using _cluster = cluster;
      set(cluster, { replicas: 1 });
      cluster.node("n1", state);
      await cluster.pass(40_000);
      const { spec, metadata } = cluster.read(ip) ?? {};
      assert.deepEqual(
        [spec?.purpose, spec?.unclean, spec?.node, spec?.containerID, spec?.bootID, metadata?.labels],
        ["Sticky", true, undefined, undefined, undefined, { pool: "p" }],
      );
      await cluster.pass(1_300_000);
      assert.equal(cluster.read(ip)?.spec.purpose, "Sticky");
    }
  });

  it("is kept for a Pod that lives, and for a node that can speak", async () => {
    const before = (made: TestCluster) => sticky({ podUID: made.pod("web-0").metadata.uid });
    const { cluster, purpose } = await claimed({ before });
    await using _cluster = cluster;
    cluster.node("n1", { ready: "Unknown", agent: "False" });
    await cluster.pass(100_000);
    assert.equal(cluster.read(ip)?.spec.node, "n1");
    cluster.node("n1");
    cluster.api.remove(pods, { namespace: "default", name: "web-0" });
    await cluster.pass(700_000);
    assert.deepEqual([purpose(), cluster.read(ip)?.spec.node], ["Sticky", "n1"]);
  });

  it("goes when the StatefulSet has no such ordinal any more, together with its endpoint", async () => {
    const { cluster, purpose } = await claimed({ claim: detached });
    await using _cluster = cluster;
    set(cluster, { replicas: 1 });
    const metadata = { namespace: "default", name: "web-0", finalizers: ["spiderpool.spidernet.io"] };
    cluster.api.apply(spiderEndpoints, { metadata, status: { current: { uid: "", node: "", ips: [] } } });
    await cluster.pass(700_000);
    assert.equal(purpose(), "Sticky");
    set(cluster, { replicas: 0 });
    await cluster.pass(700_000);
    assert.equal(purpose(), undefined);
    assert.deepEqual(cluster.api.all(spiderEndpoints), []);
    assert.match(
      reasons(cluster)[0] ?? "",
      /StatefulSet default\/web has ordinals none, not 0; there is no Pod default\/web-0/,
    );
  });

  it("survives a StatefulSet that is deleted and made anew, as long as its Pod is there", async () => {
    const { cluster, purpose } = await claimed({ claim: detached });
    await using _cluster = cluster;
    cluster.pod("web-0", { metadata: { uid: "orphan" } });
    await cluster.pass(1_300_000);
    assert.equal(purpose(), "Sticky");
  });

  it("goes when a Pod of the name has another one for the same NIC: the index tells of that one", async () => {
    for (const [nic, after] of [
      ["eth0", undefined],
      ["net1", "Sticky"],
    ] as const) {
      const { cluster, purpose } = await claimed({ claim: { ...detached, nic: "eth0" } });
      await using _cluster = cluster;
      set(cluster, { replicas: 1 });
      const podUID = cluster.pod("web-0").metadata.uid;
      const [pool] = cluster.api.all(spiderIPPools);
      assert.ok(pool);
      cluster.claim("172.18.30.140", pool, "n1", sticky({ nic, podUID }));
      const index = { namespace: "default", name: "web-0" };
      cluster.api.apply(spiderEndpoints, { metadata: index, status: { current: { uid: "", node: "", ips: [] } } });
      await cluster.pass(100_000);
      assert.equal(purpose(), after);
      assert.ok(cluster.api.read(spiderEndpoints, index), "the index tells of the other one");
      assert.ok(cluster.read("172.18.30.140"));
    }
  });

  it("of an unknown kind of application is kept", async () => {
    const claim = { ...detached, owner: "apps.kruise.io/v1/StatefulSet/default/web" };
    const { cluster, purpose } = await claimed({ claim });
    await using _cluster = cluster;
    await cluster.pass(700_000);
    assert.equal(purpose(), "Sticky");
  });

  it("that was detached uncleanly goes to quarantine before it is free", async () => {
    const { cluster, purpose } = await claimed({ claim: { ...detached, unclean: true } });
    await using _cluster = cluster;
    await cluster.pass(40_000);
    assert.equal(purpose(), "Quarantine");
    await cluster.pass(700_000);
    assert.equal(purpose(), undefined);
  });

  it("of live members is never taken while two StatefulSets on one pool are scaled", async () => {
    const cluster = new TestCluster();
    await using _cluster = cluster;
    const pool = cluster.pool("p");
    cluster.node("n1", { ready: "Unknown", agent: "False" });
    const live: string[] = [];
    for (const [at, name] of ["a-0", "a-1", "b-0", "b-1"].entries()) {
      const address = `172.18.30.${131 + at}`;
      const owner = `apps/v1/StatefulSet/default/${name[0]}`;
      cluster.claim(address, pool, "n1", sticky({ podName: name, podUID: cluster.pod(name).metadata.uid, owner }));
      live.push(address);
    }
    await cluster.start();
    for (let round = 0; round < 5; round++) {
      cluster.api.apply(statefulSets, { metadata: { namespace: "default", name: "a" }, spec: { replicas: round % 3 } });
      cluster.api.apply(statefulSets, {
        metadata: { namespace: "default", name: "b" },
        spec: { replicas: 2 - (round % 2) },
      });
      await cluster.pass(700_000);
    }
    assert.deepEqual(
      cluster.api.all(spiderIPAddresses).map(({ metadata, spec }) => [metadata.name, spec.node]),
      live.map((address) => [address, "n1"]),
    );
  });

  it("of a virtual machine goes with the machine and with its endpoint, which has the machine's name", async () => {
    for (const enableCleanOutdatedEndpoint of [false, true]) {
      const owner = "kubevirt.io/v1/VirtualMachineInstance/default/vm1";
      const { cluster, purpose } = await claimed({
        claim: { ...detached, owner, podName: "virt-launcher-vm1-a" },
        more: { conf: `enableCleanOutdatedEndpoint: ${enableCleanOutdatedEndpoint}` },
      });
      await using _cluster = cluster;
      const vm = { namespace: "default", name: "vm1" };
      const ips = [{ interface: "eth0", ipv4: `${ip}/16`, ipv4Pool: "p" }];
      cluster.api.apply(spiderEndpoints, { metadata: vm, status: { current: { uid: "", node: "", ips } } });
      cluster.api.apply(virtualMachines, { metadata: vm });
      await cluster.pass(700_000);
      assert.deepEqual([purpose(), cluster.api.all(spiderEndpoints).length], ["Sticky", 1]);
      cluster.api.remove(virtualMachines, vm);
      await cluster.pass(700_000);
      assert.deepEqual([purpose(), cluster.api.all(spiderEndpoints)], [undefined, []]);
    }
  });

  it("of a migrating machine goes to the second holder when the first one's node is gone", async () => {
    const { cluster } = await claimed({
      before: (made) => {
        const { uid } = made.pod("vm-b", { spec: { nodeName: "n2" } }).metadata;
        return sticky({ nextNode: "n2", nextPodName: "vm-b", nextPodUID: uid, nextContainerID: "second" });
      },
    });
    await using _cluster = cluster;
    cluster.node("n1", { ready: "Unknown", agent: "False", outOfService: true });
    await cluster.pass(40_000);
    const { spec, metadata } = cluster.read(ip) ?? {};
    assert.deepEqual(
      [spec?.node, spec?.podName, spec?.podUID, spec?.containerID, spec?.nextNode, metadata?.labels?.["node"]],
      [
        "n2",
        "vm-b",
        cluster.api.read(pods, { namespace: "default", name: "vm-b" })?.metadata.uid,
        "second",
        undefined,
        "n2",
      ],
    );
  });

  it("of a machine whose migration was lost has one holder again", async () => {
    const next = { nextNode: "n2", nextPodName: "vm-b", nextPodUID: "uid-vm-b", nextContainerID: "second" };
    const before = (made: TestCluster) => sticky({ ...next, podUID: made.pod("web-0").metadata.uid });
    const { cluster } = await claimed({ before });
    await using _cluster = cluster;
    cluster.node("n2", { ready: "Unknown", agent: "False" });
    await cluster.pass(40_000);
    assert.deepEqual([cluster.read(ip)?.spec.node, cluster.read(ip)?.spec.nextNode], ["n1", undefined]);
  });
});
