import assert from "node:assert/strict";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { never } from "#base";
import type { TestCluster } from "../cluster.ts";
import { claimOfPod, type Scenario } from "./scenario.ts";

function claimTwoMore(cluster: TestCluster): void {
  const [pool = assert.fail()] = cluster.api.all(spiderIPPools);
  for (const last of [135, 136]) cluster.claim(`172.18.30.${last}`, pool);
}

export const poolScenarios: readonly Scenario[] = [
  {
    reconcile: "pool-status",
    does: "tells the records of a pool",
    setUp: claimOfPod,
    trigger: claimTwoMore,
    takesMs: 10_000,
    result: ({ api }) => api.all(spiderIPPools).map(({ status }) => [status?.allocatedIPCount, status?.totalIPCount]),
  },
  {
    reconcile: "pool-usage",
    does: "publishes what is taken",
    setUp: claimOfPod,
    trigger: claimTwoMore,
    takesMs: 10_000,
    result: ({ api }) => api.all(spiderPoolUsages).map(({ spec }) => [spec.used, spec.free]),
  },
  {
    reconcile: "pool-defaults",
    does: "fills in a pool that came without admission",
    trigger: (cluster) => void cluster.pool("p"),
    takesMs: 10_000,
    result: ({ api }) =>
      api
        .all(spiderIPPools)
        .map(({ metadata: { finalizers, labels = {} }, spec }) => [finalizers, Object.keys(labels), spec]),
  },
  {
    reconcile: "pool-drain",
    does: "lets a deleted pool go",
    setUp: (cluster) => void cluster.pool("p"),
    trigger: ({ client }) => void client.delete(spiderIPPools, { name: "p" }, { signal: never }),
    takesMs: 180_000,
    result: ({ api }) => [api.all(spiderIPPools).length, api.all(spiderPoolUsages).length],
  },
];
