// Runs on a lab's node, as a container runtime would: makes namespaces, calls the shim, and times each call from its start
// to its end. Prints one JSON document. Started by bench/add.ts.
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { createNetns, deleteNetns } from "#linux";
import { createLabClient } from "../lab/api/index.ts";
import { CniRuntime, type Sandbox } from "../lab/node/index.ts";
import { execute, executeBeside } from "./spawn.ts";

const [, , plan = "{}"] = process.argv;
const { nodeName, pairs, burst, apiUrl, annotations } = JSON.parse(plan) as {
  nodeName: string;
  pairs: number;
  burst: number;
  apiUrl: string;
  annotations: Record<string, string>;
};
const client = createLabClient({ baseUrl: apiUrl });
/** Executed as cheaply as a runtime does it: all at once in a burst, else one after the other. */
const folder = mkdtempSync("/run/bench-");
const concurrent = new CniRuntime({
  execute: ([path = ""], { input = "", env = {} } = {}) => executeBeside(path, input, env, folder),
});
const inTurn = new CniRuntime({
  execute: async ([path = ""], { input = "", env = {} } = {}) => execute(path, input, env, folder),
});

interface Timed {
  readonly ms: number;
  readonly error?: string;
}

/** A Pod that is bound to this node and never started: its kubelet is held. */
async function makePod(): Promise<Sandbox> {
  const name = `bench-${randomBytes(5).toString("hex")}`;
  const pod = await client.create("v1/pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", annotations },
    spec: { nodeName, containers: [{ name: "app", image: "none" }] },
  });
  const netns = `/var/run/netns/cni-${randomUUID()}`;
  createNetns(netns);
  return {
    containerId: randomBytes(32).toString("hex"),
    netns,
    pod: { namespace: "default", name, uid: pod.metadata.uid },
  };
}

async function add(runtime: CniRuntime, sandbox: Sandbox): Promise<Timed> {
  const startMs = performance.now();
  try {
    const { calls } = await runtime.add(sandbox);
    return { ms: calls.reduce((sum, call) => sum + call.durationMs, 0) };
  } catch (error) {
    return { ms: performance.now() - startMs, error: error instanceof Error ? error.message : String(error) };
  }
}

/** As at the end of a Pod: deletion is requested, its sandbox is taken down, the object goes. */
async function remove(runtime: CniRuntime, sandbox: Sandbox): Promise<Timed> {
  const { namespace, name } = sandbox.pod;
  await client.delete("v1/pods", { namespace, name }, { gracePeriodSeconds: 30 });
  const calls = await runtime.del(sandbox);
  const timed = { ms: calls.reduce((sum, call) => sum + call.durationMs, 0) };
  deleteNetns(sandbox.netns);
  await client.delete("v1/pods", { namespace, name }, { gracePeriodSeconds: 0 });
  return timed;
}

async function pairsOf(count: number): Promise<{ readonly adds: Timed[]; readonly dels: Timed[] }> {
  const adds: Timed[] = [];
  const dels: Timed[] = [];
  for (let pair = 0; pair < count; pair++) {
    const sandbox = await makePod();
    adds.push(await add(inTurn, sandbox));
    dels.push(await remove(inTurn, sandbox));
  }
  return { adds, dels };
}

async function burstOf(count: number): Promise<{ readonly totalMs: number; readonly adds: Timed[] }> {
  const sandboxes: Sandbox[] = [];
  for (let at = 0; at < count; at++) sandboxes.push(await makePod());
  const startMs = performance.now();
  const adds = await Promise.all(sandboxes.map((sandbox) => add(concurrent, sandbox)));
  const totalMs = performance.now() - startMs;
  await Promise.all(sandboxes.map((sandbox) => remove(concurrent, sandbox)));
  return { totalMs, adds };
}

/** Processes and threads started on this machine since its boot. */
function forks(): number {
  return Number(/^processes (\d+)/m.exec(readFileSync("/proc/stat", "utf8"))?.[1]);
}

await pairsOf(10); // warm-up
const forksBefore = forks();
const { adds, dels } = await pairsOf(pairs);
const forksPerCall = (forks() - forksBefore) / (adds.length + dels.length);
const bursts = burst > 0 ? await burstOf(burst) : undefined;
console.log(JSON.stringify({ adds, dels, forksPerCall, burst: bursts }));
process.exit(0);
