import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizer, type SpiderCoordinator, spiderCoordinators } from "#api";
import { never } from "#base";
import { configMaps, events, type Pod, pods } from "#kube";
import { TestCluster } from "../testing/cluster.ts";
import { type ClusterFacts, detectType, resolveCidrs } from "./cidrs.ts";

const nothing: ClusterFacts = {
  serviceCidrs: [],
  calicoPools: [],
  ciliumAt: "kube-system/cilium-config",
  ciliumPools: [],
  flannel: false,
};
const kubeadm =
  "kind: ClusterConfiguration\nnetworking:\n  podSubnet: 10.244.0.0/16, fd00:10::/56\n  serviceSubnet: 10.96.0.0/12\n";
const cilium = { ipam: "cluster-pool", "cluster-pool-ipv4-cidr": "10.0.0.0/8" };

describe("resolveCidrs()", () => {
  it("takes the ranges of Kubernetes from kubeadm, else from the flags of the controller manager", () => {
    assert.deepEqual(resolveCidrs("cluster", { ...nothing, kubeadm }), {
      phase: "Synced",
      reason: "",
      overlayPodCIDR: ["10.244.0.0/16", "fd00:10::/56"],
      serviceCIDR: ["10.96.0.0/12"],
    });
    const controllerManager = [
      "kube-controller-manager",
      "--cluster-cidr=10.1.0.0/16",
      "--service-cluster-ip-range=10.2.0.0/16",
    ];
    const found = resolveCidrs("cluster", { ...nothing, kubeadm: "networking: {}", controllerManager });
    assert.deepEqual([found.overlayPodCIDR, found.serviceCIDR], [["10.1.0.0/16"], ["10.2.0.0/16"]]);
  });

  it("prefers ServiceCIDR objects to what Kubernetes was told at first", () => {
    const found = resolveCidrs("none", { ...nothing, kubeadm, serviceCidrs: ["10.96.0.0/12", "10.200.0.0/16"] });
    assert.deepEqual(found.serviceCIDR, ["10.96.0.0/12", "10.200.0.0/16"]);
  });

  it("asks each CNI for its Pods' ranges", () => {
    const facts = { ...nothing, kubeadm, calicoPools: ["192.168.0.0/16"], cilium, ciliumPools: ["10.9.0.0/16"] };
    const of = (type: Parameters<typeof resolveCidrs>[0], more: Partial<ClusterFacts> = {}) =>
      resolveCidrs(type, { ...facts, ...more }).overlayPodCIDR;
    assert.deepEqual(of("calico"), ["192.168.0.0/16"]);
    assert.deepEqual(of("cilium"), ["10.0.0.0/8"]);
    assert.deepEqual(of("cilium", { cilium: { ipam: "multi-pool" } }), ["10.9.0.0/16"]);
    assert.deepEqual(of("cilium", { cilium: { ipam: "kubernetes" } }), ["10.244.0.0/16", "fd00:10::/56"]);
    assert.deepEqual(of("none"), []);
  });

  it("says what is missing, and needs no Pod range where there is no overlay", () => {
    const reason = (...of: Parameters<typeof resolveCidrs>) => resolveCidrs(...of).reason ?? "";
    assert.match(reason("none", nothing), /No kube-controller-manager pod found/);
    const services = { ...nothing, serviceCidrs: ["10.96.0.0/12"] };
    assert.equal(resolveCidrs("none", services).phase, "Synced");
    assert.match(reason("cluster", services), /unable to get clusterCIDR/);
    assert.match(reason("calico", services), /no enabled Calico IPPool/);
    assert.match(reason("cilium", { ...services, cilium: { ipam: "eni" } }), /unsupported .*eni/);
    assert.deepEqual(resolveCidrs("cluster", services).serviceCIDR, ["10.96.0.0/12"]);
  });

  it("is ready where a user names the Service CIDR that the cluster does not tell", () => {
    const by = (...hijack: string[]) => resolveCidrs("none", nothing, hijack);
    for (const hijack of [[], ["169.254.0.0/16"], ["169.254.20.10", "fe80::/64"]]) {
      assert.deepEqual(
        [by(...hijack).phase, /add .* to spec\.hijackCIDR$/.test(by(...hijack).reason ?? "")],
        ["NotReady", true],
      );
    }
    assert.deepEqual(by("169.254.0.0/16", "10.100.0.0/16"), {
      phase: "Synced",
      reason: "",
      overlayPodCIDR: [],
      serviceCIDR: [],
    });
    assert.equal(resolveCidrs("cluster", nothing, ["fd00:10::/108"]).phase, "NotReady", "its Pods' ranges are unknown");
  });

  it("survives text that is no YAML", () => {
    assert.equal(resolveCidrs("none", { ...nothing, kubeadm: "{[" }).phase, "NotReady");
    assert.equal(resolveCidrs("none", { ...nothing, kubeadm: "- a" }).phase, "NotReady");
  });
});

describe("detectType()", () => {
  it("knows the CNI by its traces in the API", () => {
    assert.equal(detectType({ ...nothing, calicoPools: ["192.168.0.0/16"] }), "calico");
    assert.equal(detectType({ ...nothing, cilium }), "cilium");
    assert.equal(detectType({ ...nothing, flannel: true }), "cluster");
    assert.equal(detectType(nothing), "none");
  });
});

describe("the SpiderCoordinator", () => {
  const read = ({ api }: TestCluster) => api.read(spiderCoordinators, { name: "default" });

  it("is created as the chart would, and its status follows the cluster", async () => {
    await using cluster = new TestCluster();
    const metadata = { namespace: "kube-system", name: "kubeadm-config" };
    cluster.api.apply(configMaps, { metadata, data: { ClusterConfiguration: kubeadm } });
    await cluster.start();
    const { spec, status } = read(cluster) ?? assert.fail();
    const { mode, podCIDRType, tunePodRoutes, hijackCIDR, vethMTU } = spec;
    assert.deepEqual(
      [mode, podCIDRType, tunePodRoutes, hijackCIDR, vethMTU],
      ["auto", "auto", true, ["169.254.0.0/16"], 1500],
    );
    assert.deepEqual(status, { phase: "Synced", reason: "", overlayPodCIDR: [], serviceCIDR: ["10.96.0.0/12"] });
  });

  it("finds Cilium's settings where the chart says, and says where they are missing", async () => {
    await using cluster = new TestCluster();
    const at = { namespace: "cilium-system", name: "settings" };
    const kubernetes = { namespace: "kube-system", name: "kubeadm-config" };
    cluster.api.apply(configMaps, { metadata: kubernetes, data: { ClusterConfiguration: kubeadm } });
    await cluster.start({ coordinator: { name: "default", spec: { podCIDRType: "cilium" }, cilium: at } });
    assert.equal(read(cluster)?.status?.reason, "no ConfigMap cilium-system/settings found");
    cluster.api.apply(configMaps, { metadata: at, data: cilium });
    await cluster.pass(31_000);
    assert.deepEqual(read(cluster)?.status?.overlayPodCIDR, ["10.0.0.0/8"]);
  });

  it("that is not ready says why and is looked at again after 30 s", async () => {
    await using cluster = new TestCluster();
    await cluster.start();
    assert.equal(read(cluster)?.status?.phase, "NotReady");
    assert.ok(cluster.api.all(events).some(({ reason }) => reason === "ClusterNotReady"));
    cluster.api.apply<Pod>(pods, {
      metadata: { namespace: "kube-system", name: "kcm", labels: { component: "kube-controller-manager" } },
      spec: { containers: [{ name: "kcm", command: ["kcm"], args: ["--service-cluster-ip-range=10.96.0.0/12"] }] },
    });
    await cluster.pass(31_000);
    assert.equal(read(cluster)?.status?.phase, "Synced");
  });

  it("keeps its last ranges while they cannot be read", async () => {
    await using cluster = new TestCluster();
    const metadata = { namespace: "kube-system", name: "kubeadm-config" };
    cluster.api.apply(configMaps, { metadata, data: { ClusterConfiguration: kubeadm } });
    await cluster.start();
    cluster.api.fail(({ path }) => path.includes("kubeadm-config"), { kind: "not-sent" }, 1_000);
    await cluster.pass(65_000);
    assert.equal(read(cluster)?.status?.phase, "Synced");
  });

  it("does not hang when it is deleted: its finalizer goes, and the default one comes back", async () => {
    await using cluster = new TestCluster();
    await cluster.start();
    const { uid } = read(cluster)?.metadata ?? {};
    cluster.api.apply<SpiderCoordinator>(spiderCoordinators, {
      metadata: { name: "other" },
      spec: { podCIDRType: "none" },
    });
    await cluster.settle();
    assert.deepEqual(cluster.api.read(spiderCoordinators, { name: "other" })?.metadata.finalizers, [finalizer]);
    for (const name of ["other", "default"])
      await cluster.client.delete(spiderCoordinators, { name }, { signal: never });
    await cluster.settle();
    assert.equal(cluster.api.read(spiderCoordinators, { name: "other" }), undefined);
    assert.notEqual(read(cluster)?.metadata.uid, uid);
    assert.notEqual(read(cluster), undefined);
  });
});
