import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  bridgeResourcePrefix,
  isLost,
  annotations as keys,
  lostToken,
  networkAttachmentDefinitions,
  spiderIPAddresses,
  spiderIPPools,
  uninstallAnnotation,
} from "#api";
import { hasCode } from "#base";
import {
  customResourceDefinitions,
  daemonSets,
  deployments,
  jobs,
  type KubeObject,
  leases,
  nodes,
  pods,
  type Resource,
} from "#kube";
import type { FakeApi } from "../kube/testing/fake-api.ts";
import { clean } from "./clean.ts";
import { mark } from "./nodes.ts";
import { isFinal } from "./retry.ts";
import { kind, world } from "./testing/world.ts";

const admission = (plural: string): Resource<KubeObject> => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural,
  kind: plural,
  namespaced: false,
});
const removal = {
  command: "clean",
  kubeconfig: undefined,
  namespace: "kube-system",
  release: "spiderpool",
  controller: "ctl",
  agents: "agent",
  hookJob: "hook",
  jobs: ["spiderpool-init"],
  force: false,
  yes: false,
} as const;
const namespace = "kube-system";

/** A release that Helm removes, with a pool that a finalizer holds. */
function installed() {
  const made = world();
  const { api } = made;
  const annotations = { "meta.helm.sh/release-name": "spiderpool" };
  const labels = { "app.kubernetes.io/instance": "spiderpool" };
  api.apply(deployments, { metadata: { namespace, name: "ctl", annotations } });
  api.apply(jobs, { metadata: { namespace, name: "hook" } });
  api.apply(leases, { metadata: { namespace, name: "spiderpool-controller-leases" }, spec: { holderIdentity: "a" } });
  api.apply(jobs, { metadata: { namespace, name: "spiderpool-init", labels } });
  const pools = kind("spiderippools");
  api.apply(customResourceDefinitions, {
    ...pools,
    metadata: { ...pools.metadata, finalizers: ["customresourcecleanup"] },
  });
  api.apply(customResourceDefinitions, kind("sriovnetworks", "sriovnetwork.openshift.io"));
  api.apply(spiderIPPools, { metadata: { name: "p", finalizers: ["spiderpool.spidernet.io"] }, spec: {} });
  api.apply(admission("validatingwebhookconfigurations"), { metadata: { name: "ctl", labels } });
  api.apply(admission("mutatingwebhookconfigurations"), { metadata: { name: "ctl" } });
  const owner = { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderMultusConfig", name: "n", uid: "u" };
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "made", ownerReferences: [owner] } });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "by-hand" } });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "never-filled", labels }, spec: {} });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "filled", labels }, spec: { config: "{}" } });
  return made;
}

/** Acts as the server does with a terminating kind: deletes its objects, then the kind. */
function serverOf(api: FakeApi): () => void {
  const ref = { name: "spiderippools.spiderpool.spidernet.io" };
  return () => {
    if (api.read(customResourceDefinitions, ref)?.metadata.deletionTimestamp === undefined) return;
    const [pool] = api.all(spiderIPPools);
    if (pool === undefined) api.remove(customResourceDefinitions, ref);
    else if ((pool.metadata.finalizers ?? []).length === 0) api.remove(spiderIPPools, pool.metadata);
  };
}

function claim(api: FakeApi, address: string, podUID: string, podName = `pod-${podUID}`) {
  const spec = { address, purpose: "Pod", podNamespace: "default", podName, podUID, node: "n1" };
  api.apply(spiderIPAddresses, { metadata: { name: address }, spec });
}

describe("clean()", () => {
  it("removes everything of ours and nothing else, and reports each", async () => {
    const { api, deps, said, finish, o } = installed();
    await finish(clean(removal, deps, o), serverOf(api));
    assert.deepEqual(
      api.all(customResourceDefinitions).map(({ metadata }) => metadata.name),
      ["sriovnetworks.sriovnetwork.openshift.io"],
    );
    assert.deepEqual(api.all(spiderIPPools), []);
    assert.deepEqual(
      api.all(networkAttachmentDefinitions).map(({ metadata }) => metadata.name),
      ["by-hand", "filled"],
    );
    assert.equal(api.all(admission("validatingwebhookconfigurations")).length, 0);
    assert.equal(api.all(admission("mutatingwebhookconfigurations")).length, 1);
    assert.ok(said.includes("MutatingWebhookConfiguration ctl: not ours, stays"));
    assert.ok(said.includes("spiderippools p: deleted with its kind"));
    assert.ok(said.includes("Job kube-system/spiderpool-init: deleted"));
    assert.ok(api.read(jobs, { namespace, name: "hook" }) !== undefined);
    const lease = api.read(leases, { namespace, name: "spiderpool-controller-leases" });
    assert.equal(lease?.metadata.ownerReferences?.[0]?.name, "ctl");
    assert.equal(lease?.spec?.holderIdentity, "a");
  });

  it("removes from Nodes what agents wrote there; agents learn from their DaemonSet that the release is removed", async () => {
    const { api, deps, said, finish, o } = installed();
    api.apply(daemonSets, { metadata: { namespace, name: "agent" } });
    const [bridge, cpu] = [`${bridgeResourcePrefix}br1`, { cpu: "4" }];
    const marked = lostToken("1");
    const node = (name: string, noted: Record<string, string>, offered: object) =>
      api.apply(nodes, {
        metadata: { name, annotations: { other: "x", ...noted } },
        status: { capacity: { ...cpu, ...offered }, allocatable: { ...cpu, ...offered } },
      });
    node("n1", { [keys.ledgerClosed]: "t", [keys.doubts]: "{}" }, { [bridge]: "1000" });
    node("n2", { [keys.ledgerClosed]: marked }, {});
    await finish(clean(removal, deps, o), serverOf(api));
    const left = api
      .all(nodes)
      .map(({ metadata: { annotations }, status }) => [annotations, status?.capacity, status?.allocatable]);
    assert.deepEqual(left, [
      [{ other: "x" }, cpu, cpu],
      [{ other: "x", [keys.ledgerClosed]: marked }, cpu, cpu],
    ]);
    const ref = { namespace, name: "agent" };
    assert.equal(api.read(daemonSets, ref)?.metadata.annotations?.[uninstallAnnotation], "true");
    assert.deepEqual(
      said.filter((line) => line.startsWith("Node")),
      ["Node n1: what agents wrote there is gone"],
    );
    await finish(mark(ref, undefined, deps, o));
    assert.equal(api.read(daemonSets, ref)?.metadata.annotations?.[uninstallAnnotation], undefined);
  });

  it("goes on past a server that fails at each request for once", async () => {
    const { api, deps, finish, o } = installed();
    const failed = new Set<string>();
    api.faults = ({ method, path }) => {
      const request = `${method} ${path.split("?")[0]}`;
      if (failed.size === failed.add(request).size) return undefined;
      return { kind: "status", status: 500, reason: "InternalError" };
    };
    await finish(clean({ ...removal, yes: true }, deps, o), serverOf(api));
    assert.deepEqual(api.all(spiderIPPools), []);
    const lease = api.read(leases, { namespace, name: "spiderpool-controller-leases" });
    assert.equal(lease?.metadata.ownerReferences?.[0]?.name, "ctl");
  });

  it("touches a kind whose deletion the server has forgotten", async () => {
    const { api, deps, finish, o } = installed();
    const server = serverOf(api);
    const ref = { name: "spiderippools.spiderpool.spidernet.io" };
    await finish(clean(removal, deps, o), () => {
      if (
        api.read(customResourceDefinitions, ref)?.metadata.annotations?.["spiderpool.spidernet.io/removal"] !==
        undefined
      )
        server();
    });
    assert.equal(api.read(customResourceDefinitions, ref), undefined);
  });

  const refused = async (made: ReturnType<typeof installed>, reason: RegExp) => {
    const before = made.api.requests.length;
    await assert.rejects(
      made.finish(clean(removal, made.deps, made.o)),
      (error) => hasCode(error, "CLEAN_REFUSED") && reason.test(error.message) && isFinal(error),
    );
    const writes = made.api.requests.slice(before).filter(({ method }) => method !== "GET");
    assert.deepEqual(writes, []);
  };

  it("deletes nothing if kubectl applied what helm rendered", async () => {
    const byHand = installed();
    byHand.api.remove(deployments, { namespace, name: "ctl" });
    byHand.api.apply(deployments, { metadata: { namespace, name: "ctl" } });
    await refused(byHand, /belongs to Helm release ""/);
    const applied = installed();
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}" };
    applied.api.remove(jobs, { namespace, name: "hook" });
    applied.api.apply(jobs, { metadata: { namespace, name: "hook", annotations } });
    await refused(applied, /applied by kubectl/);
  });

  it("deletes nothing while a static Pod has an address, whose UID on its node is not that of its mirror", async () => {
    const made = installed();
    claim(made.api, "172.18.1.1", "hash");
    const annotations = { "kubernetes.io/config.hash": "hash" };
    made.api.apply(pods, { metadata: { namespace: "default", name: "pod-hash", annotations } });
    await refused(made, /1 addresses are held by Pods.*172\.18\.1\.1 \(default\/pod-hash\)/);
  });

  it("deletes nothing while Pods have addresses, unless forced; claims of Pods that are gone do not count", async () => {
    const made = installed();
    claim(made.api, "172.18.1.1", "gone");
    claim(made.api, "172.18.1.2", "here");
    made.api.apply(pods, { metadata: { namespace: "default", name: "pod-here", uid: "here" } });
    for (const name of ["n1", "n2"]) made.api.apply(nodes, { metadata: { name } });
    const uid = made.api.read(pods, { namespace: "default", name: "pod-here" })?.metadata.uid ?? "";
    claim(made.api, "172.18.1.2", uid, "pod-here");
    await refused(made, /1 addresses are held by Pods.*172\.18\.1\.2 \(default\/pod-here\)/);
    await made.finish(clean({ ...removal, force: true }, made.deps, made.o), serverOf(made.api));
    assert.equal(made.api.all(customResourceDefinitions).length, 1);
    const lease = made.api.read(leases, { namespace, name: "spiderpool-controller-leases" });
    assert.equal(lease?.metadata.ownerReferences?.[0]?.name, "ctl");
    const marks = () => made.api.all(nodes).map(({ metadata }) => metadata.annotations?.[keys.ledgerClosed]);
    const before = marks();
    assert.deepEqual(before.map(isLost), [true, false], "the next installation is told, in whatever namespace");
    for (const { metadata } of made.api.all(spiderIPAddresses)) made.api.remove(spiderIPAddresses, metadata);
    await made.finish(clean({ ...removal, force: true }, made.deps, made.o), () => {});
    assert.deepEqual(marks(), before, "also where the Job is run once more");
  });
});
