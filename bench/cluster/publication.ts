// Runs beside an API server: a thousand agents draw from some pools, and pools are edited under them. Reads a PublicationPlan as
// JSON on stdin and prints a PublicationOutcome. Started by bench/cluster/server.ts.
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { formatError, silentLogger, systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig, nodes, WatchedStore } from "#kube";
import { fractionsFrom } from "../../src/base/testing/random.ts";
import { percentiles } from "../report.ts";
import { Access } from "./access.ts";
import { SimulatedAgent } from "./agent.ts";
import { startController } from "./controller.ts";
import { CpuMeter, type CpuSeconds } from "./cpu.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import type { Surroundings } from "./server.ts";
import { observeViews, type ViewFigures } from "./views.ts";

export interface PublicationPlan {
  readonly agents: number;
  readonly pools: number;
  /** Pods that come, evenly in that time, each on a random agent and in a random pool. */
  readonly pods: number;
  readonly seconds: number;
  /** Edits of a pool's addresses, one after the other. */
  readonly edits: number;
}

export interface PublicationOutcome {
  readonly failed: number;
  /** The reasons, each one once. */
  readonly failures: readonly string[];
  /** The time from a Pod's arrival until it has its address. */
  readonly add: ReturnType<typeof percentiles>;
  /** CPU time, in seconds, while Pods came, and while pools were edited. */
  readonly cpuSeconds: { readonly draw: CpuSeconds; readonly edits: CpuSeconds };
  /** Writes of `status` and of usages: of all pools in the busiest second, and of one pool in its busiest second. */
  readonly status: ViewFigures["status"];
  readonly usage: ViewFigures["usage"];
  /** The time from the last allocation until every status counts all addresses. */
  readonly settledMs: number;
  /** The time from the answer to an edit until an agent knows it, over all edits and agents. */
  readonly edit: ReturnType<typeof percentiles>;
}

const plan: PublicationPlan & Surroundings = JSON.parse(await text(process.stdin));
const clock = systemClock;
const kubeconfig = kubeconfigOf(plan);
const config = loadKubeConfig({ kubeconfig });
using transport = createTransport(config, { clock });
const client = new KubeClient({ transport, clock });
const stop = new AbortController();
const names = Array.from({ length: plan.pools }, (_, at) => `shared-${at}`);
const nodeNames = Array.from({ length: plan.agents }, (_, at) => `node-${at}`);

await inBatches(nodeNames, 32, makeNode);
for (const [at, name] of names.entries()) await makePool(at, name);
await using _controller = await startController(plan.controller, kubeconfig);
const pools = new WatchedStore({ client, clock, log: silentLogger, resource: spiderIPPools });
const usages = new WatchedStore({ client, clock, log: silentLogger, resource: spiderPoolUsages });
const running = [pools.run(stop), usages.run(stop)];
await Promise.all(names.map((name) => usages.waitFor(name, (usage) => usage !== undefined, stop)));
const access = await Access.create(plan.server, client, config);
const agents: SimulatedAgent[] = [];
// As nodes come: a thousand handshakes at once would measure those.
await inBatches(nodeNames, 16, async (node) => {
  const agent = new SimulatedAgent(node, await access.connect("spiderpool-agent", node), plan.folder, { creates: 0 });
  agents.push(agent);
  await agent.ready();
});

const addMs: number[] = [];
const views = await observeViews(kubeconfig);
const cpu = new CpuMeter(plan.server);
const failures = await draw();
const settledMs = await settled();
const drawCpu = cpu.lap();
const figures = await views.figures();
const editMs: number[] = [];
for (let edit = 0; edit < plan.edits; edit++) editMs.push(...(await editPool(edit)));
const outcome: PublicationOutcome = {
  failed: failures.length,
  failures: [...new Set(failures)].slice(0, 5),
  ...figures,
  add: percentiles(addMs),
  settledMs,
  edit: percentiles(editMs),
  cpuSeconds: { draw: drawCpu, edits: cpu.lap() },
};
stop.abort();
await Promise.all([...running, ...agents.map((agent) => agent[Symbol.asyncDispose]())]);
await _controller[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));

async function makeNode(name: string): Promise<void> {
  await client.create(nodes, { metadata: { name } }, stop);
  const status = { conditions: [{ type: "Ready", status: "True" }] };
  await client.patch(
    nodes,
    { name },
    { kind: "merge", body: { status } },
    { signal: stop.signal, subresource: "status" },
  );
}

async function makePool(at: number, name: string): Promise<void> {
  const base = `10.${at + 1}`;
  await client.create(
    spiderIPPools,
    { metadata: { name }, spec: { ipVersion: 4, subnet: `${base}.0.0/16`, ips: [`${base}.0.1-${base}.3.250`] } },
    stop,
  );
}

/** Lets Pods arrive. Returns why some got no address. */
async function draw(): Promise<readonly string[]> {
  const random = fractionsFrom(1);
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
  const claims: Promise<unknown>[] = [];
  const misses: string[] = [];
  const startMs = performance.now();
  for (let pod = 0; pod < plan.pods; pod++) {
    const aheadMs = startMs + (pod / plan.pods) * plan.seconds * 1_000 - performance.now();
    if (aheadMs > 0) await delay(aheadMs);
    const claimMs = performance.now();
    claims.push(
      pick(agents)
        .claim(pick(names))
        .then(
          () => addMs.push(performance.now() - claimMs),
          // Without what differs from one to the next.
          (error: unknown) => misses.push(formatError(error).replace(/[0-9a-f]*\d[0-9a-f.:-]*/g, "…")),
        ),
    );
  }
  await Promise.all(claims);
  return misses;
}

/** Resolves with the time until the statuses of all pools together count every Pod. */
async function settled(): Promise<number> {
  const startMs = performance.now();
  const counted = () => pools.list().reduce((sum, { status }) => sum + Number(status?.allocatedIPCount ?? 0), 0);
  while (counted() < plan.pods - failures.length) {
    if (performance.now() - startMs > 60_000) throw new Error(`statuses count ${counted()} of ${plan.pods} after 60 s`);
    await delay(5);
  }
  return performance.now() - startMs;
}

/** Returns how long each agent took to learn of the edit. */
async function editPool(edit: number): Promise<readonly number[]> {
  const [name = ""] = names;
  const excludeIPs = [`10.1.3.${edit + 1}`];
  const { metadata } = await client.patch(
    spiderIPPools,
    { name },
    { kind: "merge", body: { spec: { excludeIPs } } },
    stop,
  );
  const startMs = performance.now();
  return Promise.all(
    agents.map(async (agent) => {
      for (;;) {
        const change = agent.pools.nextChange();
        const { pools: known } = await agent.pools.now(agent);
        if ((known.get(name)?.generation ?? 0) >= (metadata.generation ?? 0)) return performance.now() - startMs;
        await change;
      }
    }),
  );
}

async function inBatches<T>(items: readonly T[], width: number, act: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await act(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
