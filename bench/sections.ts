import { asOne, type Flight, formatWaterfall } from "../lab/scenarios/waterfall.ts";
import { type Compared, compareBurst, compareTurns } from "./floor/compare.ts";
import { createsByLayer, fillings, publication } from "./ipam.ts";
import type { BenchNode, Measured, RunOptions } from "./node.ts";
import { macvlanAnnotations, threeNicsAnnotations } from "./prepare.ts";
import { formatPercentiles, type Percentiles, percentiles, type Report, round } from "./report.ts";
import { claimsAtStart, claimsAtStartReal } from "./scale.ts";
import type { Timed } from "./tasks.ts";
import { waits } from "./waits.ts";

interface Section {
  readonly name: string;
  readonly what: string;
  readonly run: (bench: BenchNode) => Promise<Report>;
}

/** A section with a cluster of its own, beside which no node is to run. */
interface ClusterSection extends Omit<Section, "run"> {
  readonly run: () => Promise<Report>;
  /** Runs only where `--only` names it. */
  readonly onDemand?: true;
}

const servers = [
  { server: "lab", suffix: "", where: "the lab's API server" },
  { server: "real", suffix: "-real", where: "kube-apiserver and etcd" },
] as const;

/** Every section of a cluster, in the order in which they run. */
export const clusterSections: readonly ClusterSection[] = [
  ...servers.flatMap(({ server, suffix, where }) => [
    {
      name: `ipam${suffix}`,
      what: `1,000 Pods at once on 1,000 addresses from 1, 10 and 100 agents, with ${where}`,
      run: () => fillings(server),
    },
    {
      name: `views${suffix}`,
      what: `views of pools, and edits of them, with 1,000 agents and ${where}`,
      run: () => publication(server),
    },
  ]),
  {
    name: "creates-real",
    what: "objects of a claim's length, of which kube-apiserver has ever more to check",
    run: createsByLayer,
    onDemand: true,
  },
  {
    name: "claims",
    what: "the controller starts among 300,000 addresses of 150,000 Pods on 1,000 nodes",
    run: claimsAtStart,
  },
  {
    name: "claims-real",
    what: "the same with kube-apiserver and etcd, of which it takes several minutes and 6 GB",
    run: claimsAtStartReal,
    onDemand: true,
  },
];

/** Every section of a node, in the order in which they run: each begins and ends with no Pod on the node. */
export const nodeSections: readonly Section[] = [
  { name: "add", what: "200 ADDs and DELs in turn", run: addAndDel },
  {
    name: "macvlan",
    what: "200 ADDs and DELs in turn of Pods with one NIC of macvlan, and the coordinator",
    run: macvlan,
  },
  {
    name: "nics3",
    what: "200 ADDs and DELs in turn of Pods with three NICs: macvlan, Open vSwitch, macvlan",
    run: (bench) => pairsOf(bench, threeNicsAnnotations),
  },
  ...[50, 100, 250].map((count) => ({
    name: `burst${count}`,
    what: `${count} ADDs at once, all reached by ping and TCP from another node, then ${count} DELs at once`,
    run: (bench: BenchNode) => burst(bench, count),
  })),
  ...[0, 100, 250, 500].map((pods) => ({
    name: `density${pods}`,
    what: `ADDs with ${pods} Pods on the node, at rest and just after a DEL`,
    run: (bench: BenchNode) => density(bench, pods),
  })),
  { name: "fairness", what: "200 ADDs of one namespace at once, and one of another", run: fairness },
  {
    name: "waits",
    what: `from a Deployment to a pool of its own and its Pod's ADD; from a failed ADD to its Event`,
    run: waits,
  },
  { name: "sustained", what: "ADD and DEL without pause, 8 Pods at a time", run: sustained },
  { name: "reboot", what: "250 Pods at once after the node started again", run: reboot },
];

async function addAndDel(bench: BenchNode): Promise<Report> {
  const count = 200;
  const idleRssMb = round(await bench.agentRssMb(), 1);
  const measured = await bench.run({ kind: "pairs", count });
  const flights = await bench.flights(count);
  const [add, del] = [percentilesOf(measured.adds), percentilesOf(measured.dels)];
  const claims = flights.map(({ spans }) => spans.filter(({ stage }) => stage === "claim").length);
  const compared = await compareAdds(bench, "ADD", add, { network: "ovs", count: count / 2 });
  const coveredShare = sum(flights.map(coveredMs)) / sum(flights.map(({ totalMs }) => totalMs));
  const figures = {
    add,
    del,
    idleRssMb,
    failed: failures(measured).length,
    execsPerAdd: round(measured.forksPerCall),
    apiWritesPerAdd: round(sum(claims) / claims.length),
    coveredShare: round(coveredShare, 4),
    stages: stagesOf(flights),
    floor: compared.figures,
  };
  return {
    figures,
    lines: [
      `ADD  ${formatPercentiles(add)}`,
      `DEL  ${formatPercentiles(del)}`,
      `agent ${idleRssMb} MB idle; processes started per call ${figures.execsPerAdd}; awaited API writes per ADD ${figures.apiWritesPerAdd}`,
      `the stages account for ${round(coveredShare * 100, 1)} % of the time:`,
      ...formatWaterfall(flights),
      ...compared.lines,
      ...failures(measured).slice(0, 3),
    ],
  };
}

async function macvlan(bench: BenchNode): Promise<Report> {
  const { figures, lines, add } = await pairsOf(bench, macvlanAnnotations);
  const compared = await compareAdds(bench, "ADD", add, { network: "macvlan", count: 100 });
  return { figures: { ...figures, floor: compared.figures }, lines: [...lines, ...compared.lines] };
}

/** ADDs in turn beside their floor, which is measured now. */
async function compareAdds(
  bench: BenchNode,
  what: string,
  product: Percentiles,
  { restMs = 0, ...turns }: { readonly network: "ovs" | "macvlan"; readonly count: number; readonly restMs?: number },
): Promise<Compared> {
  const [outcome] = await bench.floor({ kind: "turns", ...turns, restMs });
  return compareTurns(what, product, outcome);
}

async function pairsOf(bench: BenchNode, annotations: NonNullable<RunOptions["annotations"]>) {
  const count = 200;
  const measured = await bench.run({ kind: "pairs", count }, { annotations });
  const flights = await bench.flights(count);
  const [add, del] = [percentilesOf(measured.adds), percentilesOf(measured.dels)];
  return {
    add,
    figures: { add, del, failed: failures(measured).length, stages: stagesOf(flights) },
    lines: [
      `ADD  ${formatPercentiles(add)}`,
      `DEL  ${formatPercentiles(del)}`,
      ...formatWaterfall(flights),
      ...failures(measured).slice(0, 3),
    ],
  };
}

async function burst(bench: BenchNode, count: number): Promise<Report> {
  const up = await bench.run({ kind: "add", count });
  const flights = await bench.flights(count);
  const silent = await bench.silent(up.ips);
  const down = await bench.run({ kind: "del", sandboxes: up.sandboxes }, { warmUp: 0 });
  const [{ bursts }, apiServerMs] = await bench.floor({ kind: "burst", count });
  const variantsOf = (what: "adds" | "dels") =>
    bursts.map(({ together, [what]: calls }) => ({ together, calls, apiServerMs: apiServerMs(calls) }));
  const addFloor = compareBurst("ADDs", count, up.totalMs, variantsOf("adds"));
  const delFloor = compareBurst("DELs", count, down.totalMs, variantsOf("dels"));
  const cpuMsPerAdd = cpuPerCall(up, count);
  const figures = {
    totalMs: round(up.totalMs),
    p99Ms: percentilesOf(up.adds).p99Ms,
    failed: failures(up).length,
    silent: silent.length,
    peakRssMb: round(up.peakRssMb, 1),
    cpuMsPerAdd,
    delTotalMs: round(down.totalMs),
    delFailed: failures(down).length,
    addFloor: addFloor.figures,
    delFloor: delFloor.figures,
  };
  return {
    figures,
    lines: [
      `${count} ADDs ${figures.totalMs} ms, p99 ${figures.p99Ms} ms, ${figures.failed} failed, ${silent.length} not reached; agent ${figures.peakRssMb} MB at the peak`,
      `CPU per ADD: agent ${cpuMsPerAdd.agent} ms, shim ${cpuMsPerAdd.shim} ms, Open vSwitch ${cpuMsPerAdd.switch} ms, API server ${cpuMsPerAdd.apiServer} ms`,
      ...formatWaterfall(asOne(flights)),
      `${count} DELs ${figures.delTotalMs} ms, ${figures.delFailed} failed`,
      ...addFloor.lines,
      ...delFloor.lines,
      ...[...failures(up), ...failures(down)].slice(0, 3),
    ],
  };
}

/** How long after a DEL a vswitchd with 500 ports has finished with it. */
const restMs = 400;

/** The largest burst that has a target. */
const fillAtOnce = 250;

/** Of each order of row and links. */
const floorTurns = 20;

async function density(bench: BenchNode, pods: number): Promise<Report> {
  const pairs = 50;
  const fillings: Measured[] = [];
  for (let left = pods; left > 0; left -= fillAtOnce)
    fillings.push(await bench.run({ kind: "add", count: Math.min(left, fillAtOnce) }, { warmUp: 0 }));
  const atRest = percentilesOf((await bench.run({ kind: "pairs", count: pairs, restMs })).adds);
  const turns = { network: "ovs", count: floorTurns } as const;
  const restFloor = await compareAdds(bench, "at rest", atRest, { ...turns, restMs });
  const measured = await bench.run({ kind: "pairs", count: pairs });
  const flights = await bench.flights(pairs);
  const ofport = percentiles(flights.map((flight) => stageMs(flight, "ofport")));
  const withoutOfport = percentiles(flights.map((flight) => flight.totalMs - stageMs(flight, "ofport")));
  const [add, del] = [percentilesOf(measured.adds), percentilesOf(measured.dels)];
  const floors = [restFloor, await compareAdds(bench, "just after a DEL", add, turns)];
  await bench.run({ kind: "del", sandboxes: fillings.flatMap(({ sandboxes }) => sandboxes) }, { warmUp: 0 });
  return {
    figures: { atRest, add, del, ofport, withoutOfport, floor: floors.map(({ figures }) => figures) },
    lines: [
      `ADD at rest p50 ${atRest.p50Ms}, p99 ${atRest.p99Ms} ms; just after a DEL p50 ${add.p50Ms}, p99 ${add.p99Ms} ms (waiting for the switch ${ofport.p50Ms}, ours ${withoutOfport.p50Ms}); DEL p50 ${del.p50Ms} ms`,
      ...floors.flatMap(({ lines }) => lines),
      ...fillings.flatMap(failures).slice(0, 3),
    ],
  };
}

async function fairness(bench: BenchNode): Promise<Report> {
  const idle = percentilesOf((await bench.run({ kind: "pairs", count: 100 })).adds);
  const { adds } = await bench.run({ kind: "fairness", count: 200 });
  const other = adds.at(-1);
  const many = percentilesOf(adds.slice(0, -1));
  const ratio = round((other?.ms ?? Number.NaN) / idle.p99Ms);
  return {
    figures: { otherMs: round(other?.ms ?? Number.NaN), idleP99Ms: idle.p99Ms, ratio, manyP50Ms: many.p50Ms },
    lines: [
      `the other namespace's ADD ${round(other?.ms ?? 0)} ms: ${ratio} × its p99 when idle; the 200 took ${many.p50Ms} ms at p50, ${many.maxMs} ms at most`,
    ],
  };
}

async function sustained(bench: BenchNode): Promise<Report> {
  const count = 400;
  const measured = await bench.run({ kind: "sustained", count, width: 8 });
  const perSecond = round((count / measured.totalMs) * 1000, 1);
  const failed = failures(measured).length;
  return {
    figures: {
      pairsPerSecond: perSecond,
      failed,
      add: percentilesOf(measured.adds),
      del: percentilesOf(measured.dels),
    },
    lines: [`${perSecond} Pods added and removed per second, ${failed} failed`],
  };
}

async function reboot(bench: BenchNode): Promise<Report> {
  const count = 250;
  const { sandboxes } = await bench.run({ kind: "add", count });
  const startMs = performance.now();
  await bench.reboot();
  const servingMs = performance.now() - startMs;
  const up = await bench.run({ kind: "restart", sandboxes }, { warmUp: 0 });
  const silent = await bench.silent(up.ips);
  const kept = up.ips.length;
  await bench.run({ kind: "del", sandboxes: up.sandboxes }, { warmUp: 0 });
  const figures = {
    servingMs: round(servingMs),
    totalMs: round(up.totalMs),
    p99Ms: percentilesOf(up.adds).p99Ms,
    failed: failures(up).length,
    silent: silent.length,
    peakRssMb: round(up.peakRssMb, 1),
  };
  return {
    figures,
    lines: [
      `power on to serving ${figures.servingMs} ms; ${kept} Pods back in ${figures.totalMs} ms (DEL and ADD), ${figures.failed} failed, ${silent.length} not reached`,
      ...failures(up).slice(0, 3),
    ],
  };
}

function cpuPerCall({ cpu, apiServerMs }: Measured, calls: number) {
  const per = (ms: number) => round(ms / calls);
  return { agent: per(cpu.agentMs), shim: per(cpu.shimsMs), switch: per(cpu.switchMs), apiServer: per(apiServerMs) };
}

function percentilesOf(timed: readonly Timed[]) {
  return percentiles(timed.filter(({ error }) => error === undefined).map(({ ms }) => ms));
}

function failures({ adds, dels }: Measured): readonly string[] {
  return [...adds, ...dels].flatMap(({ error }) => error ?? []);
}

function stagesOf(flights: readonly Flight[]): Readonly<Record<string, unknown>> {
  const stages = new Set(flights.flatMap(({ spans }) => spans.map(({ stage }) => stage)));
  return Object.fromEntries(
    [...stages].map((stage) => [stage, percentiles(flights.map((flight) => stageMs(flight, stage)))]),
  );
}

/** The time of a stage in all of its spans. */
function stageMs({ spans }: Flight, stage: string): number {
  return sum(spans.filter((span) => span.stage === stage).map(({ startMs, endMs }) => endMs - startMs));
}

/** The part of a call's time that is in any stage. */
function coveredMs({ spans }: Flight): number {
  let covered = 0;
  let untilMs = 0;
  for (const { startMs, endMs } of spans.toSorted((a, b) => a.startMs - b.startMs)) {
    covered += Math.max(0, endMs - Math.max(startMs, untilMs));
    untilMs = Math.max(untilMs, endMs);
  }
  return covered;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
