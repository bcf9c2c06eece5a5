import { setTimeout as delay } from "node:timers/promises";
import type { LabClient } from "../lab/api/index.ts";
import { monotonicMs } from "./monotonic.ts";
import type { BenchNode } from "./node.ts";
import { formatPercentiles, percentiles, type Report } from "./report.ts";

const ours = "spiderpool.spidernet.io/v2beta1";
const network = { "v1.multus-cni.io/default-network": "kube-system/bench" };
const deployments = 30;
const failures = 10;

interface PodLike {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string };
}

interface EventLike {
  readonly type: string;
  readonly involvedObject: { readonly name: string };
}

/** What users wait for, beside ADDs: the pool of a new application, and the Event after an ADD that failed. */
export async function waits(bench: BenchNode): Promise<Report> {
  const { pool, add } = await autoPools(bench);
  const event = await failedAdds(bench);
  return {
    figures: { pool, add, event },
    lines: [
      `a Deployment's pool, after the Deployment: ${formatPercentiles(pool)}`,
      `ADD of its Pod, when the pool is there: ${formatPercentiles(add)}`,
      `the Event of an ADD that failed, after the answer: ${formatPercentiles(event)}`,
    ],
  };
}

async function autoPools(bench: BenchNode) {
  const { client, node } = bench;
  await client.create(`${ours}/spidersubnets`, {
    apiVersion: ours,
    kind: "SpiderSubnet",
    metadata: { name: "bench-waits" },
    spec: { subnet: "172.23.0.0/16", ips: ["172.23.100.1-172.23.100.200"], gateway: "172.23.0.1" },
  });
  using seen = firstSeen<{ readonly metadata: { readonly name: string } }>(client, `${ours}/spiderippools`, (pool) =>
    /^auto4-(.+)-eth0-/.exec(pool.metadata.name)?.at(1),
  );
  const poolMs: number[] = [];
  for (let at = 0; at < deployments; at++) {
    const name = `waits-${at}`;
    const startMs = monotonicMs();
    await client.create("apps/v1/deployments", deployment(name, node));
    poolMs.push((await seen.of(name)) - startMs);
  }
  const pods = await podsOf(client);
  const { adds } = await bench.run({ kind: "these", pods });
  const failed = adds.find(({ error }) => error !== undefined);
  if (failed !== undefined) throw new Error(`ADD of a Pod with a pool of its own: ${failed.error}`);
  for (let at = 0; at < deployments; at++) {
    await client.delete("apps/v1/deployments", { namespace: "default", name: `waits-${at}` });
  }
  return { pool: percentiles(poolMs), add: percentiles(adds.map(({ ms }) => ms)) };
}

function deployment(app: string, nodeName: string): object {
  const annotations = { ...network, "ipam.spidernet.io/subnet": '{"ipv4":["bench-waits"]}' };
  const template = {
    metadata: { labels: { app, waits: "yes" }, annotations },
    spec: { nodeName, containers: [{ name: "app", image: "none" }] },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: app, namespace: "default" },
    spec: { replicas: 1, selector: { matchLabels: { app } }, template },
  };
}

/** The Pods of all Deployments, when they have been made. */
async function podsOf(client: LabClient): Promise<readonly PodLike["metadata"][]> {
  for (const endMs = monotonicMs() + 20_000; ; await delay(20)) {
    const pods = await client.list<PodLike>("v1/pods", { namespace: "default", labelSelector: "waits=yes" });
    if (pods.length === deployments) {
      return pods.map(({ metadata: { namespace, name, uid } }) => ({ namespace, name, uid }));
    }
    if (monotonicMs() > endMs) throw new Error(`${pods.length} of ${deployments} Pods were made within 20 s`);
  }
}

async function failedAdds(bench: BenchNode) {
  const { client, node } = bench;
  using seen = firstSeen<EventLike>(client, "v1/events", ({ type, involvedObject: { name } }) =>
    type === "Warning" ? name : undefined,
  );
  const eventMs: number[] = [];
  for (let at = 0; at < failures; at++) {
    const name = `refused-${at}`;
    const made = await client.create<PodLike>("v1/pods", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name,
        namespace: "default",
        annotations: { ...network, "ipam.spidernet.io/ippool": '{"ipv4":["no-such-pool"]}' },
      },
      spec: { nodeName: node, containers: [{ name: "app", image: "none" }] },
    });
    const pod = { namespace: "default", name, uid: made.metadata.uid };
    const { adds, endMs } = await bench.run({ kind: "these", pods: [pod] }, { warmUp: 0 });
    if (adds[0]?.error === undefined) throw new Error(`ADD of Pod ${name} with a pool that does not exist succeeded`);
    eventMs.push((await seen.of(name)) - endMs);
    await client.delete("v1/pods", { namespace: "default", name }, { gracePeriodSeconds: 0 });
  }
  return percentiles(eventMs);
}

/** When an object with this key was first seen, in milliseconds of CLOCK_MONOTONIC. Waits for it for up to 20 s. */
function firstSeen<T extends object>(client: LabClient, resource: string, keyOf: (object: T) => string | undefined) {
  const atMs = new Map<string, number>();
  const stop = new AbortController();
  let changed = Promise.withResolvers<void>();
  const { done } = client.watch<T>(resource, { signal: stop.signal }, ({ object }) => {
    const key = keyOf(object);
    if (key === undefined || atMs.has(key)) return;
    atMs.set(key, monotonicMs());
    changed.resolve();
    changed = Promise.withResolvers();
  });
  done.catch(() => {});
  return {
    of: async (key: string): Promise<number> => {
      const late = AbortSignal.timeout(20_000);
      for (;;) {
        const found = atMs.get(key);
        if (found !== undefined) return found;
        if (late.aborted) throw new Error(`${resource}: nothing of ${key} within 20 s`);
        await Promise.race([changed.promise, delay(20_000, undefined, { signal: late }).catch(() => {})]);
      }
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}
