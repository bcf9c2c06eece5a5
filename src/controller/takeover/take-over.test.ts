import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, finalizer, spiderEndpoints, spiderIPPools, takeOverToken } from "#api";
import { customResourceDefinitions, events, leases, nodes } from "#kube";
import { TestCluster } from "../testing/cluster.ts";

const crdName = "spideripaddresses.spiderpool.spidernet.io";
const lease = { namespace: "kube-system", name: "spiderpool-controller-leases" };

/** A cluster as a former system left it: a pool with records, their Pods, an endpoint. */
function former(closed?: string) {
  const cluster = new TestCluster();
  cluster.api.apply(customResourceDefinitions, { metadata: { name: crdName } });
  cluster.node("n1");
  const { uid } = cluster.pod("a", { status: { podIPs: [{ ip: "172.18.30.131" }] } }).metadata;
  const pool = cluster.pool("p");
  const records = {
    "172.18.30.131": { pod: "default/a", podUid: uid },
    "172.18.30.132": { pod: "default/gone", podUid: "u-gone" },
    "172.18.30.133": { pod: "default/a" },
  };
  const allocatedIPs = JSON.stringify(records);
  cluster.api.apply(spiderIPPools, {
    ...pool,
    metadata: { ...pool.metadata, ...(closed && { annotations: { [annotations.ledgerClosed]: closed } }) },
    status: { allocatedIPs, allocatedIPCount: 3 },
  });
  cluster.api.apply(spiderEndpoints, {
    metadata: { namespace: "default", name: "a", finalizers: [finalizer] },
    status: {
      current: { uid, node: "n1", ips: [{ interface: "eth0", ipv4: "172.18.30.131/16", ipv4Pool: "p" }] },
      ownerControllerType: "Pod",
      ownerControllerName: "a",
    },
  });
  const read = () => cluster.api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
  const token = () => read().metadata.annotations?.[annotations.ledgerClosed];
  const tell = () => {
    const node = cluster.api.read(nodes, { name: "n1" }) ?? assert.fail();
    const noted = { [annotations.ledgerClosed]: token() ?? "" };
    cluster.api.apply(nodes, { ...node, metadata: { ...node.metadata, annotations: noted } });
  };
  const recorded = () => cluster.api.read(leases, lease)?.metadata.annotations?.[annotations.ledgerEpoch];
  return { cluster, uid, allocatedIPs, read, token, tell, recorded };
}

const claimed = (cluster: TestCluster) =>
  ["131", "132", "133"].map((last) => cluster.read(`172.18.30.${last}`)?.spec.podUID);

describe("a cluster that was another system's", () => {
  it("is taken over once every agent knows that pools are closed; its records stay untouched until then", async () => {
    const { cluster, uid, allocatedIPs, read, token, tell, recorded } = former(takeOverToken("1"));
    await using _cluster = cluster;
    await cluster.start();
    await cluster.pass(90_000);
    assert.deepEqual(claimed(cluster), [undefined, undefined, undefined]);
    assert.deepEqual([token(), read().status?.allocatedIPs], [takeOverToken("1"), allocatedIPs]);
    tell();
    await cluster.pass(10_000);
    assert.deepEqual(claimed(cluster), [uid, undefined, undefined]);
    const { spec } = cluster.read("172.18.30.131") ?? assert.fail();
    assert.deepEqual(
      [spec.purpose, spec.node, spec.nic, spec.containerID, spec.answer],
      ["Pod", "n1", "eth0", undefined, '{"prefix":16}'],
    );
    assert.deepEqual(
      [token(), recorded()],
      [undefined, cluster.api.read(customResourceDefinitions, { name: crdName })?.metadata.uid],
    );
    const records = { "172.18.30.131": { pod: "default/a", podUid: uid } };
    assert.deepEqual(read().status?.allocatedIPs, JSON.stringify(records));
    assert.deepEqual(cluster.api.read(spiderEndpoints, { namespace: "default", name: "a" })?.metadata.finalizers, []);
    await cluster.pass(2_000);
    const told = cluster.api.all(events).filter(({ involvedObject }) => involvedObject.name === "p");
    assert.deepEqual(told.map(({ reason }) => reason).sort(), ["AddressesNotTakenOver", "AddressesTakenOver"]);
    assert.match(told.map(({ message }) => message).join(), /172\.18\.30\.133: it should have pod/);
  });

  it("is closed by the leader if nobody did before, and stays closed until every agent has reported", async () => {
    const { cluster, uid, token, tell } = former();
    await using _cluster = cluster;
    await cluster.start();
    await cluster.pass(70_000);
    assert.match(token() ?? "", /^take-over-/);
    tell();
    await cluster.pass(10_000);
    assert.deepEqual([token(), claimed(cluster)], [undefined, [uid, undefined, undefined]]);
  });

  it("is taken over again after the former system came back: claims of Pods that are gone give way", async () => {
    const { cluster, uid, tell, token } = former(takeOverToken("2"));
    await using _cluster = cluster;
    const pool = cluster.api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
    cluster.claim("172.18.30.131", pool, "n1", { podUID: "long-gone" });
    tell();
    await cluster.start();
    await cluster.pass(10_000);
    assert.deepEqual([token(), claimed(cluster)], [undefined, [uid, undefined, undefined]]);
  });

  it("is continued at the next look if the API server fails in the middle", async () => {
    const { cluster, uid, tell, token } = former(takeOverToken("3"));
    await using _cluster = cluster;
    tell();
    const isCreate = ({ method, path }: { readonly method: string; readonly path: string }) =>
      method === "POST" && path.includes("spideripaddresses");
    cluster.api.fail(isCreate, { kind: "lost-after" });
    await cluster.start();
    await cluster.pass(15_000);
    assert.deepEqual([token(), claimed(cluster)], [undefined, [uid, undefined, undefined]]);
  });
});
