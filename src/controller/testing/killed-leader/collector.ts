import assert from "node:assert/strict";
import { annotations, finalizer, spiderEndpoints, spiderIPPools } from "#api";
import { nodes, pods, statefulSets } from "#kube";
import { options, type TestCluster } from "../cluster.ts";
import { claimed, claimOfPod, holder, type Scenario } from "./scenario.ts";

const statefulSet = { namespace: "default", name: "web" };
const sticky = { purpose: "Sticky", owner: "apps/v1/StatefulSet/default/web" } as const;
/** A claim that no sandbox uses. */
const detached = { node: undefined, containerID: undefined };
const lookEveryMs = 10_000;

/** The node goes silent, and the Pod is deleted by force. */
function loseNode(cluster: TestCluster, { outOfService }: { readonly outOfService: boolean }): void {
  cluster.node("n1", { ready: "Unknown", agent: "False", outOfService });
  cluster.api.remove(pods, holder);
}

function stateOfClaim(cluster: TestCluster) {
  const { purpose, node, unclean } = cluster.read(claimed)?.spec ?? {};
  return { purpose, node, unclean };
}

export const collectorScenarios: readonly Scenario[] = [
  {
    reconcile: "collector",
    does: "releases what a node that is off for certain held",
    setUp: claimOfPod,
    trigger: (cluster) => loseNode(cluster, { outOfService: true }),
    takesMs: 90_000,
    result: stateOfClaim,
  },
  {
    reconcile: "collector",
    does: "sets aside what a silent node holds",
    setUp: claimOfPod,
    trigger: (cluster) => loseNode(cluster, { outOfService: false }),
    takesMs: 90_000,
    result: stateOfClaim,
  },
  {
    reconcile: "collector",
    does: "detaches a sticky address of a silent node",
    setUp: (cluster) => {
      claimOfPod(cluster, sticky);
      cluster.api.apply(statefulSets, { metadata: statefulSet, spec: { replicas: 1 } });
    },
    trigger: (cluster) => loseNode(cluster, { outOfService: false }),
    takesMs: 90_000,
    result: stateOfClaim,
  },
  {
    reconcile: "collector",
    does: "releases a sticky address whose application is gone",
    setUp: (cluster) => {
      claimOfPod(cluster, { ...sticky, ...detached });
      cluster.api.apply(statefulSets, { metadata: statefulSet, spec: { replicas: 1 } });
      cluster.api.apply(spiderEndpoints, {
        metadata: { ...holder, finalizers: [finalizer] },
        status: { current: { uid: "", node: "", ips: [] } },
      });
    },
    trigger: ({ api }) => {
      api.remove(statefulSets, statefulSet);
      api.remove(pods, holder);
    },
    takesMs: 90_000,
    result: (cluster) => [stateOfClaim(cluster), cluster.api.all(spiderEndpoints).length],
  },
  {
    reconcile: "collector",
    does: "ends a quarantine",
    setUp: (cluster) => {
      const until = new Date(cluster.clock.wall().getTime() + 60_000).toISOString();
      claimOfPod(cluster, { ...detached, purpose: "Quarantine", until, mac: "02:00:00:00:00:01" });
    },
    trigger: () => {},
    takesMs: 120_000,
    result: stateOfClaim,
  },
  {
    reconcile: "outdated-endpoints",
    does: "removes the endpoint of a Pod that is gone",
    options: { collection: { ...options.collection, intervalMs: lookEveryMs } },
    conf: "enableCleanOutdatedEndpoint: true",
    trigger: ({ api }) => {
      const ips = [{ interface: "eth0", ipv4: "172.18.30.139/16", ipv4Pool: "p" }];
      api.apply(spiderEndpoints, {
        metadata: { namespace: "default", name: "gone", finalizers: [finalizer] },
        status: { current: { uid: "u", node: "n1", ips } },
      });
    },
    takesMs: 90_000,
    result: ({ api }) => api.all(spiderEndpoints).length,
    restores: true,
  },
  {
    reconcile: "doubts",
    does: "names a claim without a Pod to its node",
    setUp: claimOfPod,
    trigger: (cluster) => {
      const [pool = assert.fail()] = cluster.api.all(spiderIPPools);
      cluster.claim("172.18.30.139", pool, "n1", { podName: "ghost" });
    },
    takesMs: 30_000,
    result: ({ api }) =>
      api.read(nodes, { name: "n1" })?.metadata.annotations?.[annotations.doubts]?.includes("172.18.30.139"),
  },
];
