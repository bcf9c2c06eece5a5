// Runs beside an API server: many agents fill a pool at once. Reads a FillPlan as JSON on stdin and prints FillOutcomes.
// Started by bench/cluster/server.ts.
import { text } from "node:stream/consumers";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { formatError, silentLogger, systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig, WatchedStore } from "#kube";
import { fractionsFrom } from "../../src/base/testing/random.ts";
import { SimulatedAgent, type Writes } from "./agent.ts";
import { startController } from "./controller.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import type { Surroundings } from "./server.ts";

export interface FillPlan {
  readonly pods: number;
  /** How many agents fill a pool, one filling after the other. */
  readonly fillings: readonly number[];
}

/** One filling: `pods` Pods on as many addresses, all at once, each on a random agent. */
export interface FillOutcome {
  readonly agents: number;
  readonly failed: number;
  /** The first failure. */
  readonly failure?: string;
  /** Addresses that two Pods got. */
  readonly twice: number;
  readonly writesPerPod: number;
  readonly perSecond: number;
}

const plan: FillPlan & Surroundings = JSON.parse(await text(process.stdin));
const { controller, folder, pods, fillings } = plan;
if (pods % 250 !== 0) throw new RangeError(`Pods are counted in steps of 250, not ${pods}`);
const clock = systemClock;
const kubeconfig = kubeconfigOf(plan);
const config = loadKubeConfig({ kubeconfig });
await using _controller = await startController(controller, kubeconfig);
using transport = createTransport(config, { clock });
const client = new KubeClient({ transport, clock });
const stop = new AbortController();
const usages = new WatchedStore({ client, clock, log: silentLogger, resource: spiderPoolUsages });
const watching = usages.run(stop);

const outcomes: FillOutcome[] = [];
for (const [at, agents] of fillings.entries()) outcomes.push(await fill(at, agents));
stop.abort();
await watching;
await _controller[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));

async function fill(at: number, count: number): Promise<FillOutcome> {
  const pool = `fill-${at}`;
  const base = `10.${at + 1}`;
  const ranges = Array.from({ length: pods / 250 }, (_, part) => `${base}.${part}.1-${base}.${part}.250`);
  await client.create(
    spiderIPPools,
    { metadata: { name: pool }, spec: { ipVersion: 4, subnet: `${base}.0.0/16`, ips: ranges } },
    stop,
  );
  await usages.waitFor(pool, (usage) => usage?.spec.free === pods, stop);
  const writes: Writes = { creates: 0 };
  await using stack = new AsyncDisposableStack();
  const agents = Array.from({ length: count }, (_, rank) =>
    stack.use(new SimulatedAgent(`node-${at}-${rank}`, config, folder, writes)),
  );
  await Promise.all(agents.map((agent) => agent.ready()));
  const random = fractionsFrom(at + 1);
  const chosen = Array.from({ length: pods }, () => agents[Math.floor(random() * count)] as SimulatedAgent);
  const startMs = performance.now();
  const settled = await Promise.allSettled(chosen.map((agent) => agent.claim(pool)));
  const seconds = (performance.now() - startMs) / 1_000;
  const got = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value.name] : []));
  const failures = settled.flatMap((one) => (one.status === "rejected" ? [formatError(one.reason)] : []));
  const { creates } = writes;
  await Promise.all(agents.map((agent) => agent.release()));
  return {
    agents: count,
    failed: failures.length,
    ...(failures[0] !== undefined && { failure: failures[0] }),
    twice: got.length - new Set(got).size,
    writesPerPod: creates / pods,
    perSecond: got.length / seconds,
  };
}
