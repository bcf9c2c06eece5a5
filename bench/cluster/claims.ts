// Runs beside kube-apiserver and etcd: puts a large cluster's objects into etcd and starts a controller among them. Reads a
// ClaimsPlan as JSON on stdin and prints a ClaimsOutcome. Started by bench/cluster/server.ts.
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { spiderIPAddresses, spiderIPPools } from "#api";
import { systemClock } from "#base";
import { ApiStatusError, createTransport, KubeClient, loadKubeConfig, pods } from "#kube";
import { etcdUrl } from "../../test/cluster/control-plane.ts";
import { cpuMsOfProgram, rssMbOfProgram } from "../processes.ts";
import { round } from "../report.ts";
import { startController } from "./controller.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import { claimAt, type LargeCluster, nodeAt, nodeCount, podAt, poolAt, poolSize } from "./large.ts";
import type { Surroundings } from "./server.ts";

export interface ClaimsPlan extends LargeCluster {
  /** The controller is at rest so long after it is ready. */
  readonly restMs: number;
}

export interface ClaimsOutcome {
  readonly fillSeconds: number;
  readonly readySeconds: number;
  readonly cpuSeconds: number;
  readonly rssMb: number;
  readonly peakRssMb: number;
  /** The time from the controller's start until it is at rest. */
  readonly server: { readonly cpuSeconds: number; readonly rssMb: number };
}

/** How many puts a transaction has: etcd's limit. */
const putsAtOnce = 128;
const connections = 8;

const plan: ClaimsPlan & Surroundings = JSON.parse(await text(process.stdin));
const kubeconfig = kubeconfigOf(plan);
using transport = createTransport(loadKubeConfig({ kubeconfig }), { clock: systemClock });
const client = new KubeClient({ transport, clock: systemClock });
const stop = new AbortController();

// Of our kinds the server keeps nothing in memory before somebody asks for them: a start among 300,000 objects that it has still
// to read from etcd, as after its own start, would measure that.
for (const resource of [spiderIPAddresses, spiderIPPools]) await isCached(resource);
const startMs = performance.now();
const left = inBatches(objects());
await Promise.all(Array.from({ length: connections }, putAll));
await isKnown(spiderIPAddresses, claimAt(plan.claims - 1));
if (plan.pods > 0) await isKnown(pods, podAt(plan.pods - 1));
const fillSeconds = (performance.now() - startMs) / 1_000;
await isAtRest();
const before = cpuMsOfProgram("kube-apiserver");
await using controller = await startController(plan.controller, kubeconfig);
await delay(plan.restMs);
const outcome: ClaimsOutcome = {
  fillSeconds,
  readySeconds: controller.readySeconds,
  ...controller.usage(),
  server: {
    cpuSeconds: round((cpuMsOfProgram("kube-apiserver") - before) / 1_000),
    rssMb: round(rssMbOfProgram("kube-apiserver"), 0),
  },
};
await controller[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));

/** Every object with its key in etcd. Claims come last but for the Pods: those who hold them are not missed meanwhile. */
function* objects(): Generator<readonly [string, object]> {
  const ours = "/registry/spiderpool.spidernet.io";
  for (let at = 0; at < nodeCount; at++) yield [`/registry/minions/${nodeAt(at).metadata.name}`, nodeAt(at)];
  for (let at = 0; at < Math.ceil(plan.claims / poolSize); at++) {
    yield [`${ours}/spiderippools/${poolAt(at).metadata.name}`, poolAt(at)];
  }
  for (let at = 0; at < plan.pods; at++) {
    const pod = podAt(at);
    yield [`/registry/pods/${pod.metadata.namespace}/${pod.metadata.name}`, pod];
  }
  for (let at = 0; at < plan.claims; at++) {
    const claim = claimAt(at);
    yield [`${ours}/spideripaddresses/${claim.metadata.name}`, claim];
  }
}

function* inBatches(all: Iterable<readonly [string, object]>): Generator<readonly (readonly [string, object])[]> {
  let batch: (readonly [string, object])[] = [];
  for (const one of all) {
    batch.push(one);
    if (batch.length < putsAtOnce) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function putAll(): Promise<void> {
  const encoded = (value: string) => Buffer.from(value).toString("base64");
  for (const batch of left) {
    const success = batch.map(([key, object]) => ({
      requestPut: { key: encoded(key), value: encoded(JSON.stringify(object)) },
    }));
    const answer = await fetch(`${etcdUrl}/v3/kv/txn`, { method: "POST", body: JSON.stringify({ success }) });
    const said = await answer.text();
    if (!answer.ok) throw new Error(`etcd took no ${batch[0]?.[0]}: ${answer.status} ${said}`);
  }
}

/** Resolves when the API server serves the kind from its watch cache. */
async function isCached(resource: Parameters<KubeClient["get"]>[0]): Promise<void> {
  for (;;) {
    try {
      for await (const _event of client.watch(resource, {
        resourceVersion: "0",
        timeoutSeconds: 1,
        signal: stop.signal,
      }));
      return;
    } catch (error) {
      // 429 while the cache is being filled from etcd.
      if (!(error instanceof ApiStatusError) || error.status !== 429) throw error;
      await delay(200);
    }
  }
}

/** Resolves when the API server was idle for a second, or after two minutes. */
async function isAtRest(): Promise<void> {
  for (let second = 0; second < 120; second++) {
    const beforeMs = cpuMsOfProgram("kube-apiserver");
    await delay(1_000);
    if (cpuMsOfProgram("kube-apiserver") - beforeMs < 100) return;
  }
}

/** Resolves when the object is in the API server's watch cache. */
async function isKnown(
  resource: Parameters<KubeClient["get"]>[0],
  { metadata }: ReturnType<typeof podAt>,
): Promise<void> {
  while ((await client.get(resource, metadata, { signal: stop.signal, resourceVersion: "0" })) === undefined)
    await delay(200);
}
