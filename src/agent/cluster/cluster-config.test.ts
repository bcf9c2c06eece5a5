import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SpiderCoordinator } from "#api";
import { type Attachment, CniError } from "#cni";
import type { KubeObject, Pod, Store } from "#kube";
import { testPod } from "../testing/api.ts";
import { clusterConfigOf } from "./cluster-config.ts";

const attachment: Attachment = {
  containerId: "c",
  ifName: "net1",
  netns: "/run/netns/c",
  pod: { namespace: "default", name: "p", uid: "" },
  args: new Map(),
};

function storeOf<T extends KubeObject>(...objects: readonly T[]): Store<T> {
  const keyOf = ({ metadata: { namespace, name } }: T) => (namespace === undefined ? name : `${namespace}/${name}`);
  const store: Partial<Store<T>> = { list: () => objects, get: (key) => objects.find((one) => keyOf(one) === key) };
  return store as Store<T>;
}

function coordinator(name: string, more: Partial<SpiderCoordinator> = {}): SpiderCoordinator {
  return {
    metadata: { name, uid: name, resourceVersion: "1" },
    spec: { mode: "auto", podCIDRType: "cluster", hostRuleTable: 500 },
    status: { phase: "Synced", overlayPodCIDR: ["10.244.0.0/16"], serviceCIDR: ["10.96.0.0/12"] },
    ...more,
  } as SpiderCoordinator;
}

describe("clusterConfigOf()", () => {
  it("joins spec and status of the first SpiderCoordinator", async () => {
    const coordinators = storeOf(coordinator("second"), coordinator("first", { spec: { mode: "underlay" } }));
    assert.deepEqual(await clusterConfigOf(coordinators, storeOf<Pod>(), attachment), {
      mode: "underlay",
      overlayPodCIDR: ["10.244.0.0/16"],
      serviceCIDR: ["10.96.0.0/12"],
    });
  });

  it("takes the NIC of the default route from the Pod's annotation", async () => {
    const annotations = { "ipam.spidernet.io/default-route-nic": "net1" };
    const pods = storeOf(testPod("p", { metadata: { annotations } }));
    const spec = { podDefaultRouteNIC: "eth0" };
    const config = await clusterConfigOf(storeOf(coordinator("default", { spec })), pods, attachment);
    assert.equal(config.podDefaultRouteNIC, "net1");
  });

  it("lets no Pod start without the cluster's ranges: it says which coordinator is missing or not ready, and why", async () => {
    const status = { phase: "NotReady" as const, reason: "no enabled Calico IPPool found" };
    for (const [coordinators, text] of [
      [storeOf<SpiderCoordinator>(), /spiderpool-controller/],
      [storeOf(coordinator("default", { status })), /coordinator default, phase NotReady, reason no enabled Calico/],
      [storeOf({ ...coordinator("default"), status: undefined } as unknown as SpiderCoordinator), /phase none yet/],
    ] as const) {
      await assert.rejects(clusterConfigOf(coordinators, storeOf<Pod>(), attachment), (error) => {
        assert.ok(error instanceof CniError);
        assert.equal(error.cniCode, 11);
        assert.match(error.text, text);
        return true;
      });
    }
  });

  it("is one object for all Pods until the SpiderCoordinator changes", async () => {
    const [before, after] = [coordinator("default"), coordinator("default", { spec: { mode: "underlay" } })];
    const read = (one: SpiderCoordinator) => clusterConfigOf(storeOf(one), storeOf<Pod>(), attachment);
    assert.equal(await read(before), await read(before));
    assert.equal((await read(after)).mode, "underlay");
  });

  it("needs no ranges where coordination is off", async () => {
    const off = coordinator("default", { spec: { mode: "disabled" }, status: { phase: "NotReady" } });
    const config = await clusterConfigOf(storeOf(off), storeOf<Pod>(), attachment);
    assert.equal(config.mode, "disabled");
  });
});
