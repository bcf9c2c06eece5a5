import type { Command } from "commander";
import { type Clock, formatError, type Signal, SpiderError, systemClock } from "#base";
import { type Disagreement, type DisagreementJson, faultOfEvent, parseDisagreement } from "#doctor";
import { events, type KubeClient } from "#kube";
import { agentSocket, askAgent } from "../agent.ts";
import { exitFailed, exitOk } from "../io.ts";
import { releaseIp } from "../ip/release.ts";
import { formatRows, type Printer } from "../output.ts";
import type { Context, Run } from "../run.ts";
import { disagreements } from "./compare.ts";
import { observe } from "./observe.ts";
import { upstreamDisagreements } from "./upstream.ts";

/** The time between the two looks, so that Pods that start or end and views that are being written cause no finding. */
const apartMs = 3_000;

interface CheckFlags {
  readonly fix?: boolean;
  readonly local?: boolean;
  readonly upstream?: boolean;
  readonly socket: string;
}

/** `check`: do all sources of information about addresses agree? */
export function addCheckCommand(program: Command, run: Run): void {
  program
    .command("check")
    .description(
      "compare claims, Pods, views, and the sandboxes, ports and routes that agents find on their nodes; looks twice, some seconds apart",
    )
    .option(
      "--fix",
      "repair what both looks found and what is safe to repair: addresses of Pods that are gone; with --local, ports and routes",
    )
    .option("--local", "check this node: asks its agent over its socket, needs no API server")
    .option(
      "--upstream",
      "check a cluster that still runs the original Spiderpool: its pools, Pods and endpoints; only reads",
    )
    .option("--socket <path>", "with --local: the agent's socket", agentSocket)
    .action((flags: CheckFlags) => run((context) => check(flags, context)));
}

async function check({ fix = false, local = false, upstream = false, socket }: CheckFlags, context: Context) {
  if (upstream && (fix || local)) {
    throw new SpiderError("OPTIONS_INVALID", "check --upstream only reads: it goes with neither --fix nor --local");
  }
  if (upstream) {
    const { io, cluster, output } = context;
    return print(
      await twice(() => upstreamDisagreements(cluster.client, cluster.clock, io), cluster.clock, io),
      io,
      output,
    );
  }
  return local ? checkNode(socket, fix, context) : checkCluster(fix, context);
}

/** Two looks of this node's agent; with `fix` it repairs what both see. */
async function checkNode(socket: string, fix: boolean, { io, output }: Context): Promise<number> {
  const look = async (method: "GET" | "POST") => {
    const found = await askAgent(socket, "/v1/faults", { signal: io.signal, method });
    return (found as readonly DisagreementJson[]).map(parseDisagreement);
  };
  if (!fix) return print(await twice(() => look("GET"), systemClock, io), io, output);
  await look("POST");
  await systemClock.sleep(apartMs, io);
  return print(await look("POST"), io, output, { mended: true });
}

function print(
  found: readonly Disagreement[],
  io: Context["io"],
  output: Context["output"],
  { mended = false } = {},
): number {
  const text = formatRows(found, printer, output);
  if (text === undefined) io.err(`${printer.nothing}\n`);
  else io.out(text);
  if (mended && found.length > 0) io.err("The agent has done about these what harms nobody: look again.\n");
  return found.length === 0 ? exitOk : exitFailed;
}

async function checkCluster(fix: boolean, context: Context): Promise<number> {
  const { io, cluster, output } = context;
  const found = [...(await confirmed(cluster, { signal: io.signal })), ...(await published(cluster, io))];
  const text = formatRows(found, printer, output);
  if (text === undefined) io.err(`${printer.nothing}\n`);
  else io.out(text);
  let left = found.length;
  for (const { address, kind } of found) {
    if (!fix || kind !== "claim-without-pod" || address === undefined) continue;
    try {
      // Refused while the node may still have the Pod's sandbox.
      if ((await releaseIp({ address, force: false, dryRun: false }, context)) === exitOk) left -= 1;
    } catch (error) {
      io.err(`error: ${address}: ${formatError(error)}\n`);
    }
  }
  return left === 0 ? exitOk : exitFailed;
}

/** Disagreements that both looks found. */
export async function confirmed(
  { client, clock }: { readonly client: KubeClient; readonly clock: Clock },
  o: Signal,
): Promise<readonly Disagreement[]> {
  return twice(async () => disagreements(await observe(client, clock, o)), clock, o);
}

async function twice(
  look: () => Promise<readonly Disagreement[]>,
  clock: Clock,
  o: Signal,
): Promise<readonly Disagreement[]> {
  const first = await look();
  if (first.length === 0) return [];
  await clock.sleep(apartMs, o);
  const before = new Set(first.map(({ key }) => key));
  return (await look()).filter(({ key }) => before.has(key));
}

/** Disagreements that agents have reported from their nodes, each after two looks. */
async function published(
  { client, clock }: { readonly client: KubeClient; readonly clock: Clock },
  { signal }: Signal,
): Promise<readonly Disagreement[]> {
  const now = clock.wall();
  const found = new Map<string, Disagreement>();
  const selection = { fieldSelector: "involvedObject.kind=Node", signal };
  for await (const event of client.listAll(events, selection)) {
    const fault = faultOfEvent(event, now);
    if (fault !== undefined) found.set(fault.key, fault);
  }
  return [...found.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** Columns of the table of disagreements. */
const printer: Printer<Disagreement> = {
  columns: [
    { header: "KIND", value: ({ kind }) => kind },
    { header: "OBJECT", value: ({ object }) => object },
    { header: "SAYS", value: ({ one }) => `${one.text} (read ${one.readAt.toISOString()})` },
    { header: "BUT", value: ({ other }) => `${other.text} (read ${other.readAt.toISOString()})` },
  ],
  name: ({ kind, object }) => `${kind}/${object}`,
  json: ({ kind, object, one, other }) => ({ kind, object, one, other }),
  nothing: "All sources agree.",
};
