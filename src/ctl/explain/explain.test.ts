import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, describe, it } from "node:test";
import { annotations, spiderReservedIPs } from "#api";
import { configMaps, events, nodes, pods, replicaSets } from "#kube";
import { ippool, TestCluster } from "./testing/cluster.ts";

const guide = readFileSync(new URL("../../../docs/guides/explain.md", import.meta.url), "utf8");

let cluster: TestCluster;

beforeEach(() => {
  cluster = new TestCluster();
});

describe("spiderpoolctl explain", () => {
  it("says first what the runtime was answered, then every pool with its reason, then the fix: as the guide shows it", async () => {
    cluster.network("ovs-conf");
    cluster.setDefaultNetwork("ovs-conf");
    cluster.pool("b", "10.7.0", { nodeName: ["node2"] });
    cluster.pool("c", "10.8.0", { disable: true });
    const { uid } = cluster.pod("web", ippool({ ipv4: ["b", "c"] })).metadata;
    const at = new Date().toISOString().replace(/\.\d+/, "");
    const [, page = ""] = /^# spiderpoolctl explain pod web\n(.*?)^```$/ms.exec(guide) ?? [];
    const shown = page.replace("/7c1f…:", `/${uid}:`).replace(/(told by its node at )\S+/, `$1${at}`);
    const [sentence = ""] = shown.split("\n", 1);
    // By itself explain comes to the same; the node's Event only says since when.
    const before = await cluster.explain("pod", "web");
    assert.equal(before.out, shown.replace(`, told by its node at ${at}`, ""));
    cluster.api.apply(events, {
      metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "NO_POOL" } },
      involvedObject: { kind: "Pod", namespace: "default", name: "web", uid },
      type: "Warning",
      reason: "NoIPPool",
      lastTimestamp: at,
      message: sentence,
      source: { component: "spiderpool-agent" },
    });
    assert.deepEqual(await cluster.explain("pod", "web"), { status: 1, out: shown, err: "" });
  });

  it("counts what is claimed and reserved, and extends a full pool by addresses that nobody has", async () => {
    cluster.api.apply(spiderReservedIPs, { metadata: { name: "r" }, spec: { ips: ["10.6.0.2-10.6.0.4"] } });
    cluster.claim("10.6.0.10", "a", "x");
    cluster.pod("web", ippool({ ipv4: ["a"] }));
    assert.match(
      (await cluster.explain("pod", "web")).out,
      /^Pod default\/web on node1 \(waiting\) gets its networks\n.*✔ a {3}IPv4 {3}1 of 2/s,
    );
    cluster.claim("10.6.0.11", "a", "y");
    const { status, out } = await cluster.explain("pod", "web");
    assert.equal(status, 1);
    assert.match(
      out,
      /^.*failed to allocate any IPv4 .*: all IP addresses used out: all 2 addresses of IPPool a are in use\n/,
    );
    assert.match(
      out,
      /patch spiderippool a --type=merge -p '\{"spec":\{"ips":\["10\.6\.0\.10-10\.6\.0\.11","10\.6\.0\.12-10\.6\.0\.27"\]\}\}'/,
    );
    assert.doesNotMatch(out, /use IPPool a/, "which is full, whatever its status says yet");
    cluster.api.apply(spiderReservedIPs, { metadata: { name: "s" }, spec: { ips: ["10.6.0.12-10.6.255.255"] } });
    assert.match((await cluster.explain("pod", "web")).out, /"10\.6\.0\.5-10\.6\.0\.9"\]/);
  });

  it("extends a full pool by none of the addresses that it excludes", async () => {
    cluster.pool("b", "10.7.0", { ips: ["10.7.0.10-10.7.0.40"], excludeIPs: ["10.7.0.11-10.7.0.40"] });
    cluster.claim("10.7.0.10", "b", "other");
    cluster.pod("web", ippool({ ipv4: ["b"] }));
    const { out } = await cluster.explain("pod", "web");
    assert.match(out, /"ips":\["10\.7\.0\.10-10\.7\.0\.40","10\.7\.0\.41-10\.7\.0\.56"\]/);
  });

  it("does not count what the Pod has itself, or what is kept for it, as somebody else's", async () => {
    const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name: "db", uid: "d", controller: true };
    const metadata = { namespace: "default", annotations: ippool({ ipv4: ["a"] }), ownerReferences: [owner] };
    const set = (name: string, status: object = {}) =>
      cluster.api.apply(pods, { metadata: { ...metadata, name }, spec: { nodeName: "node1" }, status });
    const kept = { purpose: "Sticky", owner: "apps/v1/StatefulSet/default/db" };
    cluster.claim("10.6.0.10", "a", "db-0", { ...kept, podUID: "its predecessor" });
    cluster.claim("10.6.0.11", "a", "db-1", kept);
    set("db-0");
    const { status, out } = await cluster.explain("pod", "db-0");
    assert.equal(status, 0, out);
    assert.match(out, /✔ a {3}IPv4 {3}10\.6\.0\.10 is kept for it\n/);
    set("db-1", { podIP: "10.6.0.11", podIPs: [{ ip: "10.6.0.11" }] });
    assert.doesNotMatch((await cluster.explain("pod", "db-1")).out, /could not start/);
    set("db-2");
    assert.equal((await cluster.explain("pod", "db-2")).status, 1, "nothing is kept for this one");
    cluster.pool("c", "10.8.0", { ips: ["10.8.0.10"] });
    const { uid } = cluster.pod("web", ippool({ ipv4: ["c"] })).metadata;
    cluster.claim("10.8.0.10", "c", "web", { podUID: uid });
    assert.equal((await cluster.explain("pod", "web")).status, 0, "its ADD failed after it had got the address");
  });

  it("gives a pool that is for no namespace to the Pod's, where only such may be named", async () => {
    const [settings] = cluster.api.all(configMaps);
    const data = { ...settings?.data, "conf.yml": "enableIPv6: false\nenableStrictIPPoolScope: true" };
    cluster.api.apply(configMaps, { ...(settings ?? assert.fail()), data });
    cluster.pod("web", ippool({ ipv4: ["a"] }));
    assert.match(
      (await cluster.explain("pod", "web")).out,
      / {2}- let namespace default, and no other one, use IPPool a\n +kubectl patch spiderippool a --type=merge -p '\{"spec":\{"namespaceName":\["default"\]\}\}'/,
    );
  });

  it("lets a Pod into a pool past every check at once, and not at all where one remains", async () => {
    const podAffinity = { matchExpressions: [{ key: "team", operator: "In", values: ["blue", "green"] }] };
    cluster.pool("b", "10.7.0", { nodeName: ["node2"], namespaceAffinity: { matchLabels: { x: "y" } }, podAffinity });
    cluster.pool("c", "10.8.0", {
      disable: true,
      nodeAffinity: { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "DoesNotExist" }] },
    });
    cluster.pod("web", ippool({ ipv4: ["b", "c"] }));
    const { out } = await cluster.explain("pod", "web");
    assert.deepEqual(out.split("\n").slice(-9), [
      "What to do:",
      "  add the node to spec.nodeName of the IPPool, or let the Pod run on a node that is listed; or set spec.disable of the IPPool to false, or name another",
      "  - let node node1 use IPPool b, and label namespace default as IPPool b asks, and label Pod web as IPPool b asks",
      `      kubectl patch spiderippool b --type=merge -p '{"spec":{"nodeName":["node2","node1"]}}' && kubectl label namespace default --overwrite x=y && kubectl label pod -n default web --overwrite team=blue`,
      "  - use IPPool a",
      `      kubectl annotate pod -n default web --overwrite 'ipam.spidernet.io/ippool={"ipv4":["a"]}'`,
      "",
      "See docs/reference/errors.md#no_pool",
      "",
    ]);
  });

  it("names other pools in every family in which the Pod gets none", async () => {
    const [settings] = cluster.api.all(configMaps);
    cluster.api.apply(configMaps, { ...(settings ?? assert.fail()), data: { ...settings?.data, "conf.yml": "" } });
    cluster.pool("a6", "", { ipVersion: 6, subnet: "fd00::/64", ips: ["fd00::1"] });
    for (const ipv6 of [["a6", "a6"], ["nix"], ["a"]]) {
      cluster.pod("web", ippool({ ipv4: ["z*"], ipv6 }));
      const { out } = await cluster.explain("pod", "web");
      assert.ok(out.includes(`--overwrite 'ipam.spidernet.io/ippool={"ipv4":["a"],"ipv6":["a6"]}'`), out);
    }
  });

  it("takes the annotation about subnets away from a bare Pod: it would win over the pool that is named in its place", async () => {
    cluster.pod("bare", { [annotations.subnet]: '{"ipv4":["s"]}' });
    const { status, out } = await cluster.explain("pod", "bare");
    assert.equal(status, 1);
    assert.match(out, /SpiderSubnet feature doesn't support no-controller pod/);
    const changes = `'ipam.spidernet.io/ippool={"ipv4":["a"]}' ipam.spidernet.io/subnet-\n`;
    assert.ok(out.includes(`kubectl annotate pod -n default bare --overwrite ${changes}`), out);
  });

  it("names the hosts outside the cluster that have the addresses of a full pool", async () => {
    const host = { purpose: "Quarantine", mac: "02:00:00:00:00:01" };
    cluster.claim("10.6.0.10", "a", "x", host);
    cluster.claim("10.6.0.11", "a", "y", host);
    cluster.pod("web", ippool({ ipv4: ["a"] }));
    const { out } = await cluster.explain("pod", "web");
    assert.match(out, /✘ a {3}IPv4 {3}all 2 addresses of IPPool a are taken: 2 in quarantine/);
    assert.match(
      out,
      / {2}- find the hosts that answer for addresses of IPPool a \(02:00:00:00:00:01: 10\.6\.0\.10-10\.6\.0\.11\), or take these addresses out of it\n/,
    );
  });

  it("names a missing network and puts the nearest into its place", async () => {
    cluster.network("storage");
    cluster.pod("web", { [annotations.networks]: "kube-system/sotrage@data,kube-system/net" });
    const { status, out } = await cluster.explain("pod", "web");
    assert.equal(status, 1);
    assert.match(
      out,
      /^cannot find a network-attachment-definition \(sotrage\) in namespace \(kube-system\): it does not exist\n/,
    );
    assert.match(out, /networks=kube-system\/storage@data,kube-system\/net/);
    assert.match(out, /^data from kube-system\/sotrage\n {2}cannot find a network-attachment-definition/m);
    assert.match(out, /^net2 from kube-system\/net$/m);
    assert.match(out, /See docs\/reference\/errors\.md#network_not_found/);
  });

  it("puts the Pod's first network into the place of a name that is meant to be it", async () => {
    cluster.pod("web", { [annotations.networks]: "kube-system/nte@data" });
    assert.match((await cluster.explain("pod", "web")).out, /networks=kube-system\/net@data/);
  });

  it("believes the node about what only the node can see, until it succeeds", async () => {
    const { uid } = cluster.pod("web", ippool({ ipv4: ["a"] })).metadata;
    const involvedObject = { kind: "Pod", namespace: "default", name: "web", uid };
    const told = (name: string, text: object) =>
      cluster.api.apply(events, {
        metadata: { namespace: "default", name, annotations: { [annotations.errorCode]: "OVS_BRIDGE_UNKNOWN" } },
        involvedObject,
        ...text,
      });
    const at = (s: number) => new Date(Date.now() - s * 1000).toISOString();
    const sentence = 'x: there is no such Open vSwitch bridge on this node. bridge br9, existing ["br1"]';
    told("one", {
      type: "Warning",
      reason: "NetworkFailed",
      lastTimestamp: at(50),
      message: `${sentence}. What to do: create it. See: spiderpoolctl explain pod web -n default`,
      source: { component: "spiderpool-agent" },
    });
    told("two", {
      type: "Warning",
      reason: "FailedCreatePodSandBox",
      lastTimestamp: at(10),
      message: `Failed to create pod sandbox: plugin type="multus" name="n" failed (add): ${sentence.replace(". ", "; ")}. What to do: create it`,
    });
    const { status, out } = await cluster.explain("pod", "web");
    assert.equal(status, 1);
    assert.ok(
      out.startsWith(`${sentence}\n  Pod default/web on node1 (waiting): OVS_BRIDGE_UNKNOWN, told by its node at `),
      out,
    );
    assert.match(
      out,
      / {2}create it\n {2}- make bridge br9 on the node, and add its uplink\n {6}ovs-vsctl add-br br9 {3}# on node node1\n/,
    );
    told("three", { type: "Normal", reason: "AddedInterface", lastTimestamp: at(1), message: "Add eth0" });
    assert.equal((await cluster.explain("pod", "web")).status, 0);
  });

  it("says which plugin is to be installed where, and never attaches the Pod's first network twice in its place", async () => {
    cluster.network("teleport", '{"cniVersion":"0.3.1","type":"teleport"}');
    const { uid } = cluster.pod("web", {
      ...ippool({ ipv4: ["a"] }),
      [annotations.networks]: "kube-system/teleport",
    }).metadata;
    const message =
      'x: error adding container to network "kube-system/teleport": failed to find plugin "teleport" in path [/opt/cni/bin]';
    cluster.api.apply(events, {
      metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "PLUGIN_NOT_FOUND" } },
      involvedObject: { kind: "Pod", namespace: "default", name: "web", uid },
      type: "Warning",
      reason: "NetworkFailed",
      lastTimestamp: new Date().toISOString(),
      message,
      source: { component: "spiderpool-agent" },
    });
    const { out } = await cluster.explain("pod", "web");
    assert.match(out, / {2}- install the plugin teleport in \/opt\/cni\/bin of node node1; /);
    assert.doesNotMatch(out, /in the place of/);
    cluster.network("storage");
    assert.match(
      (await cluster.explain("pod", "web")).out,
      /attach kube-system\/storage in the place of kube-system\/teleport/,
    );
    cluster.network("backup");
    const { out: several } = await cluster.explain("pod", "web");
    assert.doesNotMatch(several, /in the place of/, "nobody knows which of several would do");
    assert.match(
      several,
      /correct the network .*: kubectl edit network-attachment-definition teleport -n kube-system\n/,
    );
  });

  it("says where the name of a default NIC is to be corrected that the Pod does not have", async () => {
    cluster.network("beside", '{"cniVersion":"0.3.1","type":"ovs"}');
    const pod = { ...ippool({ ipv4: ["a"] }), [annotations.networks]: "kube-system/beside" };
    const { uid } = cluster.pod("web", pod).metadata;
    const commandAfter = async (field: string) => {
      cluster.api.apply(events, {
        metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "DEFAULT_ROUTE_NIC" } },
        involvedObject: { kind: "Pod", namespace: "default", name: "web", uid },
        type: "Warning",
        reason: "NetworkFailed",
        lastTimestamp: new Date().toISOString(),
        message: `x: error adding container to network "kube-system/beside": podDefaultRouteNIC names. field ${field}, found net7`,
        source: { component: "spiderpool-agent" },
      });
      return /^ {6}(.*)|: (kubectl edit .*)$/m
        .exec((await cluster.explain("pod", "web")).out)
        ?.slice(1)
        .find(Boolean);
    };
    assert.equal(await commandAfter("the SpiderCoordinator's spec"), "kubectl edit spidercoordinators");
    assert.match((await commandAfter("the network's coordinator")) ?? "", /^kubectl edit \S+ beside -n kube-system$/);
  });

  it("names the node that is away, and the scheduler's reason, where nothing else is wrong", async () => {
    const conditions = [
      { type: "Ready", status: "Unknown", reason: "NodeStatusUnknown", message: "Kubelet stopped posting" },
    ];
    cluster.api.apply(nodes, { metadata: { name: "node1" }, status: { conditions } });
    cluster.pod("away", ippool({ ipv4: ["a"] }));
    const away = await cluster.explain("pod", "away");
    assert.equal(away.status, 1);
    assert.match(
      away.out,
      /^node node1 is not ready \(NodeStatusUnknown\): Kubelet stopped posting\n {2}Pod .*: NODE_NOT_READY\n/,
    );
    assert.match(away.out, /systemctl restart kubelet {3}# on node node1/);
    const status = { conditions: [{ type: "PodScheduled", status: "False", message: "0/2 nodes are available" }] };
    cluster.pod("waiting", ippool({ ipv4: ["a"] }), { spec: {}, status });
    const waiting = await cluster.explain("pod", "waiting");
    assert.equal(waiting.status, 1);
    assert.match(waiting.out, /^Pod default\/waiting is on no node: 0\/2 nodes are available\n.*: POD_UNSCHEDULED/);
  });

  it("changes the template of what made the Pod, not the Pod", async () => {
    const owned = (kind: string, name: string, uid: string) => ({
      ownerReferences: [{ apiVersion: "apps/v1", kind, name, uid, controller: true }],
    });
    const above = { namespace: "default", name: "web-1", ...owned("Deployment", "web", "d") };
    const { uid } = cluster.api.apply(replicaSets, { metadata: above }).metadata;
    const metadata = {
      namespace: "default",
      name: "web-1-x",
      annotations: ippool({ ipv4: ["b"] }),
      ...owned("ReplicaSet", "web-1", uid),
    };
    cluster.api.apply(pods, { metadata, spec: { nodeName: "node1" } });
    const { out } = await cluster.explain("pod", "web-1-x");
    assert.match(
      out,
      /use IPPool a, in the Pod template of Deployment default\/web\n {6}kubectl patch deployment -n default web --type=merge -p '\{"spec":\{"template":\{"metadata":\{"annotations":/,
    );
  });

  it("says of a Pod that runs what it has, and that one like it could not start now", async () => {
    const status = { podIP: "10.6.0.10", podIPs: [{ ip: "10.6.0.10" }] };
    cluster.pod("web", ippool({ ipv4: ["none"] }), { spec: { nodeName: "node1" }, status });
    const { status: exit, out } = await cluster.explain("pod", "web");
    assert.equal(exit, 0);
    assert.match(
      out,
      /it has its networks: 10\.6\.0\.10\n {2}one more Pod like it could not start now: .*IPPool "none" not found/,
    );
  });

  it("says of a Pod that runs that another network of its node attached it, until one of ours did", async () => {
    const status = { podIP: "10.244.1.2", podIPs: [{ ip: "10.244.1.2" }] };
    cluster.pod("web", ippool({ ipv4: ["a"] }), { spec: { nodeName: "node1" }, status });
    const { status: exit, out } = await cluster.explain("pod", "web");
    assert.equal(exit, 1);
    assert.match(
      out,
      /\(running\) does not get its networks\n {2}its address 10\.244\.1\.2 is of no IPPool: .*Delete the Pod/,
    );
    const told = JSON.stringify([{ name: "kube-system/net", interface: "eth0", ips: ["10.244.1.2"] }]);
    const annotations = { ...ippool({ ipv4: ["a"] }), "k8s.v1.cni.cncf.io/network-status": told };
    cluster.pod("web", annotations, { spec: { nodeName: "node1" }, status });
    assert.equal((await cluster.explain("pod", "web")).status, 0);
  });

  it("says of a Pod that runs that its address is in quarantine, and nothing of one that it did not keep", async () => {
    const status = { podIP: "10.6.0.10", podIPs: [{ ip: "10.6.0.10" }] };
    const { uid } = cluster.pod("web", ippool({ ipv4: ["a"] }), { spec: { nodeName: "node1" }, status }).metadata;
    const more = {
      podUID: uid,
      purpose: "Quarantine",
      until: "2026-01-01T00:05:00Z",
      reason: "a plugin found it in use",
    };
    cluster.claim("10.6.0.11", "a", "web", more);
    assert.doesNotMatch((await cluster.explain("pod", "web")).out, /quarantine/);
    cluster.claim("10.6.0.10", "a", "web", more);
    assert.match(
      (await cluster.explain("pod", "web")).out,
      / {2}its address 10\.6\.0\.10 is in quarantine until 2026-01-01T00:05:00Z \(a plugin found it in use\): delete the Pod/,
    );
  });

  it("says of a Pod with two NICs which has which address", async () => {
    const entries = [
      { name: "kube-system/net", interface: "eth0", ips: ["10.6.0.10"] },
      { name: "default/net1", interface: "net1", ips: ["10.7.0.10", "fd07::10"] },
    ];
    const annotations = {
      "k8s.v1.cni.cncf.io/networks": "kube-system/net",
      "k8s.v1.cni.cncf.io/network-status": JSON.stringify(entries),
    };
    const status = { podIP: "10.6.0.10", podIPs: [{ ip: "10.6.0.10" }] };
    cluster.pod("web", annotations, { spec: { nodeName: "node1" }, status });
    const { out } = await cluster.explain("pod", "web");
    assert.match(out, /it has its networks: eth0 10\.6\.0\.10; net1 10\.7\.0\.10, fd07::10\n/);
  });

  it("tells of a Pod that is gone by its Events, and that nothing tells of one", async () => {
    assert.equal((await cluster.explain("pod", "web")).status, 2);
    const involvedObject = { kind: "Pod", namespace: "default", name: "web", uid: "u" };
    const text = {
      type: "Warning",
      reason: "NoIPPool",
      lastTimestamp: new Date().toISOString(),
      message: "no pool. What to do: x",
      source: { component: "spiderpool-agent", host: "node2" },
    };
    cluster.api.apply(events, {
      metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "NO_POOL" } },
      involvedObject,
      ...text,
    });
    const { status, out } = await cluster.explain("pod", "default/web");
    assert.equal(status, 1);
    assert.match(out, /^no pool\n {2}Pod default\/web on node2 \(gone\): NO_POOL/);
  });

  it("names the node that still has a kept address, also where that is no node any more", async () => {
    const { uid } = cluster.pod("web", ippool({ ipv4: ["a"] })).metadata;
    cluster.api.apply(events, {
      metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "STICKY_HELD" } },
      involvedObject: { kind: "Pod", namespace: "default", name: "web", uid },
      type: "Warning",
      reason: "AddressHeld",
      lastTimestamp: new Date().toISOString(),
      message: "address 10.6.0.10 is kept for Pod default/web and cannot be taken yet: Pod u1 on node n7 still has it",
      source: { component: "spiderpool-agent" },
    });
    const { out } = await cluster.explain("pod", "web");
    assert.match(out, / {2}- where node n7 is gone for good, delete its Node object: kubectl delete node n7\n/);
  });

  it("says in JSON what it says in words", async () => {
    cluster.pod("web", ippool({ ipv4: ["none"] }));
    const { out } = await cluster.explain("pod", "web", "-o", "json");
    const [item] = JSON.parse(out).items;
    assert.equal(item.verdict, "fails");
    assert.equal(item.cause.code, "POOL_NOT_FOUND");
    assert.match(item.fixes[0].command, /\{"ipv4":\["a"\]\}/);
    assert.equal(item.nics[0].problem.code, "POOL_NOT_FOUND");
  });

  it("refuses a command line that names neither Pod nor file", async () => {
    assert.equal((await cluster.explain("web")).status, 2);
  });
});
