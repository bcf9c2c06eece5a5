import type { Command } from "commander";
import { formatError, hasCode } from "#base";
import type { Finding } from "#doctor";
import { agentSocket, askAgent } from "../agent.ts";
import { exitFailed, exitOk } from "../io.ts";
import { formatOne, formatTable } from "../output.ts";
import type { Context, Run } from "../run.ts";

/** `node status --local`: how the agent of this node is; works while the API server is away. */
export function addNodeCommand(program: Command, run: Run): void {
  program
    .command("node")
    .description("a node's agent")
    .command("status")
    .description("show whether this node's agent works, the results of its last calls, and the findings of its doctor")
    .requiredOption("--local", "this node: asks its agent over its socket, needs no API server")
    .option("--socket <path>", "the agent's socket", agentSocket)
    .action(({ socket }: { readonly socket: string }) => run((context) => status(socket, context)));
}

interface Status {
  readonly serving: boolean;
  readonly why?: string;
  readonly calls: number;
  readonly failed: number;
  readonly lastError?: string;
  readonly findings: readonly Finding[];
}

async function status(socket: string, { io, output }: Context): Promise<number> {
  const found = await read(socket, io.signal);
  io.out(formatOne(found, output) ?? formatTable(rowsOf(found)));
  return found.serving && found.findings.length === 0 ? exitOk : exitFailed;
}

async function read(socket: string, signal: AbortSignal): Promise<Status> {
  // Whoever does not answer at all is told of by the first question.
  const flights = (await askAgent(socket, "/v1/flights", { signal })) as readonly { readonly error?: string }[];
  const failed = flights.filter(({ error }) => error !== undefined);
  const lastError = failed.at(-1)?.error;
  const why = await refusalOf(askAgent(socket, "/v1/ipam/healthy", { signal }));
  const findings = why === undefined ? ((await askAgent(socket, "/v1/doctor", { signal })) as readonly Finding[]) : [];
  return {
    serving: why === undefined,
    ...(why !== undefined && { why }),
    calls: flights.length,
    failed: failed.length,
    ...(lastError !== undefined && { lastError }),
    findings,
  };
}

async function refusalOf(asked: Promise<unknown>): Promise<string | undefined> {
  try {
    await asked;
    return undefined;
  } catch (error) {
    if (hasCode(error, "AGENT_REFUSED")) return formatError(error);
    throw error;
  }
}

function rowsOf({ serving, why, calls, failed, lastError, findings }: Status): readonly (readonly string[])[] {
  return [
    ["Agent", serving ? "serves" : `does not serve: ${why}`],
    ["Last calls", `${calls}, ${failed} failed`],
    ...(lastError === undefined ? [] : [["Last error", lastError]]),
    ["Doctor", findings.length === 0 ? "nothing found" : `${findings.length} found: spiderpoolctl doctor --local`],
    ...findings.map(({ id, found }) => [`  ${id}`, found]),
  ];
}
