import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SpiderCoordinator } from "#api";
import { never } from "#base";
import { CniError, type PodRef } from "#cni";
import type { KubeObject, Pod, Store } from "#kube";
import { testPod } from "../testing/api.ts";
import { clusterConfigOf } from "./cluster-config.ts";

function storeOf<T extends KubeObject>(...objects: readonly T[]): Store<T> {
  const keyOf = ({ metadata: { namespace, name } }: T) => (namespace === undefined ? name : `${namespace}/${name}`);
  const store: Partial<Store<T>> = { list: () => objects, get: (key) => objects.find((one) => keyOf(one) === key) };
  return store as Store<T>;
}

/** The settings for a Pod, where the watches show these objects and the API server has `served`. */
function configOf(
  coordinators: readonly SpiderCoordinator[],
  { seen, served, uid = "" }: { readonly seen?: Pod; readonly served?: Pod; readonly uid?: string } = {},
) {
  const pod: PodRef = { namespace: "default", name: "p", uid };
  const sources = {
    coordinatorStore: storeOf(...coordinators),
    podStore: storeOf(...(seen === undefined ? [] : [seen])),
    client: { get: async () => served as never },
  };
  return clusterConfigOf(sources, { pod }, { signal: never });
}

function withNic(nic: string, uid: string): Pod {
  return testPod("p", { metadata: { uid, annotations: { "ipam.spidernet.io/default-route-nic": nic } } });
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
    const coordinators = [coordinator("second"), coordinator("first", { spec: { mode: "underlay" } })];
    assert.deepEqual(await configOf(coordinators), {
      mode: "underlay",
      overlayPodCIDR: ["10.244.0.0/16"],
      serviceCIDR: ["10.96.0.0/12"],
    });
  });

  it("takes the NIC of the default route from the Pod's annotation", async () => {
    const spec = { podDefaultRouteNIC: "eth0" };
    const config = await configOf([coordinator("default", { spec })], { seen: withNic("net1", "u") });
    assert.equal(config.podDefaultRouteNIC, "net1");
  });

  it("takes it from the very Pod, which a watch that lags does not show yet", async () => {
    const spec = { podDefaultRouteNIC: "eth0" };
    const nicOf = async (pods: { readonly seen?: Pod; readonly served?: Pod }) =>
      (await configOf([coordinator("default", { spec })], { uid: "new", ...pods })).podDefaultRouteNIC;
    const [former, now] = [withNic("net1", "old"), withNic("net2", "new")];
    assert.equal(await nicOf({ served: now }), "net2");
    assert.equal(await nicOf({ seen: former, served: now }), "net2");
    assert.equal(await nicOf({ seen: now, served: former }), "net2");
    assert.equal(await nicOf({ seen: former, served: former }), "eth0");
  });

  it("lets no Pod start without the cluster's ranges: it says which coordinator is missing or not ready, and why", async () => {
    const status = { phase: "NotReady" as const, reason: "no enabled Calico IPPool found" };
    for (const [coordinators, text] of [
      [[], /spiderpool-controller/],
      [[coordinator("default", { status })], /coordinator default, phase NotReady, reason no enabled Calico/],
      [[{ ...coordinator("default"), status: undefined } as unknown as SpiderCoordinator], /phase none yet/],
    ] as const) {
      await assert.rejects(configOf(coordinators), (error) => {
        assert.ok(error instanceof CniError);
        assert.equal(error.cniCode, 11);
        assert.match(error.text, text);
        return true;
      });
    }
  });

  it("is one object for all Pods until the SpiderCoordinator changes", async () => {
    const [before, after] = [coordinator("default"), coordinator("default", { spec: { mode: "underlay" } })];
    const read = (one: SpiderCoordinator) => configOf([one]);
    assert.equal(await read(before), await read(before));
    assert.equal((await read(after)).mode, "underlay");
  });

  it("needs no ranges where coordination is off", async () => {
    const off = coordinator("default", { spec: { mode: "disabled" }, status: { phase: "NotReady" } });
    const config = await configOf([off]);
    assert.equal(config.mode, "disabled");
  });
});
