import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { spiderIPPools } from "#api";
import { ippool, ovs, TestCluster } from "./testing/cluster.ts";

let cluster: TestCluster;

beforeEach(() => {
  cluster = new TestCluster();
});

describe("spiderpoolctl explain -f", () => {
  it("judges a Pod that is not made yet on every node on which it could be, and its template's owner", async () => {
    const template = (node: string) => ({
      metadata: { annotations: ippool({ ipv4: ["b"] }) },
      spec: { nodeSelector: { "kubernetes.io/hostname": node } },
    });
    const deployment = (node: string) =>
      JSON.stringify({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "web" },
        spec: { template: template(node) },
      });
    cluster.pool("b", "10.7.0", { nodeName: ["node2"] });
    assert.equal((await cluster.explainFile(deployment("node2"))).status, 0);
    const { status, out } = await cluster.explainFile(deployment("node1"));
    assert.equal(status, 1);
    assert.match(out, /in the manifest, ipam\.spidernet\.io\/ippool: "\{\\"ipv4\\":\[\\"a\\"\]\}"/);
    const any = JSON.stringify({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "p", annotations: ippool({ ipv4: ["b"] }) },
      spec: {},
    });
    const some = await cluster.explainFile(any);
    assert.equal(some.status, 0);
    assert.match(some.out, /it could not run on node1: .*unmatched Node name/);
  });

  it("says where a Pod of that name exists, which may have the address that the new one does not get", async () => {
    const metadata = { name: "web", annotations: ippool({ ipv4: ["a"] }) };
    const file = JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec: {} });
    assert.equal((await cluster.explainFile(file)).err, "");
    cluster.pod("web", metadata.annotations);
    const { err } = await cluster.explainFile(file);
    assert.equal(err, "Pod default/web exists: this is about a new one; explain pod web -n default tells of that.\n");
  });

  it("asks once for what is the same for all Pods of a file", async () => {
    const pod = (name: string) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, annotations: ippool({ ipv4: ["a"] }) },
        spec: {},
      });
    const { status } = await cluster.explainFile(["p1", "p2", "p3"].map(pod).join("\n---\n"));
    assert.equal(status, 0);
    const lists = cluster.api.requests
      .map(({ path }) => path.split("?")[0] ?? "")
      .filter((path) => !/\/(default|p\d)$/.test(path));
    assert.deepEqual(lists, [...new Set(lists)]);
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
    const { status, out } = await cluster.explainFile(file);
    assert.equal(status, 0, out);
    assert.match(out, /✔ b +IPv4 +2 of 2 addresses are free\n/);
    assert.match(out, /^net1 from default\/second, .*\n {2}✔ a /m);
    assert.match(out, /^net2 from default\/third, .*\n {2}✔ a /m);
    assert.equal((await cluster.explainFile(file, "-o", "name")).out, "pod/p\n");
    assert.deepEqual(
      cluster.api.all(spiderIPPools).map(({ metadata }) => metadata.name),
      ["a"],
      "it writes nothing",
    );
  });

  it("cannot judge a default network that only files of the node may have", async () => {
    cluster.setDefaultNetwork("other");
    const file = JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: {} });
    assert.equal((await cluster.explainFile(file)).status, 2);
  });

  it("names the line of what cannot be used", async () => {
    const said = async (file: string) => {
      const { status, err } = await cluster.explainFile(file);
      assert.equal(status, 2);
      return err.trimEnd();
    };
    const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {}\n---\n";
    assert.match(await said(`${pod}a: {b: c\n`), /^error: x\.yaml: Flow map .* at line 7, column 1$/);
    assert.match(await said(`${pod}a: 1\nb: *c\n`), /^error: x\.yaml, line 7 cannot be used: Unresolved alias /);
    assert.match(await said(`${pod}kind: Job\nspec: {}\n`), /^error: x\.yaml, line 7: Job has no spec of a Pod$/);
    assert.match(
      await said(`${pod}kind: Pod\nmetadata:\n  name: q\n  labels: {a: 1}\nspec: {}\n`),
      /^error: x\.yaml, line 9: Pod q: labels: a is 1; allowed is text, in quotation marks$/,
    );
    assert.match(await said(`${pod}kind: SpiderIPPool\n`), /^error: x\.yaml, line 6: this SpiderIPPool has no name$/);
  });

  it("refuses a file without Pods", async () => {
    const { status, err } = await cluster.explainFile("kind: Service\nmetadata: {}");
    assert.equal(status, 2);
    assert.match(err, /x\.yaml has no Pod and nothing that makes one/);
  });
});
