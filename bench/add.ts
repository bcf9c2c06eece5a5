// `npm run bench -- [--json FILE]`: what an ADD and a DEL cost on one lab node, through the shim as a runtime calls it.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createLabClient } from "../lab/api/index.ts";
import type { LabHandle } from "../lab/launch.ts";
import { type Flight, formatWaterfall, readFlights } from "../lab/scenarios/waterfall.ts";
import { positive, readFlags } from "../scripts/options.ts";
import { launchProductLab } from "../scripts/product-lab.ts";
import { machineLine, percentiles, round } from "./report.ts";

interface Timed {
  readonly ms: number;
  readonly error?: string;
}
interface Measured {
  readonly adds: readonly Timed[];
  readonly dels: readonly Timed[];
  readonly forksPerCall: number;
  readonly burst?: { readonly totalMs: number; readonly adds: readonly Timed[] };
}

const flags = readFlags("npm run bench -- [flags]: what an ADD and a DEL cost on one lab node.", {
  json: { type: "string", help: "write the figures to this file" },
  pairs: { type: "string", help: "ADDs and DELs in turn (200)" },
  burst: { type: "string", help: "ADDs at once (50)" },
});
const pairs = positive("pairs", flags.pairs, 200);
const burst = positive("burst", flags.burst, 50);
const node = "node1";
const runner = fileURLToPath(new URL("runner.ts", import.meta.url));

await using lab = await launchProductLab({ nodes: 1, bridges: true, logLevel: "warn" });
await prepare(lab);
const idleRssMb = await agentRssMb(lab);
await lab.hold({ node, program: "kubelet", held: true });
const plan = {
  nodeName: node,
  pairs,
  burst,
  apiUrl: "http://10.222.0.1:6443",
  annotations: {
    "ipam.spidernet.io/ippool": '{"ipv4":["bench"]}',
    "v1.multus-cni.io/default-network": "kube-system/bench",
  },
};
const measured: Measured = JSON.parse(await lab.run({ node, argv: [process.execPath, runner, JSON.stringify(plan)] }));
const flights = (await readFlights(lab, node)).filter(({ verb, error }) => verb === "ADD" && error === undefined);
const sequential = flights.slice(10, 10 + pairs);
const figures = figuresOf(measured, sequential, { idleRssMb, busyRssMb: await agentRssMb(lab) });
console.log(machineLine());
console.log(`ADD  ${line(figures.add)}   (${pairs}, in turn with DELs)`);
console.log(`DEL  ${line(figures.del)}`);
console.log(`${burst} ADDs at once: ${figures.burst50.totalMs} ms, ${figures.burst50.failed} failed`);
console.log(
  `agent: ${figures.idleRssMb} MB idle, ${figures.busyRssMb} MB after the burst; processes started per call: ${figures.execsPerAdd}`,
);
console.log(
  `awaited API writes per ADD: ${figures.apiWritesPerAdd}; spans cover ${round(figures.coveredShare * 100, 1)} % of the time\n`,
);
for (const text of formatWaterfall(sequential)) console.log(text);
if (figures.errors.length > 0) console.log(`\nerrors:\n${figures.errors.slice(0, 5).join("\n")}`);
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ machine: machineLine(), ...figures }, undefined, 2)}\n`);
await lab.stop();
process.exit(0);

/** A pool and a network large enough for every Pod at once; resolves when the agent knows both. */
async function prepare({ url }: LabHandle): Promise<void> {
  const client = createLabClient({ baseUrl: url });
  await client.create("spiderpool.spidernet.io/v2beta1/spiderippools", {
    apiVersion: "spiderpool.spidernet.io/v2beta1",
    kind: "SpiderIPPool",
    metadata: { name: "bench" },
    spec: { subnet: "172.18.0.0/16", ips: ["172.18.100.1-172.18.103.254"], gateway: "172.18.0.1" },
  });
  await client.create("spiderpool.spidernet.io/v2beta1/spidermultusconfigs", {
    apiVersion: "spiderpool.spidernet.io/v2beta1",
    kind: "SpiderMultusConfig",
    metadata: { name: "bench", namespace: "kube-system" },
    spec: { cniType: "ovs", ovs: { bridge: "br1" } },
  });
  const rendered = new AbortController();
  const { done } = client.watch(
    "k8s.cni.cncf.io/v1/network-attachment-definitions",
    { namespace: "kube-system", signal: AbortSignal.any([rendered.signal, AbortSignal.timeout(20_000)]) },
    ({ object }) => {
      if (object.metadata.name === "bench") rendered.abort();
    },
  );
  await done.catch(() => {});
  if (!rendered.signal.aborted) throw new Error("the network of the bench was not rendered within 20 s");
}

/** Resident memory of the node's agent, from its own /proc. */
async function agentRssMb({ run }: LabHandle): Promise<number> {
  const script = "for p in /proc/[0-9]*; do grep -q agent.mjs $p/cmdline 2>/dev/null && grep VmRSS $p/status; done";
  const sizes = [...(await run({ node, argv: ["sh", "-c", script] })).matchAll(/VmRSS:\s+(\d+)/g)];
  return round(Math.max(0, ...sizes.map(([, kb]) => Number(kb))) / 1024, 1);
}

function figuresOf(
  { adds, dels, burst, forksPerCall }: Measured,
  flown: readonly Flight[],
  rss: { idleRssMb: number; busyRssMb: number },
) {
  const good = adds.filter(({ error }) => error === undefined);
  const claims = flown.map(({ spans }) => spans.filter(({ stage }) => stage === "claim").length);
  const stages = [...new Set(flown.flatMap(({ spans }) => spans.map(({ stage }) => stage)))].map((stage) => {
    const own = flown.flatMap(({ spans }) =>
      spans.filter((span) => span.stage === stage).map(({ startMs, endMs }) => endMs - startMs),
    );
    return [stage, percentiles(own)] as const;
  });
  return {
    add: percentiles(good.map(({ ms }) => ms)),
    del: percentiles(dels.map(({ ms }) => ms)),
    burst50: {
      totalMs: round(burst?.totalMs ?? 0),
      failed: burst?.adds.filter(({ error }) => error !== undefined).length ?? 0,
    },
    ...rss,
    execsPerAdd: round(forksPerCall),
    apiWritesPerAdd: round(claims.reduce((sum, count) => sum + count, 0) / Math.max(1, claims.length)),
    coveredShare: round(
      flown.reduce((sum, flight) => sum + coveredMs(flight), 0) / flown.reduce((sum, { totalMs }) => sum + totalMs, 0),
      4,
    ),
    stages: Object.fromEntries(stages),
    errors: [...adds, ...(burst?.adds ?? [])].flatMap(({ error }) => error ?? []),
  };
}

/** How much of a call's time some stage accounts for. */
function coveredMs({ spans }: Flight): number {
  let covered = 0;
  let untilMs = 0;
  for (const { startMs, endMs } of spans.toSorted((a, b) => a.startMs - b.startMs)) {
    covered += Math.max(0, endMs - Math.max(startMs, untilMs));
    untilMs = Math.max(untilMs, endMs);
  }
  return covered;
}

function line(p: { p50Ms: number; p90Ms: number; p99Ms: number; maxMs: number }): string {
  return `p50 ${p.p50Ms} ms   p90 ${p.p90Ms} ms   p99 ${p.p99Ms} ms   max ${p.maxMs} ms`;
}
