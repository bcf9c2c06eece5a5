import type { Command } from "commander";
import { formatError, hasCode, withTimeout } from "#base";
import { type Finding, readVersions, type Versions } from "#doctor";
import { agentSocket, askAgent } from "../agent.ts";
import { exitFailed, exitOk } from "../io.ts";
import { formatOne, formatTable } from "../output.ts";
import type { Context, Run } from "../run.ts";

/** How long the cluster is waited for: what the agent says is told without it. */
const clusterMsMax = 3_000;

/** `node status --local`: how the agent of this node is; works while the API server is away. */
export function addNodeCommand(program: Command, run: Run): void {
  program
    .command("node")
    .description("a node's agent")
    .command("status")
    .description(
      "show whether this node's agent works, its version beside the controller's, the results of its last calls, and the findings of its doctor",
    )
    .requiredOption(
      "--local",
      "this node: asks its agent over its socket; the API server is asked for the controller's version alone",
    )
    .option("--socket <path>", "the agent's socket", agentSocket)
    .action(({ socket }: { readonly socket: string }) => run((context) => status(socket, context)));
}

interface Status {
  readonly node: string;
  readonly version: string;
  /** By their images. Absent where the cluster cannot be asked. */
  readonly images?: Versions;
  /** Why it cannot. */
  readonly clusterSays?: string;
  readonly serving: boolean;
  readonly why?: string;
  readonly calls: number;
  readonly failed: number;
  readonly lastError?: string;
  readonly findings: readonly Finding[];
}

async function status(socket: string, context: Context): Promise<number> {
  const { io, output } = context;
  const found = await read(socket, context);
  io.out(formatOne(found, output) ?? formatTable(rowsOf(found)));
  return found.serving && found.findings.length === 0 && !isSkewed(found) ? exitOk : exitFailed;
}

async function read(socket: string, context: Context): Promise<Status> {
  const { signal } = context.io;
  // Whoever does not answer at all is told of by the first question.
  const { node, version } = (await askAgent(socket, "/v1/status", { signal })) as Pick<Status, "node" | "version">;
  const flights = (await askAgent(socket, "/v1/flights", { signal })) as readonly { readonly error?: string }[];
  const failed = flights.filter(({ error }) => error !== undefined);
  const lastError = failed.at(-1)?.error;
  const why = await refusalOf(askAgent(socket, "/v1/ipam/healthy", { signal }));
  const findings = why === undefined ? ((await askAgent(socket, "/v1/doctor", { signal })) as readonly Finding[]) : [];
  return {
    node,
    version,
    ...(await imagesOf(node, context)),
    serving: why === undefined,
    ...(why !== undefined && { why }),
    calls: flights.length,
    failed: failed.length,
    ...(lastError !== undefined && { lastError }),
    findings,
  };
}

async function imagesOf(node: string, context: Context): Promise<Pick<Status, "images" | "clusterSays">> {
  const { signal } = context.io;
  using limit = withTimeout(signal, clusterMsMax, () => new Error(`no answer within ${clusterMsMax / 1000} s`));
  try {
    return { images: await readVersions(context.cluster.client, node, { signal: limit }) };
  } catch (error) {
    signal.throwIfAborted();
    return { clusterSays: formatError(error) };
  }
}

function isSkewed({ images }: Status): boolean {
  return images?.differ === true;
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

function rowsOf(found: Status): readonly (readonly string[])[] {
  const { node, version, serving, why, calls, failed, lastError, findings } = found;
  return [
    ["Node", node],
    ["Version", version],
    ["Controller", controllerRow(found)],
    ["Agent", serving ? "serves" : `does not serve: ${why}`],
    ["Last calls", `${calls}, ${failed} failed`],
    ...(lastError === undefined ? [] : [["Last error", lastError]]),
    ["Doctor", findings.length === 0 ? "nothing found" : `${findings.length} found: spiderpoolctl doctor --local`],
    ...findings.map(({ id, found }) => [`  ${id}`, found]),
  ];
}

function controllerRow(found: Status): string {
  const { images, clusterSays } = found;
  if (images === undefined) return `not known: ${clusterSays}`;
  const { agent, controllers } = images;
  if (controllers.length === 0) return "there is no Pod of it";
  const versions = controllers.join(", ");
  if (agent === undefined) return `image ${versions}; the agent is no Pod`;
  if (isSkewed(found)) return `image ${versions}, the agent's is ${agent}: they should be the same`;
  return versions === agent ? `image ${versions}, as the agent` : `image ${versions}, the agent's is ${agent}`;
}
