import { hostname } from "node:os";
import type { Command } from "commander";
import { hasCode, SpiderError, silentLogger, systemClock } from "#base";
import {
  clusterChecks,
  type Finding,
  findingOfEvent,
  fixOnOneLine,
  nodeChecks,
  nodePaths,
  observeNode,
  readCluster,
  runChecks,
} from "#doctor";
import { events } from "#kube";
import { hostNetns } from "#linux";
import { createOvs } from "#ovsdb";
import { agentSocket, askAgent } from "../agent.ts";
import { exitFailed, exitOk, type Io } from "../io.ts";
import { formatRows, type OutputFormat, type Printer } from "../output.ts";
import type { Context, Run } from "../program.ts";

interface DoctorFlags {
  readonly local?: boolean;
  readonly preflight?: boolean;
  readonly socket: string;
  readonly ovsdb: string;
  readonly bridge: readonly string[];
  readonly cniConfDir: string;
  readonly cniBinDir: string;
}

const withPreflight = "with --preflight: ";

/** `doctor`: what is wrong with the cluster or a node, and how to mend it. */
export function addDoctorCommand(program: Command, run: Run): void {
  program
    .command("doctor")
    .description("finds what is wrong with the cluster or a node, and says how to mend it; changes nothing")
    .option("--local", "this node, now: asks its agent over its socket")
    .option("--preflight", "this node, with nothing installed")
    .option("--bridge <name...>", `${withPreflight}bridges that Pods are to use`, [])
    .option("--socket <path>", "the agent's socket", agentSocket)
    .option("--ovsdb <endpoint>", `${withPreflight}Open vSwitch's database`, "unix:/var/run/openvswitch/db.sock")
    .option("--cni-conf-dir <dir>", `${withPreflight}where network configurations will be`, nodePaths.confDir)
    .option("--cni-bin-dir <dir>", `${withPreflight}where plugins will be`, nodePaths.binDir)
    .action((flags: DoctorFlags, command: Command) =>
      run((context) => {
        if (flags.preflight !== true) refusePreflightFlags(command);
        return doctor(flags, context);
      }),
    );
}

/** Throws OPTIONS_INVALID for an option that would have no effect: an agent knows its own bridges and directories. */
function refusePreflightFlags(command: Command): void {
  const given = command.options.filter(
    (option) =>
      option.description.startsWith(withPreflight) && command.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (given.length === 0) return;
  const names = given.map(({ long }) => long).join(", ");
  throw new SpiderError(
    "OPTIONS_INVALID",
    `${names}: only with --preflight, which looks at this node without its agent`,
  );
}

async function doctor(flags: DoctorFlags, context: Context): Promise<number> {
  const { io, output } = context;
  const found = await findings(flags, context);
  print(found, io, output);
  return found.length === 0 ? exitOk : exitFailed;
}

async function findings(flags: DoctorFlags, context: Context): Promise<readonly Finding[]> {
  if (flags.preflight === true) return preflight(flags, context);
  if (flags.local !== true) return ofCluster(context);
  try {
    return (await askAgent(flags.socket, "/v1/doctor", context.io)) as readonly Finding[];
  } catch (error) {
    if (!hasCode(error, "AGENT_UNREACHABLE")) throw error;
    context.io.err(`${error.message}\nThe node is examined without its agent.\n`);
    return preflight(flags, context);
  }
}

/** The cluster's own checks, and what agents have published of their nodes. */
async function ofCluster({ cluster: { client, clock }, io }: Context): Promise<readonly Finding[]> {
  const now = clock.wall();
  const facts = await readCluster(client, now, io);
  const published = new Map<string, Finding>();
  const selection = { fieldSelector: "involvedObject.kind=Node", signal: io.signal };
  for await (const event of client.listAll(events, selection)) {
    const finding = findingOfEvent(event, now);
    if (finding !== undefined) published.set(`${finding.on} ${finding.id} ${finding.found}`, finding);
  }
  const ofNodes = [...published.values()].sort((a, b) => a.on.localeCompare(b.on) || a.id.localeCompare(b.id));
  return [...runChecks(clusterChecks, facts, "cluster"), ...ofNodes];
}

/** This node's checks in this process. */
async function preflight(flags: DoctorFlags, { io }: Context): Promise<readonly Finding[]> {
  const { ovsdb: endpoint, bridge, cniConfDir: confDir, cniBinDir: binDir } = flags;
  await using ovs = createOvs({ endpoint, clock: systemClock, log: silentLogger });
  const node = hostname();
  const facts = await observeNode({
    ...{ node, namespace: "kube-system", host: hostNetns(), ovs, endpoint, pods: [], isAgent: false },
    paths: { ...nodePaths, confDir, binDir },
    networks: bridge.map((name) => ({ name: `on ${name}`, bridge: name, vlans: undefined })),
    bridges: bridge,
    now: new Date(),
    signal: io.signal,
  });
  return runChecks(nodeChecks, facts, node);
}

const printer: Printer<Finding> = {
  columns: [
    { header: "ID", value: ({ id }) => id },
    { header: "RUNS ON", value: ({ on }) => on },
    { header: "SEVERITY", value: ({ severity }) => severity },
    { header: "FINDING", value: ({ found }) => found },
    { header: "FIX", value: fixOnOneLine },
  ],
  name: ({ id, on }) => `${on}/${id}`,
  nothing: "Nothing was found.",
};

function print(found: readonly Finding[], io: Io, output: OutputFormat): void {
  const text = formatRows(found, printer, output);
  if (text === undefined) io.err(`${printer.nothing}\n`);
  else io.out(text);
}
