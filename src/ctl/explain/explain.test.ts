import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import {
  annotations,
  labels,
  networkAttachmentDefinitions,
  type SpiderIPPool,
  type SpiderSubnet,
  spiderIPAddresses,
  spiderIPPools,
  spiderReservedIPs,
  spiderSubnets,
} from "#api";
import { autoPoolLabels } from "#ipam";
import { configMaps, deployments, events, namespaces, nodes, pods, replicaSets } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

const ovs = '{"cniVersion":"0.3.1","type":"ovs","bridge":"br1","ipam":{"type":"spiderpool"}}';

let api: FakeApi;

beforeEach(() => {
  api = new FakeApi();
  const labels = { "app.kubernetes.io/component": "spiderpool" };
  const data = { clusterNetwork: "net", "conf.yml": "enableIPv6: false" };
  api.apply(configMaps, { metadata: { namespace: "kube-system", name: "c", labels }, data });
  network("net");
  api.apply(namespaces, { metadata: { name: "default" } });
  for (const name of ["node1", "node2"]) {
    const status = { conditions: [{ type: "Ready", status: "True" }] };
    api.apply(nodes, { metadata: { name, labels: { "kubernetes.io/hostname": name } }, status });
  }
  pool("a", "10.6.0");
});

function network(name: string, config = ovs): void {
  api.apply(networkAttachmentDefinitions, { metadata: { namespace: "kube-system", name }, spec: { config } });
}

function pool(name: string, prefix: string, spec: Partial<SpiderIPPool["spec"]> = {}): void {
  const subnet = { subnet: `${prefix}.0/24`, ips: [`${prefix}.10-${prefix}.11`] };
  api.apply(spiderIPPools, { metadata: { name }, spec: { ...subnet, ...spec } });
}

function claim(address: string, poolName: string, podName: string, more: object = {}): void {
  const metadata = { name: address, labels: { pool: poolName } };
  const pod = { podNamespace: "default", podName, podUID: `uid-${podName}`, nic: "eth0" };
  const spec = { format: 1, address, purpose: "Pod", pool: poolName, poolUID: "", poolGeneration: 1, ...pod, ...more };
  api.apply(spiderIPAddresses, { metadata, spec } as object as Parameters<typeof api.apply>[1]);
}

const ippool = (value: unknown) => ({ [annotations.ippool]: JSON.stringify(value) });

function pod(name: string, notes: Readonly<Record<string, string>>, more: { spec?: object; status?: object } = {}) {
  const { spec = { nodeName: "node1" }, status = {} } = more;
  return api.apply(pods, {
    metadata: { namespace: "default", name, annotations: notes },
    spec,
    status,
  } as object as Parameters<typeof api.apply>[1]);
}

const explain = (...argv: string[]) => runCtl(api, ["explain", ...argv]);

describe("spiderpoolctl explain", () => {
  it("says first what the runtime was answered, then every pool with its reason, then the fix", async () => {
    pool("b", "10.7.0", { nodeName: ["node2"] });
    pool("c", "10.8.0", { disable: true });
    const { uid } = pod("web", ippool({ ipv4: ["b", "c"] })).metadata;
    const { status, out } = await explain("pod", "web");
    assert.equal(status, 1);
    assert.equal(
      out,
      [
        `[default/web/${uid}:kube-system/net]: error adding container to network "kube-system/net": no IPPool available, all IPv4 IPPools [b c] of eth0 filtered out: unmatched Node name of IPPool b: expected node2, found node1; disabled IPPool c`,
        "  Pod default/web on node1 (waiting): NO_POOL",
        "",
        "eth0 from kube-system/net, pools named by annotation ipam.spidernet.io/ippool",
        "  – b   IPv4   unmatched Node name of IPPool b: expected node2, found node1",
        "  – c   IPv4   disabled IPPool c",
        "",
        "What to do:",
        "  add the node to spec.nodeName of the IPPool, or let the Pod run on a node that is listed; or set spec.disable of the IPPool to false, or name another",
        "  - let node node1 use IPPool b",
        `      kubectl patch spiderippool b --type=merge -p '{"spec":{"nodeName":["node2","node1"]}}'`,
        "  - enable IPPool c",
        `      kubectl patch spiderippool c --type=merge -p '{"spec":{"disable":false}}'`,
        "  - use IPPool a",
        `      kubectl annotate pod -n default web --overwrite 'ipam.spidernet.io/ippool={"ipv4":["a"]}'`,
        "",
        "See docs/reference/errors.md#no_pool",
        "",
      ].join("\n"),
    );
  });

  it("counts what is claimed and reserved, and extends a full pool by addresses that nobody has", async () => {
    api.apply(spiderReservedIPs, { metadata: { name: "r" }, spec: { ips: ["10.6.0.2-10.6.0.4"] } });
    claim("10.6.0.10", "a", "x");
    pod("web", ippool({ ipv4: ["a"] }));
    assert.match(
      (await explain("pod", "web")).out,
      /^Pod default\/web on node1 \(waiting\) gets its networks\n.*✔ a {3}IPv4 {3}1 of 2/s,
    );
    claim("10.6.0.11", "a", "y");
    const { status, out } = await explain("pod", "web");
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
    api.apply(spiderReservedIPs, { metadata: { name: "s" }, spec: { ips: ["10.6.0.12-10.6.255.255"] } });
    assert.match((await explain("pod", "web")).out, /"10\.6\.0\.5-10\.6\.0\.9"\]/);
  });

  it("does not count what the Pod has itself, or what is kept for it, as somebody else's", async () => {
    const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name: "db", uid: "d", controller: true };
    const metadata = { namespace: "default", annotations: ippool({ ipv4: ["a"] }), ownerReferences: [owner] };
    const set = (name: string, status: object = {}) =>
      api.apply(pods, { metadata: { ...metadata, name }, spec: { nodeName: "node1" }, status } as object as Parameters<
        typeof api.apply
      >[1]);
    const kept = { purpose: "Sticky", owner: "apps/v1/StatefulSet/default/db" };
    claim("10.6.0.10", "a", "db-0", { ...kept, podUID: "its predecessor" });
    claim("10.6.0.11", "a", "db-1", kept);
    set("db-0");
    const { status, out } = await explain("pod", "db-0");
    assert.equal(status, 0, out);
    assert.match(out, /✔ a {3}IPv4 {3}10\.6\.0\.10 is kept for it\n/);
    set("db-1", { podIP: "10.6.0.11", podIPs: [{ ip: "10.6.0.11" }] });
    assert.doesNotMatch((await explain("pod", "db-1")).out, /could not start/);
    set("db-2");
    assert.equal((await explain("pod", "db-2")).status, 1, "nothing is kept for this one");
    pool("c", "10.8.0", { ips: ["10.8.0.10"] });
    const { uid } = pod("web", ippool({ ipv4: ["c"] })).metadata;
    claim("10.8.0.10", "c", "web", { podUID: uid });
    assert.equal((await explain("pod", "web")).status, 0, "its ADD failed after it had got the address");
  });

  it("names the hosts outside the cluster that have the addresses of a full pool", async () => {
    const host = { purpose: "Quarantine", mac: "02:00:00:00:00:01" };
    claim("10.6.0.10", "a", "x", host);
    claim("10.6.0.11", "a", "y", host);
    pod("web", ippool({ ipv4: ["a"] }));
    assert.match(
      (await explain("pod", "web")).out,
      / {2}- find the hosts that answer for addresses of IPPool a \(02:00:00:00:00:01: 10\.6\.0\.10-10\.6\.0\.11\), or take these addresses out of it\n/,
    );
  });

  it("judges a Pod that is not made yet on every node on which it could be, and its template's owner", async () => {
    const template = (node: string) => ({
      metadata: { annotations: ippool({ ipv4: ["b"] }) },
      spec: { nodeSelector: { "kubernetes.io/hostname": node } },
    });
    const deployment = (node: string) => ({
      "x.yaml": JSON.stringify({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "web" },
        spec: { template: template(node) },
      }),
    });
    pool("b", "10.7.0", { nodeName: ["node2"] });
    assert.equal((await runCtl(api, ["explain", "-f", "x.yaml"], deployment("node2"))).status, 0);
    const { status, out } = await runCtl(api, ["explain", "-f", "x.yaml"], deployment("node1"));
    assert.equal(status, 1);
    assert.match(out, /in the manifest, ipam\.spidernet\.io\/ippool: "\{\\"ipv4\\":\[\\"a\\"\]\}"/);
    const any = {
      "x.yaml": JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "p", annotations: ippool({ ipv4: ["b"] }) },
        spec: {},
      }),
    };
    const some = await runCtl(api, ["explain", "-f", "x.yaml"], any);
    assert.equal(some.status, 0);
    assert.match(some.out, /it could not run on node1: .*unmatched Node name/);
  });

  it("names a missing network and puts the nearest into its place", async () => {
    network("storage");
    pod("web", { [annotations.networks]: "kube-system/sotrage@data,kube-system/net" });
    const { status, out } = await explain("pod", "web");
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
    pod("web", { [annotations.networks]: "kube-system/nte@data" });
    assert.match((await explain("pod", "web")).out, /networks=kube-system\/net@data/);
  });

  it("believes the node about what only the node can see, until it succeeds", async () => {
    const { uid } = pod("web", ippool({ ipv4: ["a"] })).metadata;
    const involvedObject = { kind: "Pod", namespace: "default", name: "web", uid };
    const told = (name: string, text: object) =>
      api.apply(events, {
        metadata: { namespace: "default", name, annotations: { [annotations.errorCode]: "OVS_BRIDGE_UNKNOWN" } },
        involvedObject,
        ...text,
      } as object as Parameters<typeof api.apply>[1]);
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
    const { status, out } = await explain("pod", "web");
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
    assert.equal((await explain("pod", "web")).status, 0);
  });

  it("says which plugin is to be installed where, and never attaches the Pod's first network twice in its place", async () => {
    network("teleport", '{"cniVersion":"0.3.1","type":"teleport"}');
    const { uid } = pod("web", { ...ippool({ ipv4: ["a"] }), [annotations.networks]: "kube-system/teleport" }).metadata;
    const message =
      'x: error adding container to network "kube-system/teleport": failed to find plugin "teleport" in path [/opt/cni/bin]';
    api.apply(events, {
      metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "PLUGIN_NOT_FOUND" } },
      involvedObject: { kind: "Pod", namespace: "default", name: "web", uid },
      type: "Warning",
      reason: "NetworkFailed",
      lastTimestamp: new Date().toISOString(),
      message,
      source: { component: "spiderpool-agent" },
    } as object as Parameters<typeof api.apply>[1]);
    const { out } = await explain("pod", "web");
    assert.match(out, / {2}- install the plugin teleport in \/opt\/cni\/bin of node node1; /);
    assert.doesNotMatch(out, /in the place of/);
    network("storage");
    assert.match(
      (await explain("pod", "web")).out,
      /attach kube-system\/storage in the place of kube-system\/teleport/,
    );
    network("backup");
    const { out: several } = await explain("pod", "web");
    assert.doesNotMatch(several, /in the place of/, "nobody knows which of several would do");
    assert.match(
      several,
      /correct the network .*: kubectl edit network-attachment-definition teleport -n kube-system\n/,
    );
  });

  it("names the node that is away, and the scheduler's reason, where nothing else is wrong", async () => {
    const conditions = [
      { type: "Ready", status: "Unknown", reason: "NodeStatusUnknown", message: "Kubelet stopped posting" },
    ];
    api.apply(nodes, { metadata: { name: "node1" }, status: { conditions } } as object as Parameters<
      typeof api.apply
    >[1]);
    pod("away", ippool({ ipv4: ["a"] }));
    const away = await explain("pod", "away");
    assert.equal(away.status, 1);
    assert.match(
      away.out,
      /^node node1 is not ready \(NodeStatusUnknown\): Kubelet stopped posting\n {2}Pod .*: NODE_NOT_READY\n/,
    );
    assert.match(away.out, /systemctl restart kubelet {3}# on node node1/);
    const status = { conditions: [{ type: "PodScheduled", status: "False", message: "0/2 nodes are available" }] };
    pod("waiting", ippool({ ipv4: ["a"] }), { spec: {}, status });
    const waiting = await explain("pod", "waiting");
    assert.equal(waiting.status, 1);
    assert.match(waiting.out, /^Pod default\/waiting is on no node: 0\/2 nodes are available\n.*: POD_UNSCHEDULED/);
  });

  it("changes the template of what made the Pod, not the Pod", async () => {
    const owned = (kind: string, name: string, uid: string) => ({
      ownerReferences: [{ apiVersion: "apps/v1", kind, name, uid, controller: true }],
    });
    const above = { namespace: "default", name: "web-1", ...owned("Deployment", "web", "d") };
    const { uid } = api.apply(replicaSets, { metadata: above } as object as Parameters<typeof api.apply>[1]).metadata;
    const metadata = {
      namespace: "default",
      name: "web-1-x",
      annotations: ippool({ ipv4: ["b"] }),
      ...owned("ReplicaSet", "web-1", uid),
    };
    api.apply(pods, { metadata, spec: { nodeName: "node1" } } as object as Parameters<typeof api.apply>[1]);
    const { out } = await explain("pod", "web-1-x");
    assert.match(
      out,
      /use IPPool a, in the Pod template of Deployment default\/web\n {6}kubectl patch deployment -n default web --type=merge -p '\{"spec":\{"template":\{"metadata":\{"annotations":/,
    );
  });

  describe("about pools that are cut from a SpiderSubnet", () => {
    const annotation = { [annotations.subnet]: '{"ipv4":["s"]}' };
    const app = (replicas: number) => ({
      "app.yaml": JSON.stringify({
        ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" } },
        spec: { replicas, template: { metadata: { annotations: annotation }, spec: {} } },
      }),
    });
    const subnet = (spec: object = {}) =>
      api.apply<SpiderSubnet>(spiderSubnets, {
        metadata: { name: "s" },
        spec: { ipVersion: 4, subnet: "10.9.0.0/24", ips: ["10.9.0.10-10.9.0.13"], ...spec },
      });
    const ask = (replicas: number) => runCtl(api, ["explain", "-f", "app.yaml"], app(replicas));

    it("says that the controller will make the pool of an application that is not made yet", async () => {
      subnet();
      const { status, out } = await ask(3);
      assert.equal(status, 0, out);
      assert.match(out, /✔ auto4-web-eth0-… +IPv4 +the controller makes it from SpiderSubnet s, 4 addresses\n/);
    });

    it("says why it will not", async () => {
      assert.match(
        (await ask(3)).out,
        /What to do:\n {2}SpiderSubnet s does not exist; create it, or name another one\n/,
      );
      subnet({ namespaceAffinity: { matchLabels: { team: "a" } } });
      assert.match(
        (await ask(3)).out,
        /\n {2}SpiderSubnet s is for namespaces with team=a, and default has team absent; .*\n.*\n +kubectl label namespace default --overwrite team=a\n/,
      );
      subnet({ namespaceName: ["x"] });
      assert.match(
        (await ask(3)).out,
        /\n +kubectl patch spidersubnet s --type=merge -p '\{"spec":\{"namespaceName":\["x","default"\]\}\}'\n/,
      );
      subnet();
      const { status, out } = await ask(4);
      assert.equal(status, 1);
      assert.match(out, /^\[.* is not there yet\n.*: AUTO_POOL_PENDING\n/);
      assert.match(out, /\n {2}SpiderSubnet s has 4 addresses left, and the application needs 5; add addresses /);
    });

    it("counts in the subnet of the same file, unless the API server would refuse it", async () => {
      const explained = (spec: string) => {
        const text = `apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderSubnet\nmetadata: {name: s}\nspec: ${spec}`;
        const files = { "app.yaml": `${app(1)["app.yaml"]}\n---\n${text}\n` };
        return runCtl(api, ["explain", "-f", "app.yaml"], files);
      };
      const { status, out } = await explained("{subnet: 10.9.0.0/24, ips: [10.9.0.10-10.9.0.13]}");
      assert.equal(status, 0, out);
      assert.match(out, /the controller makes it from SpiderSubnet s, 2 addresses\n/);
      assert.match(out, /\n {2}judged as if SpiderSubnet s of this file were applied; /);
      const refused = await explained("{subnet: 10.9.0.1/24}");
      assert.equal(refused.status, 1);
      assert.match(
        refused.out,
        /\n {2}of this file, the API server would refuse SpiderSubnet s: spec\.subnet: .* please change it to 10\.9\.0\.0\/24\n/,
      );
      assert.match(refused.out, /SpiderSubnet s does not exist/);
    });

    it("looks at the pool of an application that is applied again", async () => {
      const stored = { namespace: "default", name: "web" };
      const { uid } = api.apply(deployments, { metadata: stored }).metadata;
      const owner = { apiGroup: "apps", apiVersion: "v1", kind: "Deployment", ...stored, uid };
      const own = { ...autoPoolLabels({ ...owner, nic: "eth0", family: 4 }), [labels.ownerSubnet]: "s" };
      const spec = { subnet: "10.9.0.0/24", ips: ["10.9.0.10"] };
      api.apply<SpiderIPPool>(spiderIPPools, { metadata: { name: "auto4-web-eth0-x", labels: own }, spec });
      const { status, out } = await ask(1);
      assert.equal(status, 0, out);
      assert.match(out, /✔ auto4-web-eth0-x +IPv4 +1 of 1 addresses are free\n/);
    });

    it("says of a Pod that waits what keeps the controller from making it", async () => {
      const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "r", controller: true };
      api.apply(replicaSets, {
        metadata: { namespace: "default", name: "web", uid: "r" },
        spec: { replicas: 9, template: { metadata: { annotations: annotation } } },
      } as object as Parameters<typeof api.apply>[1]);
      const metadata = { namespace: "default", name: "web-x", annotations: annotation, ownerReferences: [owner] };
      api.apply(pods, { metadata, spec: { nodeName: "node1" } } as object as Parameters<typeof api.apply>[1]);
      subnet();
      assert.match(
        (await explain("pod", "web-x")).out,
        /SpiderSubnet s has 4 addresses left, and the application needs 10;/,
      );
      subnet({ ips: ["10.9.0.10-10.9.0.99"] });
      assert.match(
        (await explain("pod", "web-x")).out,
        /the controller creates it; if it does not, see the Events of ReplicaSet default\/web and of SpiderSubnet s\n/,
      );
    });
  });

  it("counts in everything of the same file on which the Pod's networks depend", async () => {
    const ours = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind:";
    const file = `apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {k8s.v1.cni.cncf.io/networks: "default/second, default/third", ipam.spidernet.io/ippools: '[{"interface":"eth0","ipv4":["b"]},{"interface":"net1","ipv4":["a"]},{"interface":"net2","ipv4":["a"]}]'}}
spec: {nodeName: node3}
---
${ours} SpiderIPPool
metadata: {name: b}
spec: {subnet: 10.7.0.0/24, ips: [10.7.0.1-10.7.0.3], nodeName: [node3], namespaceAffinity: {matchLabels: {kubernetes.io/metadata.name: default}}}
---
${ours} SpiderReservedIP
metadata: {name: r}
spec: {ips: [10.7.0.3]}
---
${ours} SpiderMultusConfig
metadata: {name: second}
spec: {cniType: macvlan, macvlan: {master: [eth0]}}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: third}
spec: {config: '${ovs}'}
---
{apiVersion: v1, kind: Node, metadata: {name: node3}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: default}}
`;
    const { status, out } = await runCtl(api, ["explain", "-f", "x.yaml"], { "x.yaml": file });
    assert.equal(status, 0, out);
    assert.match(out, /✔ b +IPv4 +2 of 2 addresses are free\n/);
    assert.match(out, /^net1 from default\/second, .*\n {2}✔ a /m);
    assert.match(out, /^net2 from default\/third, .*\n {2}✔ a /m);
    assert.equal((await runCtl(api, ["explain", "-f", "x.yaml", "-o", "name"], { "x.yaml": file })).out, "pod/p\n");
    assert.deepEqual(
      api.all(spiderIPPools).map(({ metadata }) => metadata.name),
      ["a"],
      "it writes nothing",
    );
  });

  it("says of a Pod that runs what it has, and that one like it could not start now", async () => {
    const status = { podIP: "10.6.0.10", podIPs: [{ ip: "10.6.0.10" }] };
    pod("web", ippool({ ipv4: ["none"] }), { spec: { nodeName: "node1" }, status });
    const { status: exit, out } = await explain("pod", "web");
    assert.equal(exit, 0);
    assert.match(
      out,
      /it has its networks: 10\.6\.0\.10\n {2}one more Pod like it could not start now: .*IPPool "none" not found/,
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
    pod("web", annotations, { spec: { nodeName: "node1" }, status });
    const { out } = await explain("pod", "web");
    assert.match(out, /it has its networks: eth0 10\.6\.0\.10; net1 10\.7\.0\.10, fd07::10\n/);
  });

  it("cannot judge a default network that only files of the node may have", async () => {
    const labels = { "app.kubernetes.io/component": "spiderpool" };
    api.apply(configMaps, {
      metadata: { namespace: "kube-system", name: "c", labels },
      data: { clusterNetwork: "other" },
    });
    const file = { "x.yaml": JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: {} }) };
    assert.equal((await runCtl(api, ["explain", "-f", "x.yaml"], file)).status, 2);
  });

  it("tells of a Pod that is gone by its Events, and that nothing tells of one", async () => {
    assert.equal((await explain("pod", "web")).status, 2);
    const involvedObject = { kind: "Pod", namespace: "default", name: "web", uid: "u" };
    const text = {
      type: "Warning",
      reason: "NoIPPool",
      lastTimestamp: new Date().toISOString(),
      message: "no pool. What to do: x",
      source: { component: "spiderpool-agent", host: "node2" },
    };
    api.apply(events, {
      metadata: { namespace: "default", name: "e", annotations: { [annotations.errorCode]: "NO_POOL" } },
      involvedObject,
      ...text,
    } as object as Parameters<typeof api.apply>[1]);
    const { status, out } = await explain("pod", "default/web");
    assert.equal(status, 1);
    assert.match(out, /^no pool\n {2}Pod default\/web on node2 \(gone\): NO_POOL/);
  });

  it("says in JSON what it says in words", async () => {
    pod("web", ippool({ ipv4: ["none"] }));
    const { out } = await explain("pod", "web", "-o", "json");
    const [item] = JSON.parse(out).items;
    assert.equal(item.verdict, "fails");
    assert.equal(item.cause.code, "POOL_NOT_FOUND");
    assert.match(item.fixes[0].command, /\{"ipv4":\["a"\]\}/);
    assert.equal(item.nics[0].problem.code, "POOL_NOT_FOUND");
  });

  it("refuses a command line that names neither Pod nor file, and a file without Pods", async () => {
    assert.equal((await explain("web")).status, 2);
    assert.equal((await runCtl(api, ["explain", "-f", "x"], { x: "kind: Service\nmetadata: {}" })).status, 2);
  });
});
