import { annotations, type SpiderIPPool, spiderEndpoints, spiderIPPools, takeOverToken } from "#api";
import { customResourceDefinitions, leases, nodes } from "#kube";
import type { TestCluster } from "../cluster.ts";
import { leaseName } from "./leader.ts";
import { claimed, claimOfPod, type Scenario } from "./scenario.ts";

const definition = { metadata: { name: "spideripaddresses.spiderpool.spidernet.io" } };

/** Acts as the agents: once pools are closed, each reports that the claims of its node were made again. */
function agentsReport({ api }: TestCluster): void {
  const token = api.all(spiderIPPools)[0]?.metadata.annotations?.[annotations.ledgerClosed];
  if (token === undefined) return;
  for (const node of api.all(nodes)) {
    const { annotations: before = {} } = node.metadata;
    if (before[annotations.ledgerClosed] === token) continue;
    const metadata = { ...node.metadata, annotations: { ...before, [annotations.ledgerClosed]: token } };
    api.apply(nodes, { ...node, metadata });
  }
}

/** Which pools are closed, and whether the ledger that exists is the one on record. */
function stateOfLedger({ api }: TestCluster) {
  const recorded = api.read(leases, leaseName)?.metadata.annotations?.[annotations.ledgerEpoch];
  return {
    closed: api.all(spiderIPPools).map(({ metadata }) => metadata.annotations?.[annotations.ledgerClosed]),
    isRecorded: recorded === api.all(customResourceDefinitions)[0]?.metadata.uid,
  };
}

/** Objects as a former system left them: a pool whose status records the address of a Pod, and the Pod's endpoint. */
function formerSystem(cluster: TestCluster): void {
  const { uid } = cluster.pod("a", { status: { podIPs: [{ ip: claimed }] } }).metadata;
  const pool = cluster.pool("p");
  cluster.api.apply<SpiderIPPool>(spiderIPPools, {
    ...pool,
    metadata: { ...pool.metadata, annotations: { [annotations.ledgerClosed]: takeOverToken("1") } },
    status: { allocatedIPs: JSON.stringify({ [claimed]: { pod: "default/a", podUid: uid } }), allocatedIPCount: 1 },
  });
  const ips = [{ interface: "eth0", ipv4: `${claimed}/16`, ipv4Pool: "p" }];
  cluster.api.apply(spiderEndpoints, {
    metadata: { namespace: "default", name: "a" },
    status: { current: { uid, node: "n1", ips }, ownerControllerType: "Pod", ownerControllerName: "a" },
  });
}

export const ledgerScenarios: readonly Scenario[] = [
  {
    reconcile: "ledger-epoch",
    does: "closes pools when the ledger was lost, and opens them",
    setUp: (cluster) => {
      cluster.api.apply(customResourceDefinitions, definition);
      claimOfPod(cluster);
    },
    trigger: ({ api }) => {
      api.remove(customResourceDefinitions, definition.metadata);
      api.apply(customResourceDefinitions, definition);
    },
    others: agentsReport,
    takesMs: 90_000,
    result: stateOfLedger,
    restores: true,
  },
  {
    reconcile: "take-over",
    does: "claims what a former system gave",
    setUp: (cluster) => {
      cluster.api.apply(customResourceDefinitions, definition);
      cluster.node("n1");
    },
    trigger: formerSystem,
    others: agentsReport,
    takesMs: 150_000,
    result: (cluster) => {
      const { podName, nic } = cluster.read(claimed)?.spec ?? {};
      return { ...stateOfLedger(cluster), podName, nic };
    },
  },
];
