import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { annotations, labels, type SpiderIPPool, type SpiderSubnet, spiderIPPools, spiderSubnets } from "#api";
import { autoPoolLabels } from "#ipam";
import { deployments, pods, replicaSets } from "#kube";
import { TestCluster } from "./testing/cluster.ts";

let cluster: TestCluster;

beforeEach(() => {
  cluster = new TestCluster();
});

describe("spiderpoolctl explain about pools that are cut from a SpiderSubnet", () => {
  const annotation = { [annotations.subnet]: '{"ipv4":["s"]}' };
  const app = (replicas: number) =>
    JSON.stringify({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: { replicas, template: { metadata: { annotations: annotation }, spec: {} } },
    });
  const subnet = (spec: object = {}) =>
    cluster.api.apply<SpiderSubnet>(spiderSubnets, {
      metadata: { name: "s" },
      spec: { ipVersion: 4, subnet: "10.9.0.0/24", ips: ["10.9.0.10-10.9.0.13"], ...spec },
    });
  const ask = (replicas: number) => cluster.explainFile(app(replicas));

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
      return cluster.explainFile(`${app(1)}\n---\n${text}\n`);
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
    const { uid } = cluster.api.apply(deployments, { metadata: stored }).metadata;
    const owner = { apiGroup: "apps", apiVersion: "v1", kind: "Deployment", ...stored, uid };
    const own = { ...autoPoolLabels({ ...owner, nic: "eth0", family: 4 }), [labels.ownerSubnet]: "s" };
    const spec = { subnet: "10.9.0.0/24", ips: ["10.9.0.10"] };
    cluster.api.apply<SpiderIPPool>(spiderIPPools, { metadata: { name: "auto4-web-eth0-x", labels: own }, spec });
    const { status, out } = await ask(1);
    assert.equal(status, 0, out);
    assert.match(out, /✔ auto4-web-eth0-x +IPv4 +1 of 1 addresses are free\n/);
    cluster.claim("10.9.0.10", "auto4-web-eth0-x", "web-a");
    const reference = { apiVersion: "apps/v1", kind: "Deployment", name: "web", uid, controller: true };
    const metadata = { namespace: "default", name: "web-b", annotations: annotation, ownerReferences: [reference] };
    cluster.api.apply(pods, { metadata, spec: { nodeName: "node1" } });
    const full = await cluster.explain("pod", "web-b");
    assert.equal(full.status, 1);
    // Admission refuses addresses that somebody else adds.
    assert.match(
      full.out,
      /\n {6}kubectl patch deployment -n default web .*"ipam.spidernet.io\/ippool-ip-number":"\+2"/,
    );
    assert.doesNotMatch(full.out, /patch spiderippool/);
  });

  it("says of a Pod that waits what keeps the controller from making it", async () => {
    const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "r", controller: true };
    cluster.api.apply(replicaSets, {
      metadata: { namespace: "default", name: "web", uid: "r" },
      spec: { replicas: 9, template: { metadata: { annotations: annotation } } },
    });
    const metadata = { namespace: "default", name: "web-x", annotations: annotation, ownerReferences: [owner] };
    cluster.api.apply(pods, { metadata, spec: { nodeName: "node1" } });
    subnet();
    assert.match(
      (await cluster.explain("pod", "web-x")).out,
      /SpiderSubnet s has 4 addresses left, and the application needs 10;/,
    );
    subnet({ ips: ["10.9.0.10-10.9.0.99"] });
    assert.match(
      (await cluster.explain("pod", "web-x")).out,
      /the controller creates it; if it does not, see the Events of ReplicaSet default\/web and of SpiderSubnet s\n/,
    );
  });
});
