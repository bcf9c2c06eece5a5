// Runs beside an API server: many agents fill a pool at once. Reads a FillPlan as JSON on stdin and prints FillOutcomes.
// Started by bench/cluster/server.ts.
import { text } from "node:stream/consumers";
import { spiderIPAddresses, spiderIPPools, spiderPoolUsages } from "#api";
import { formatError, silentLogger, systemClock } from "#base";
import { parseIp } from "#ip";
import { createTransport, KubeClient, type KubeObject, loadKubeConfig, type Resource, WatchedStore } from "#kube";
import type { ClaimDraft } from "#ledger";
import { fractionsFrom } from "../../src/base/testing/random.ts";
import { createsAtOnce } from "../../src/ledger/node/turns.ts";
import { Access } from "./access.ts";
import { SimulatedAgent, type Writes } from "./agent.ts";
import { startController } from "./controller.ts";
import { CpuMeter } from "./cpu.ts";
import { kindWithoutSchema } from "./kinds.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import { newDraft } from "./new-pods.ts";
import type { Surroundings } from "./server.ts";

export interface FillPlan {
  readonly pods: number;
  /** One after the other. */
  readonly fillings: readonly Filling[];
}

/**
 * Who fills a pool. `new`: agents that never drew from it, whose watches of its usage and further connections open meanwhile.
 * `serving`: agents of which each has a Pod on an address of the pool, beside those that are filled, and got it a moment before.
 */
export interface Filling {
  readonly agents: number;
  readonly state: "new" | "serving";
}

/**
 * What the server checks of a bare create: all that it does of an agent's claim; the same but for the chart's admission policies;
 * nothing of ours, as of a kind without a schema.
 */
export type Checked = "all" | "no policies" | "nothing";

/** The same creates, and nothing else: who creates what is settled beforehand, nobody chooses, watches or keeps anything. */
interface BareOutcome {
  readonly agents: number;
  readonly checked: Checked;
  readonly perSecond: number;
  readonly serverCpuMs: number;
}

/** One filling: `pods` Pods on as many addresses, all at once, each on a random agent. */
interface FillOutcome extends Filling {
  readonly failed: number;
  /** The first failure. */
  readonly failure?: string;
  /** Addresses that two Pods got. */
  readonly twice: number;
  readonly writesPerPod: number;
  readonly perSecond: number;
  /** CPU time of the API server and etcd, of the controller, and of all agents, for each Pod. */
  readonly serverCpuMs: number;
  readonly controllerCpuMs: number;
  readonly agentsCpuMs: number;
}

export interface FillOutcomes {
  readonly filled: readonly FillOutcome[];
  readonly bare: readonly BareOutcome[];
}

const warmUpAgents = 10;
/** So many agents get their first Pod at the same time. */
const fewAtOnce = 8;
/** More creates at a time would wait in the server's queue until it refuses them. */
const barelyAtOnce = 64;

const plan: FillPlan & Surroundings = JSON.parse(await text(process.stdin));
const { controller, folder, pods, fillings } = plan;
if (pods % 250 !== 0) throw new RangeError(`Pods are counted in steps of 250, not ${pods}`);
const clock = systemClock;
const kubeconfig = kubeconfigOf(plan);
const config = loadKubeConfig({ kubeconfig });
await using _controller = await startController(controller, kubeconfig);
using transport = createTransport(config, { clock });
const client = new KubeClient({ transport, clock });
const access = await Access.create(plan.server, client, config);
const stop = new AbortController();
const usages = new WatchedStore({ client, clock, log: silentLogger, resource: spiderPoolUsages });
const watching = usages.run(stop);

// The lab's server checks little, and takes no kinds while it runs.
const bareKinds: Partial<Record<Checked, Resource<KubeObject>>> = {
  all: spiderIPAddresses,
  "no policies": spiderIPAddresses,
  ...(plan.server === "real" && { nothing: await kindWithoutSchema(client) }),
};
const filled: FillOutcome[] = [];
const bare: BareOutcome[] = [];
// Only warms everybody up, who is otherwise slowest in the first filling.
await fill(fillings.length, { agents: warmUpAgents, state: "new" });
for (const [at, filling] of fillings.entries()) {
  filled.push(await fill(at, filling));
  if (filling.state !== "new") continue;
  for (const checked of Object.keys(bareKinds) as Checked[]) bare.push(await createBarely(at, filling.agents, checked));
}
const outcomes: FillOutcomes = { filled, bare };
stop.abort();
await watching;
await _controller[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));

async function fill(at: number, { agents: count, state }: Filling): Promise<FillOutcome> {
  const pool = `fill-${at}`;
  const base = `10.${at + 1}`;
  const served = state === "serving" ? count : 0;
  const ranges = Array.from({ length: pods / 250 }, (_, part) => `${base}.${part}.1-${base}.${part}.250`);
  if (served > 0) ranges.push(`${base}.250.1-${base}.250.${served}`);
  await client.create(
    spiderIPPools,
    { metadata: { name: pool }, spec: { ipVersion: 4, subnet: `${base}.0.0/16`, ips: ranges } },
    stop,
  );
  await usages.waitFor(pool, (usage) => usage?.spec.free === pods + served, stop);
  const writes: Writes = { creates: 0 };
  await using stack = new AsyncDisposableStack();
  const agents: SimulatedAgent[] = [];
  for (const node of nodesOf(at, count)) {
    const connection = await access.connect("spiderpool-agent", node);
    agents.push(stack.use(new SimulatedAgent(node, connection, folder, writes)));
  }
  await Promise.all(agents.map((agent) => agent.ready()));
  if (served > 0) {
    for (let from = 0; from < count; from += fewAtOnce)
      await Promise.all(agents.slice(from, from + fewAtOnce).map((agent) => agent.claim(pool)));
    await usages.waitFor(pool, (usage) => usage?.spec.free === pods && usage.spec.nodes?.length === count, stop);
    writes.creates = 0;
  }
  const random = fractionsFrom(at + 1);
  const chosen = Array.from({ length: pods }, () => agents[Math.floor(random() * count)] as SimulatedAgent);
  const cpu = new CpuMeter(plan.server);
  const startMs = performance.now();
  const settled = await Promise.allSettled(chosen.map((agent) => agent.claim(pool)));
  const seconds = (performance.now() - startMs) / 1_000;
  const { server, etcd, controller: views, agents: own } = cpu.lap();
  const got = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value.name] : []));
  const failures = settled.flatMap((one) => (one.status === "rejected" ? [formatError(one.reason)] : []));
  const { creates } = writes;
  await Promise.all(agents.map((agent) => agent.release()));
  return {
    ...{ agents: count, state },
    failed: failures.length,
    ...(failures[0] !== undefined && { failure: failures[0] }),
    twice: got.length - new Set(got).size,
    writesPerPod: creates / pods,
    perSecond: got.length / seconds,
    serverCpuMs: ((server + etcd) * 1_000) / pods,
    controllerCpuMs: (views * 1_000) / pods,
    agentsCpuMs: (own * 1_000) / pods,
  };
}

/** As many clients as agents, with as many creates at a time as an agent makes at most. */
async function createBarely(at: number, count: number, checked: Checked): Promise<BareOutcome> {
  const resource = bareKinds[checked] ?? spiderIPAddresses;
  const account = checked === "all" ? "spiderpool-agent" : "bench-admin";
  using stack = new DisposableStack();
  const nodes = nodesOf(at, count);
  const drafts = Array.from({ length: pods }, (_, pod) => bareDraft(at, pod, nodes[pod % count] ?? ""));
  const left = Array.from({ length: count }, (_, rank) =>
    drafts.filter((_draft, pod) => pod % count === rank).values(),
  );
  const clients: KubeClient[] = [];
  for (const node of nodes) {
    const transport = stack.use(await access.connect(account, node));
    clients.push(new KubeClient({ transport, clock }));
  }
  // The connections stand before it begins.
  await Promise.all(clients.map((of) => of.get(resource, { name: "none" }, stop)));
  const cpu = new CpuMeter(plan.server);
  const startMs = performance.now();
  const worker = async (rank: number) => {
    for (const draft of left[rank] ?? []) await clients[rank]?.create(resource, draft, stop);
  };
  const atOnce = Math.min(createsAtOnce.slots, Math.ceil(barelyAtOnce / count));
  const workers = clients.flatMap((_, rank) => Array.from({ length: atOnce }, () => worker(rank)));
  await Promise.all(workers);
  const seconds = (performance.now() - startMs) / 1_000;
  const { server, etcd } = cpu.lap();
  const remove = async (from: Iterable<(typeof drafts)[number]>) => {
    for (const { metadata } of from) await client.delete(resource, { name: metadata.name }, stop);
  };
  const all = drafts.values();
  await Promise.all(Array.from({ length: 32 }, () => remove(all)));
  return { agents: count, checked, perSecond: pods / seconds, serverCpuMs: ((server + etcd) * 1_000) / pods };
}

function nodesOf(filling: number, count: number): readonly string[] {
  return Array.from({ length: count }, (_, rank) => `node-${filling}-${rank}`);
}

function bareDraft(at: number, pod: number, node: string): ClaimDraft {
  const ip = parseIp(`10.${at + 1}.${128 + (pod >> 8)}.${pod & 255}`);
  return newDraft(ip, { pool: `fill-${at}`, node });
}
