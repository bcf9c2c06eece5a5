// Runs on a lab's node, as a container runtime would: makes namespaces, calls the shim, and times each call from its start
// to its end. Reads a Plan as JSON on stdin and prints an Outcome. Started by bench/node.ts.
import { mkdtempSync, rmSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { createLabClient } from "../lab/api/index.ts";
import { CniRuntime, type Sandbox } from "../lab/node/index.ts";
import { monotonicMs } from "./monotonic.ts";
import { newSandbox, Pods } from "./pods.ts";
import { forks, Processes } from "./processes.ts";
import { execute, executeBeside } from "./spawn.ts";
import type { Outcome, Plan, Task, Timed } from "./tasks.ts";

const { nodeName, apiUrl, annotations, warmUp, task }: Plan = JSON.parse(await text(process.stdin));
const benchPods = new Pods(createLabClient({ baseUrl: apiUrl }), { nodeName, annotations });
/** Executed as cheaply as a runtime does it: all at once in a burst, else one after the other. */
const folder = mkdtempSync("/run/bench-");
const concurrent = new CniRuntime({
  execute: ([path = ""], { input = "", env = {} } = {}) => executeBeside(path, input, env, folder),
});
const inTurn = new CniRuntime({
  execute: async ([path = ""], { input = "", env = {} } = {}) => execute(path, input, env, folder),
});

interface Added extends Timed {
  readonly ips: readonly string[];
}

async function add(runtime: CniRuntime, sandbox: Sandbox): Promise<Added> {
  const startMs = performance.now();
  try {
    const { calls, ips } = await runtime.add(sandbox);
    return { ms: calls.reduce((sum, call) => sum + call.durationMs, 0), ips };
  } catch (error) {
    return { ms: performance.now() - startMs, error: messageOf(error), ips: [] };
  }
}

async function del(runtime: CniRuntime, sandbox: Sandbox): Promise<Timed> {
  const startMs = performance.now();
  try {
    const calls = await runtime.del(sandbox);
    return { ms: calls.reduce((sum, call) => sum + call.durationMs, 0) };
  } catch (error) {
    return { ms: performance.now() - startMs, error: messageOf(error) };
  }
}

/** Ends a Pod: requests its deletion, takes its sandbox down, and removes the object. */
async function remove(runtime: CniRuntime, sandbox: Sandbox): Promise<Timed> {
  await benchPods.requestDeletion(sandbox);
  const timed = await del(runtime, sandbox);
  await benchPods.forget(sandbox);
  return timed;
}

type Part = Partial<Pick<Outcome, "adds" | "dels" | "sandboxes" | "ips">>;

/** What is measured of a task; what has to be there before is made by `prepare`, what must go after by `cleanUp`. */
interface Work {
  readonly measured: () => Promise<Part>;
  readonly cleanUp?: () => Promise<unknown>;
}

async function prepare(of: Task): Promise<Work> {
  switch (of.kind) {
    case "pairs":
      return { measured: () => pairs(of.count, of.restMs) };
    case "these": {
      const sandboxes = of.pods.map(newSandbox);
      return {
        measured: async () => {
          const adds: Timed[] = [];
          for (const sandbox of sandboxes) adds.push(await add(inTurn, sandbox));
          return { adds };
        },
        cleanUp: () => Promise.all(sandboxes.map((sandbox) => del(concurrent, sandbox))),
      };
    }
    case "add": {
      const sandboxes = await benchPods.makeMany(of.count);
      return {
        measured: async () => {
          const adds = await Promise.all(sandboxes.map((sandbox) => add(concurrent, sandbox)));
          return { adds, sandboxes, ips: adds.flatMap(({ ips }) => ips) };
        },
      };
    }
    case "del":
      for (const sandbox of of.sandboxes) await benchPods.requestDeletion(sandbox);
      return {
        measured: async () => ({ dels: await Promise.all(of.sandboxes.map((one) => del(concurrent, one))) }),
        cleanUp: () => Promise.all(of.sandboxes.map((one) => benchPods.forget(one))),
      };
    case "restart": {
      const pairsOf = of.sandboxes.map((old) => ({ old: { ...old, netns: "" }, now: newSandbox(old.pod) }));
      return {
        measured: async () => {
          const both = await Promise.all(
            pairsOf.map(async ({ old, now }) => ({ del: await del(concurrent, old), add: await add(concurrent, now) })),
          );
          const adds = both.map((one) => one.add);
          return {
            adds,
            dels: both.map((one) => one.del),
            sandboxes: pairsOf.map(({ now }) => now),
            ips: adds.flatMap(({ ips }) => ips),
          };
        },
      };
    }
    case "fairness": {
      const [other, ...many] = [await benchPods.make("fair"), ...(await benchPods.makeMany(of.count))];
      const all = [...many, other];
      return {
        // The last one is the other namespace's: it is executed when all the others are.
        measured: async () => ({ adds: await Promise.all(all.map((sandbox) => add(concurrent, sandbox))) }),
        cleanUp: () => Promise.all(all.map((sandbox) => remove(concurrent, sandbox))),
      };
    }
    case "sustained":
      return { measured: () => sustained(of.count, of.width) };
  }
}

async function pairs(count: number, restMs = 0): Promise<Part> {
  const adds: Timed[] = [];
  const dels: Timed[] = [];
  for (let pair = 0; pair < count; pair++) {
    const sandbox = await benchPods.make();
    if (restMs > 0) await delay(restMs);
    adds.push(await add(inTurn, sandbox));
    dels.push(await remove(inTurn, sandbox));
  }
  return { adds, dels };
}

async function sustained(count: number, width: number): Promise<Part> {
  const adds: Timed[] = [];
  const dels: Timed[] = [];
  let left = count;
  const worker = async () => {
    while (left-- > 0) {
      const sandbox = await benchPods.make();
      adds.push(await add(concurrent, sandbox));
      dels.push(await remove(concurrent, sandbox));
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return { adds, dels };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

await pairs(warmUp);
const work = await prepare(task);
const processes = new Processes();
processes.resetPeak();
const before = processes.cpu();
const forksBefore = forks();
const startMs = monotonicMs();
const { adds = [], dels = [], sandboxes = [], ips = [] } = await work.measured();
const endMs = monotonicMs();
const after = processes.cpu();
const outcome: Outcome = {
  adds,
  dels,
  sandboxes,
  ips,
  startMs,
  endMs,
  totalMs: endMs - startMs,
  cpu: {
    agentMs: after.agentMs - before.agentMs,
    shimsMs: after.shimsMs - before.shimsMs,
    switchMs: after.switchMs - before.switchMs,
  },
  peakRssMb: processes.peakRssMb(),
  forksPerCall: (forks() - forksBefore) / Math.max(1, adds.length + dels.length),
};
await work.cleanUp?.();
rmSync(folder, { recursive: true });
console.log(JSON.stringify(outcome));
process.exit(0);
