import type { Checked, Filling, FillOutcomes, FillPlan } from "./cluster/fill.ts";
import { type CreatesOutcome, type CreatesPlan, type Layer, layers } from "./cluster/layers.ts";
import type { PublicationOutcome, PublicationPlan } from "./cluster/publication.ts";
import { runBeside, type ServerKind } from "./cluster/server.ts";
import { formatPercentiles, type Report, round } from "./report.ts";

const repetitions = 3;
const agents = [1, 10, 100];
const states = ["new", "serving"] as const;

/** 1,000 Pods at once on 1,000 addresses, from 1, 10 and 100 agents, new and serving; the median of some fillings each. */
export async function fillings(server: ServerKind): Promise<Report> {
  const pods = 1_000;
  const each = agents.flatMap((count) => states.map((state): Filling => ({ agents: count, state })));
  const all = Array.from({ length: repetitions }, () => each).flat();
  const { filled, bare } = await runBeside<FillPlan, FillOutcomes>(server, "fill", { pods, fillings: all });
  const rows = each.map(({ agents: count, state }) => {
    const of = filled.filter((one) => one.agents === count && one.state === state);
    const middle = (figure: "writesPerPod" | "serverCpuMs" | "controllerCpuMs" | "agentsCpuMs") =>
      round(median(of.map((one) => one[figure])));
    const perSecond = median(of.map((one) => one.perSecond));
    const barely = (checked: Checked) => {
      const ones = bare.filter((one) => one.agents === count && one.checked === checked);
      if (ones.length === 0) return undefined;
      return {
        perSecond: round(median(ones.map((one) => one.perSecond)), 0),
        serverCpuMs: round(median(ones.map(({ serverCpuMs }) => serverCpuMs))),
      };
    };
    const floor = barely("all") ?? { perSecond: Number.NaN, serverCpuMs: Number.NaN };
    return {
      ...{ agents: count, state },
      failed: sum(of.map(({ failed }) => failed)),
      twice: sum(of.map(({ twice }) => twice)),
      writesPerPod: middle("writesPerPod"),
      perSecond: round(perSecond, 0),
      serverCpuMs: middle("serverCpuMs"),
      controllerCpuMs: middle("controllerCpuMs"),
      agentsCpuMs: middle("agentsCpuMs"),
      floor: { ...floor, ratio: round(perSecond / floor.perSecond) },
      floorWithoutPolicies: barely("no policies"),
      floorWithoutChecks: barely("nothing"),
      failures: of.flatMap(({ failure }) => failure ?? []),
    };
  });
  const lines = rows.flatMap((row) => [
    `${String(row.agents).padStart(3)} ${row.state} agents: ${row.perSecond} allocations/s, ${row.writesPerPod} creates per Pod, ${row.failed} failed, ${row.twice} twice; CPU per Pod: server ${row.serverCpuMs} ms, controller ${row.controllerCpuMs} ms, all agents ${row.agentsCpuMs} ms; ${row.floor.ratio} of nothing but the creates`,
    ...(row.state === "new" ? [formatFloors(row)] : []),
    ...row.failures.slice(0, 1),
  ]);
  return { figures: { pods, fillings: rows }, lines };
}

/** What a thousand agents cause and see of views, and of edits of pools. */
export async function publication(server: ServerKind): Promise<Report> {
  const plan: PublicationPlan = { agents: 1_000, pools: 8, pods: 2_000, seconds: 10, edits: 3 };
  const found = await runBeside<PublicationPlan, PublicationOutcome>(server, "publication", plan);
  const { status, usage, add, edit, failed, failures, settledMs, cpuSeconds } = found;
  return {
    figures: { ...plan, ...found, settledMs: round(settledMs) },
    lines: [
      `${plan.pods} Pods in ${plan.seconds} s from ${plan.agents} agents, ${plan.pools} pools, ${failed} failed; statuses exact ${round(settledMs)} ms after the last`,
      ...failures,
      `from a Pod's coming to its address: ${formatPercentiles(add)}`,
      `statuses: ${status.writes} written, at most ${status.perSecond} in a second, ${status.perSecondOfPool} of one pool`,
      `usages: ${usage.writes} written, at most ${usage.perSecond} in a second, ${usage.perSecondOfPool} of one pool`,
      `a pool's edit known to an agent: ${formatPercentiles(edit)}`,
      ...Object.entries(cpuSeconds).map(([when, { server: of, etcd, controller, agents: all }]) => {
        return `CPU seconds, ${when}: API server ${of}, etcd ${etcd}, controller ${controller}, agents ${all}`;
      }),
    ],
  };
}

/** What each check of kube-apiserver costs a create, over connections as agents have them. */
export async function createsByLayer(): Promise<Report> {
  const plan: CreatesPlan = { creates: 500, rounds: 3, connections: 8 };
  const outcomes = await runBeside<CreatesPlan, readonly CreatesOutcome[]>("real", "creates", plan);
  const figuresOf = (layer: Layer) => {
    const of = outcomes.filter((one) => one.layer === layer);
    const middle = (figure: Exclude<keyof CreatesOutcome, "layer">) => median(of.map((one) => one[figure]));
    return {
      perSecond: round(middle("perSecond"), 0),
      serverCpuMs: round(middle("serverCpuMs")),
      etcdCpuMs: round(middle("etcdCpuMs")),
      clientCpuMs: round(middle("clientCpuMs")),
      serverKb: round(middle("serverKb"), 0),
    };
  };
  const rows = layers.map((layer) => [layer, figuresOf(layer)] as const);
  const lines = rows.map(
    ([layer, { perSecond, serverCpuMs, etcdCpuMs, clientCpuMs, serverKb }]) =>
      `${layer}: ${perSecond}/s; for each, API server ${serverCpuMs} ms and ${serverKb} KB allocated, etcd ${etcdCpuMs} ms, client ${clientCpuMs} ms`,
  );
  return { figures: { ...plan, layers: Object.fromEntries(rows) }, lines };
}

function formatFloors(row: {
  readonly floor: Bare;
  readonly floorWithoutPolicies: Bare | undefined;
  readonly floorWithoutChecks: Bare | undefined;
}): string {
  return `  nothing but the creates: ${formatBare(row.floor)}; without our policies ${formatBare(row.floorWithoutPolicies)}; of a kind without any check of ours ${formatBare(row.floorWithoutChecks)}`;
}

interface Bare {
  readonly perSecond: number;
  readonly serverCpuMs: number;
}

function formatBare(of: Bare | undefined): string {
  return of === undefined ? "not measured" : `${of.perSecond}/s, server ${of.serverCpuMs} ms`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
