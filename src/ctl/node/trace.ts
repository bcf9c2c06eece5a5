import type { Command } from "commander";
import type { Span } from "#base";
import { agentSocket, askAgent } from "../agent.ts";
import { exitFailed, exitOk } from "../io.ts";
import { formatItems, formatTable, refuseName } from "../output.ts";
import { podKey } from "../pod-name.ts";
import type { Context, Run } from "../run.ts";

/** A call as the agent's API tells of it. */
interface Flight {
  readonly verb: string;
  readonly network: string;
  readonly containerId: string;
  readonly ifName: string;
  readonly pod: string;
  readonly startedAt: string;
  readonly totalMs: number;
  readonly error?: string;
  readonly spans: readonly Span[];
}

/** Calls that are shown unless all are asked for: a Pod that cannot start is tried again and again, and fails alike. */
const shownMax = 4;

/** `trace POD`: the flight record of a Pod's CNI calls, stage by stage. */
export function addTraceCommand(program: Command, run: Run): void {
  program
    .command("trace")
    .description(
      "show the CNI calls for a Pod on this node, stage by stage; asks the node's agent, needs no API server",
    )
    .argument("<pod>", "[namespace/]name")
    .option("--all", `every call that the agent remembers, not only the last ${shownMax}`, false)
    .option("--socket <path>", "the agent's socket", agentSocket)
    .action((pod: string, options: TraceOptions) => run((context) => trace(pod, options, context)));
}

interface TraceOptions {
  readonly all: boolean;
  readonly socket: string;
}

async function trace(pod: string, { all, socket }: TraceOptions, context: Context): Promise<number> {
  const { io, output } = context;
  refuseName(output);
  const key = podKey(pod, context);
  const path = `/v1/flights?pod=${encodeURIComponent(key)}`;
  const flights = (await askAgent(socket, path, io)) as readonly Flight[];
  const shown = all ? flights : flights.slice(-shownMax);
  io.out(formatItems(flights, output) ?? [...earlier(flights.length - shown.length), ...shown.map(format)].join("\n"));
  if (flights.length === 0) io.err(`The agent of this node has no call of Pod ${key} among its last ones.\n`);
  return flights.length === 0 ? exitFailed : exitOk;
}

function earlier(count: number): readonly string[] {
  return count === 0 ? [] : [`${count} earlier ${count === 1 ? "call" : "calls"}: --all shows them\n`];
}

function format({ verb, network, ifName, startedAt, totalMs, error, containerId, spans }: Flight): string {
  const head = `${startedAt}  ${verb} ${network} ${ifName} of ${containerId.slice(0, 12)}: ${ms(totalMs)}`;
  const rows = spans.map(({ stage, of, startMs, endMs, failed }) => [
    `  ${stage}`,
    of,
    `at ${ms(startMs)}`,
    ms(endMs - startMs),
    failed ? "failed" : "",
  ]);
  const table = rows.length === 0 ? "" : formatTable(rows.map((cells) => cells.map((cell) => cell || "-")));
  return `${head}\n${table}${error === undefined ? "" : `  error: ${error}\n`}`;
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}
