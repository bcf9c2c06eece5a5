import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  annotations,
  defaultMultusConfig,
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  type SpiderMultusConfig,
  spiderMultusConfigs,
  validateMultusConfig,
} from "#api";
import { events } from "#kube";
import { TestCluster } from "../testing/cluster.ts";

const ref = { namespace: "kube-system", name: "ovs-conf" };

function applyConfig({ api }: TestCluster, name = "ovs-conf", annotations: Record<string, string> = {}) {
  const metadata = { namespace: "kube-system", name, annotations };
  const spec = { cniType: "ovs", ovs: { bridge: "br1" } };
  return api.apply<SpiderMultusConfig>(spiderMultusConfigs, { metadata, spec });
}

function applyNetwork({ api }: TestCluster, more: object = {}, spec: object = {}) {
  const metadata = { ...ref, ...more };
  return api.apply<NetworkAttachmentDefinition>(networkAttachmentDefinitions, { metadata, spec });
}

const networkOf = ({ api }: TestCluster) => api.read(networkAttachmentDefinitions, ref);
const pluginsOf = (cluster: TestCluster): readonly string[] =>
  JSON.parse(networkOf(cluster)?.spec?.config ?? '{"plugins":[]}').plugins.map(({ type }: { type: string }) => type);

describe("a SpiderMultusConfig", () => {
  it("becomes a NetworkAttachmentDefinition that it owns", async () => {
    await using cluster = new TestCluster();
    await cluster.start();
    const { uid } = applyConfig(cluster).metadata;
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
    const owner = { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderMultusConfig", name: "ovs-conf", uid };
    assert.deepEqual(networkOf(cluster)?.metadata.ownerReferences, [
      { ...owner, controller: true, blockOwnerDeletion: true },
    ]);
  });

  it("repairs its network when somebody edits or deletes it, and leaves labels alone", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster);
    await cluster.start();
    const { metadata } = networkOf(cluster) ?? assert.fail();
    applyNetwork(cluster, { ...metadata, labels: { team: "a" }, annotations: { foreign: "x" } }, { config: "{}" });
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
    assert.deepEqual(networkOf(cluster)?.metadata.labels, { team: "a" });
    assert.deepEqual(networkOf(cluster)?.metadata.annotations, {});
    cluster.api.remove(networkAttachmentDefinitions, ref);
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
  });

  it("writes nothing if nothing differs", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster);
    await cluster.start();
    const { resourceVersion } = networkOf(cluster)?.metadata ?? {};
    await cluster.pass(60_000);
    assert.equal(networkOf(cluster)?.metadata.resourceVersion, resourceVersion);
  });

  it("takes over a network without an owner", async () => {
    await using cluster = new TestCluster();
    applyNetwork(cluster);
    await cluster.start();
    applyConfig(cluster);
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
    assert.equal(networkOf(cluster)?.metadata.ownerReferences?.[0]?.name, "ovs-conf");
  });

  it("leaves another one's network alone and says so", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster);
    await cluster.start();
    applyConfig(cluster, "second", { "multus.spidernet.io/cr-name": "ovs-conf" });
    await cluster.settle();
    assert.equal(networkOf(cluster)?.metadata.ownerReferences?.[0]?.name, "ovs-conf");
    const event = cluster.api.all(events).find(({ reason }) => reason === "NetworkTaken");
    assert.equal(event?.involvedObject.name, "second");
    assert.match(event?.message ?? "", /kube-system\/ovs-conf already exists and is managed by SpiderMultusConfig/);
  });

  it("repairs its network when somebody removes its owner reference or its text", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster);
    await cluster.start();
    for (const spoil of [{ ownerReferences: [] }, { annotations: { [annotations.networkName]: "x" } }]) {
      const { metadata, spec } = networkOf(cluster) ?? assert.fail();
      applyNetwork(cluster, { ...metadata, ...spoil }, spec);
      await cluster.settle();
      assert.deepEqual(networkOf(cluster)?.metadata.ownerReferences, metadata.ownerReferences);
      assert.deepEqual(networkOf(cluster)?.metadata.annotations, metadata.annotations);
    }
    const { metadata } = networkOf(cluster) ?? assert.fail();
    applyNetwork(cluster, metadata, {});
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
  });

  it("names its network by cr-name; without the annotation it makes a second network and keeps the first", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster, "net", { [annotations.networkName]: "ovs-conf" });
    await cluster.start();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
    applyConfig(cluster, "net");
    await cluster.settle();
    const second = cluster.api.read(networkAttachmentDefinitions, { ...ref, name: "net" });
    assert.equal(second?.metadata.ownerReferences?.[0]?.name, "net");
    assert.equal(networkOf(cluster)?.metadata.ownerReferences?.[0]?.name, "net");
  });

  it("that waits for another one's network gets it when that one is gone", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster);
    await cluster.start();
    applyConfig(cluster, "second", { [annotations.networkName]: "ovs-conf" });
    await cluster.settle();
    cluster.api.remove(spiderMultusConfigs, ref);
    // What the garbage collector does.
    cluster.api.remove(networkAttachmentDefinitions, ref);
    await cluster.settle();
    assert.equal(networkOf(cluster)?.metadata.ownerReferences?.[0]?.name, "second");
  });

  it("leaves a network that is being deleted alone, and makes it anew when that one is gone", async () => {
    await using cluster = new TestCluster();
    applyConfig(cluster);
    await cluster.start();
    const { metadata } = networkOf(cluster) ?? assert.fail();
    applyNetwork(cluster, { ...metadata, finalizers: ["example.com/hold"] }, { config: "{}" });
    await cluster.client.delete(networkAttachmentDefinitions, ref, { signal: AbortSignal.timeout(5_000) });
    const going = networkOf(cluster);
    assert.ok(going?.metadata.deletionTimestamp !== undefined);
    await cluster.pass(60_000);
    assert.deepEqual(networkOf(cluster), going);
    cluster.api.remove(networkAttachmentDefinitions, ref);
    await cluster.settle();
    assert.notEqual(networkOf(cluster)?.metadata.uid, going.metadata.uid);
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
  });

  it("is rendered in place when its type changes", async () => {
    await using cluster = new TestCluster();
    const { metadata } = applyConfig(cluster);
    await cluster.start();
    const { uid } = networkOf(cluster)?.metadata ?? assert.fail();
    const spec = { cniType: "macvlan", macvlan: { master: ["eth1"] }, enableCoordinator: false } as const;
    cluster.api.apply<SpiderMultusConfig>(spiderMultusConfigs, { metadata, spec });
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["macvlan"]);
    assert.equal(networkOf(cluster)?.metadata.uid, uid);
  });

  it("fills the empty network that an earlier Spiderpool left, with a coordinator", async () => {
    await using cluster = new TestCluster();
    const metadata = { ...ref };
    const left = { cniType: "custom", customCNI: "", enableCoordinator: false } as const;
    const old = cluster.api.apply<SpiderMultusConfig>(spiderMultusConfigs, { metadata, spec: left });
    await cluster.start({ clusterNetwork: "ovs-conf" });
    assert.deepEqual(networkOf(cluster)?.spec, {});
    // `kubectl apply` of the walk-through's object keeps fields that it does not name. Then admission runs.
    const merged = { ...old, spec: { ...left, cniType: "ovs", ovs: { bridge: "br1" } } } as const;
    assert.deepEqual(validateMultusConfig(merged, { old, network: networkOf(cluster) }), []);
    cluster.api.apply<SpiderMultusConfig>(spiderMultusConfigs, defaultMultusConfig(merged, old));
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
  });

  it("that cannot be rendered is reported, and its network stays unchanged", async () => {
    await using cluster = new TestCluster();
    const { metadata } = applyConfig(cluster);
    await cluster.start();
    cluster.api.apply<SpiderMultusConfig>(spiderMultusConfigs, { metadata, spec: { cniType: "macvlan" } });
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
    assert.ok(cluster.api.all(events).some(({ reason }) => reason === "InvalidMultusConfig"));
  });
});

it("a network whose ipam block has keys without effect is told of, once for each change, and no other is", async () => {
  await using cluster = new TestCluster();
  await cluster.start();
  const told = () => cluster.api.all(events).filter(({ reason }) => reason === "KeysWithoutEffect");
  const apply = async (name: string, ipam: object) => {
    applyNetwork(cluster, { name }, { config: JSON.stringify({ name, type: "macvlan", ipam }) });
    await cluster.settle();
  };
  await apply("mine", { type: "spiderpool", clean_gateway: true });
  await apply("foreign", { type: "whereabouts", log_level: "debug", log_file: "/x" });
  applyNetwork(cluster, { name: "broken" }, { config: "{" });
  await cluster.settle();
  assert.deepEqual(told(), []);
  await apply("mine", { type: "spiderpool", log_level: "debug" });
  const [{ involvedObject, message } = assert.fail(), ...more] = told();
  assert.deepEqual([involvedObject.kind, involvedObject.name, more], ["NetworkAttachmentDefinition", "mine", []]);
  assert.match(message ?? "", /^log_level of the ipam block has no effect: /);
});

describe("the default network", () => {
  it("is created empty in the install namespace, and again when it is deleted", async () => {
    await using cluster = new TestCluster();
    await cluster.start({ clusterNetwork: "ovs-conf" });
    assert.deepEqual(networkOf(cluster)?.spec, {});
    cluster.api.remove(networkAttachmentDefinitions, ref);
    await cluster.settle();
    assert.deepEqual(networkOf(cluster)?.spec, {});
  });

  it("says while it is empty which Pods will change their network, and stops when it is filled", async () => {
    await using cluster = new TestCluster();
    cluster.pod("one");
    cluster.pod("on-the-host", { spec: { hostNetwork: true } });
    cluster.pod("chooses", { metadata: { annotations: { [annotations.defaultNetwork]: "kube-system/ovs-conf" } } });
    await cluster.start({ clusterNetwork: "ovs-conf" });
    const told = () => cluster.api.all(events).filter(({ reason }) => reason === "DefaultNetworkEmpty");
    const [event, ...others] = told();
    assert.equal(others.length, 0);
    assert.deepEqual(
      [event?.involvedObject.kind, event?.involvedObject.name],
      ["NetworkAttachmentDefinition", "ovs-conf"],
    );
    assert.match(event?.message ?? "", /^kube-system\/ovs-conf is empty: .*; then these 1 are on it .*: default\/one$/);
    applyConfig(cluster);
    const { count } = event ?? assert.fail();
    await cluster.pass(3_600_000);
    assert.equal(told().length, 1);
    assert.equal(told()[0]?.count, count);
  });

  it("is not created again if somebody else creates and removes it", async () => {
    await using cluster = new TestCluster();
    applyNetwork(cluster);
    await cluster.start({ clusterNetwork: "ovs-conf", createsNetwork: false });
    cluster.api.remove(networkAttachmentDefinitions, ref);
    await cluster.settle();
    assert.equal(networkOf(cluster), undefined);
  });

  it("is never overwritten", async () => {
    await using cluster = new TestCluster();
    applyNetwork(cluster, {}, { config: '{"mine":true}' });
    await cluster.start({ clusterNetwork: "kube-system/ovs-conf" });
    assert.deepEqual(networkOf(cluster)?.spec, { config: '{"mine":true}' });
  });

  it("is filled by a SpiderMultusConfig of its name, whichever comes first, and is empty again without it", async () => {
    for (const isConfigFirst of [false, true]) {
      await using cluster = new TestCluster();
      if (isConfigFirst) applyConfig(cluster);
      await cluster.start({ clusterNetwork: "kube-system/ovs-conf" });
      if (!isConfigFirst) applyConfig(cluster);
      await cluster.settle();
      assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
      assert.equal(networkOf(cluster)?.metadata.ownerReferences?.[0]?.name, "ovs-conf");
      cluster.api.remove(spiderMultusConfigs, ref);
      // What the garbage collector does.
      cluster.api.remove(networkAttachmentDefinitions, ref);
      await cluster.settle();
      assert.deepEqual(networkOf(cluster)?.spec, {});
      assert.equal(networkOf(cluster)?.metadata.ownerReferences, undefined);
    }
  });
});
