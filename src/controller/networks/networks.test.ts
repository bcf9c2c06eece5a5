import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  type SpiderMultusConfig,
  spiderMultusConfigs,
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

  it("repairs its network when that is edited or deleted, and leaves labels alone", async () => {
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

  it("writes nothing where nothing differs", async () => {
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

  it("leaves the network of another one alone and says so", async () => {
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

  it("that cannot be rendered is reported and leaves the network as it was", async () => {
    await using cluster = new TestCluster();
    const { metadata } = applyConfig(cluster);
    await cluster.start();
    cluster.api.apply<SpiderMultusConfig>(spiderMultusConfigs, { metadata, spec: { cniType: "macvlan" } });
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
    assert.ok(cluster.api.all(events).some(({ reason }) => reason === "InvalidMultusConfig"));
  });
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

  it("is never overwritten", async () => {
    await using cluster = new TestCluster();
    applyNetwork(cluster, {}, { config: '{"mine":true}' });
    await cluster.start({ clusterNetwork: "kube-system/ovs-conf" });
    assert.deepEqual(networkOf(cluster)?.spec, { config: '{"mine":true}' });
  });

  it("is filled by a SpiderMultusConfig of its name", async () => {
    await using cluster = new TestCluster();
    await cluster.start({ clusterNetwork: "kube-system/ovs-conf" });
    applyConfig(cluster);
    await cluster.settle();
    assert.deepEqual(pluginsOf(cluster), ["ovs", "coordinator"]);
  });
});
