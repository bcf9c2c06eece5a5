// Runs on a lab's node: what a CNI call costs there without any product. The same processes, requests, rows and links, each by
// the shortest way: a program that does nothing, one warm connection to the API server, the database's protocol, netlink.
// Reads a FloorPlan as JSON on stdin and prints a FloorOutcome. Started by bench/node.ts.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { createLabClient } from "../../lab/api/index.ts";
import { monotonicMs } from "../monotonic.ts";
import { Pods } from "../pods.ts";
import { Processes } from "../processes.ts";
import { execute } from "../spawn.ts";
import type { FloorBurst, FloorOutcome, FloorPlan, FloorTurns } from "../tasks.ts";
import { BareApi } from "./bare-api.ts";
import { BareSwitch } from "./bare-switch.ts";
import { batched } from "./batched.ts";
import { FloorPod, type Network } from "./pod.ts";

const { nodeName, apiUrl, task }: FloorPlan = JSON.parse(await text(process.stdin));
const folder = mkdtempSync("/run/bench-floor-");
const program = join(folder, "nothing");
execFileSync("gcc", ["-static", "-O2", "-x", "c", "-o", program, "-"], { input: "int main(void) { return 0; }" });
/** About as long as a network's configuration. */
const input = "x".repeat(600);
const warmUp = 5;

const pods = new Pods(createLabClient({ baseUrl: apiUrl }), { nodeName, annotations: {} });
const api = await BareApi.connect(apiUrl);
const ovs = await BareSwitch.connect("/run/openvswitch/db.sock", "br1");
const processes = new Processes();
/** Work that goes on after an answer. */
const beside: Promise<void>[] = [];

/** A way to make the links of some Pods. Returns the rows of their ports. */
type Attach = (all: readonly FloorPod[]) => Promise<readonly unknown[]>;

/** Writes the row, and makes the links while the database and vswitchd work on it. */
const linksAtOnce: Attach = async (all) => {
  const inserted = ovs.insert(all.map(({ port }) => port));
  FloorPod.link(all, "ovs");
  return await inserted;
};
/** The links are made when the database has the row: a vswitchd with many ports finds them in the round that it makes then. */
const rowFirst: Attach = async (all) => {
  const rows = await ovs.insert(all.map(({ port }) => port));
  FloorPod.link(all, "ovs");
  return rows;
};
const macvlan: Attach = async (all) => {
  FloorPod.link(all, "macvlan");
  return [];
};

interface Added {
  readonly pod: FloorPod;
  readonly row: unknown;
  /** When each part was done, after the begin. */
  readonly partsMs: Readonly<Record<string, number>>;
}

/** All that an ADD does after its process has started: create, row and links at the same time, then the address. */
async function add(pod: FloorPod, network: Network, attach: (pod: FloorPod) => Promise<unknown>): Promise<Added> {
  const startMs = performance.now();
  const partsMs: Record<string, number> = {};
  const done = (part: string) => {
    partsMs[part] = performance.now() - startMs;
  };
  const created = api.create(pod.name).then(() => done("create"));
  const forwards = network === "ovs" ? ovs.forwards(pod.port) : undefined;
  const attached = attach(pod);
  const linked = pod.linked.promise.then(() => done("links"));
  await Promise.all([created, linked]);
  pod.configure();
  done("addresses");
  const [row] = await Promise.all([attached, forwards]);
  return { pod, row, partsMs };
}

async function del({ pod, row }: Added, network: Network, detach: (row: unknown) => Promise<unknown>): Promise<void> {
  const detached = network === "ovs" ? detach(row) : undefined;
  beside.push(pod.remove(network));
  await Promise.all([detached, api.delete(pod.name)]);
}

async function timed(act: () => unknown): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}

/** ADD and DEL in turn. With Open vSwitch, both orders of row and links take turns, too. */
async function turns(network: Network, count: number, restMs: number): Promise<readonly FloorTurns[]> {
  const orders = network === "macvlan" ? { macvlan } : { linksAtOnce, rowFirst };
  const all = Object.entries(orders).map(([order, attach]) => {
    const [adds, dels, parts]: [number[], number[], Record<string, number>[]] = [[], [], []];
    return { attach, turns: { order, adds, dels, parts } };
  });
  for (let round = -warmUp; round < count; round++) {
    for (const { attach, turns } of all) {
      const sandbox = await pods.make();
      if (restMs > 0) await delay(restMs);
      const pod = new FloorPod(sandbox);
      let added: Added | undefined;
      const process = await timed(() => execute(program, input, {}, folder));
      const rest = await timed(async () => {
        added = await add(pod, network, async (one) => (await attach([one]))[0]);
      });
      await pods.requestDeletion(sandbox);
      const gone = await timed(async () => {
        execute(program, input, {}, folder);
        if (added !== undefined) await del(added, network, (row) => ovs.remove([row]));
      });
      await pods.forget(sandbox);
      if (round < 0) continue;
      turns.parts.push({ process, ...added?.partsMs });
      turns.adds.push(process + rest);
      turns.dels.push(gone);
    }
  }
  return all.map((one) => one.turns);
}

/** ADDs at once, then DELs at once; `together`: rows and links of all in one round, when all processes have started. */
async function burst(count: number, together: boolean): Promise<FloorBurst> {
  const least = together ? count : 1;
  const sandboxes = await pods.makeMany(count);
  const floorPods = sandboxes.map((sandbox) => new FloorPod(sandbox));
  const attach = batched(linksAtOnce, least);
  const added: Added[] = [];
  const up = await measured(async () => {
    await spawned(count, async (at) => {
      added.push(await add(floorPods[at] as FloorPod, "ovs", attach));
    });
  });
  for (const sandbox of sandboxes) await pods.requestDeletion(sandbox);
  const detach = batched(async (rows: readonly unknown[]) => {
    await ovs.remove(rows);
    return rows;
  }, least);
  const down = await measured(() => spawned(count, (at) => del(added[at] as Added, "ovs", detach)));
  await Promise.all(beside.splice(0));
  for (const sandbox of sandboxes) await pods.forget(sandbox);
  return { together, adds: up, dels: down };
}

const spawner = new Worker(new URL("spawner.ts", import.meta.url), { workerData: { program, folder } });

/** Starts some processes at once, and calls `then` after each of them. */
async function spawned(count: number, then: (at: number) => Promise<void>): Promise<void> {
  const all: Promise<void>[] = [];
  await new Promise<void>((resolve) => {
    spawner.on("message", (at: number) => {
      all.push(then(at));
      if (all.length === count) resolve();
    });
    spawner.postMessage({ count, input });
  });
  spawner.removeAllListeners("message");
  await Promise.all(all);
}

async function measured(act: () => Promise<void>): Promise<FloorBurst["adds"]> {
  const before = { ...processes.cpu(), own: process.cpuUsage() };
  const startMs = monotonicMs();
  await act();
  const endMs = monotonicMs();
  const after = processes.cpu();
  const own = process.cpuUsage(before.own);
  return {
    startMs,
    endMs,
    totalMs: endMs - startMs,
    switchMs: after.switchMs - before.switchMs,
    processesMs: after.shimsMs - before.shimsMs,
    loopMs: (own.user + own.system) / 1000,
  };
}

async function floor(): Promise<FloorOutcome> {
  if (task.kind === "turns") return { turns: await turns(task.network, task.count, task.restMs), bursts: [] };
  await turns("ovs", warmUp, 0);
  await spawned(warmUp, async () => {});
  return { turns: [], bursts: [await burst(task.count, false), await burst(task.count, true)] };
}

const outcome = await floor();
await Promise.all(beside);
rmSync(folder, { recursive: true });
console.log(JSON.stringify(outcome));
process.exit(0);
