import { hostname } from "node:os";
import { type Command, Option } from "commander";
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
import type { Context, Run } from "../run.ts";

interface DoctorFlags {
  readonly local?: boolean;
  readonly preflight?: boolean;
  readonly socket: string;
  readonly ovsdb: string;
  readonly bridge: readonly string[];
  readonly cniConfDir: string;
  readonly cniBinDir: string;
}

const ovsdb = "unix:/var/run/openvswitch/db.sock";

/** Settings that an agent knows, and that must be given for a node without one. */
const preflightOptions: readonly Option[] = [
  new Option("--bridge <name...>", "with --preflight: bridges that Pods are to use").default([]),
  new Option("--ovsdb <endpoint>", "with --preflight: Open vSwitch's database").default(ovsdb),
  new Option("--cni-conf-dir <dir>", "with --preflight: where network configurations will be").default(
    nodePaths.confDir,
  ),
  new Option("--cni-bin-dir <dir>", "with --preflight: the directory for plugins").default(nodePaths.binDir),
];

/** `doctor`: finds problems of the cluster or a node, and says how to fix them. */
export function addDoctorCommand(program: Command, run: Run): void {
  const doctorCommand = program
    .command("doctor")
    .description("find problems of the cluster or a node, and say how to fix them; changes nothing")
    .option("--local", "examine this node: asks its agent over its socket")
    .option("--preflight", "examine this node before anything is installed")
    .option("--socket <path>", "the agent's socket", agentSocket);
  for (const option of preflightOptions) doctorCommand.addOption(option);
  doctorCommand.action((flags: DoctorFlags, command: Command) =>
    run((context) => {
      if (flags.preflight !== true) refusePreflightOptions(command);
      return doctor(flags, context);
    }),
  );
}

/** Throws OPTIONS_INVALID for an option that would have no effect. */
function refusePreflightOptions(command: Command): void {
  const given = preflightOptions.filter((option) => command.getOptionValueSource(option.attributeName()) === "cli");
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

/** The cluster's checks, and the findings that agents have published about their nodes. */
async function ofCluster({ cluster: { client, clock }, io }: Context): Promise<readonly Finding[]> {
  const now = clock.wall();
  const facts = await readCluster(client, now, io);
  if (facts.unread.length > 0) {
    io.err(`Not examined, because this account may not read it: ${facts.unread.join(", ")}.\n`);
  } else if (facts.workloads.length === 0) {
    io.err(
      "No agent and no controller of Spiderpool is installed in this cluster: only Events of nodes were examined.\n",
    );
  }
  const published = new Map<string, Finding>();
  const selection = { fieldSelector: "involvedObject.kind=Node", signal: io.signal };
  for await (const event of client.listAll(events, selection)) {
    const finding = findingOfEvent(event, now);
    if (finding !== undefined) published.set(`${finding.on} ${finding.id} ${finding.found}`, finding);
  }
  const ofNodes = [...published.values()].sort((a, b) => a.on.localeCompare(b.on) || a.id.localeCompare(b.id));
  return [...runChecks(clusterChecks, facts, "cluster"), ...ofNodes];
}

/** Runs this node's checks in this process. */
async function preflight(flags: DoctorFlags, { io }: Context): Promise<readonly Finding[]> {
  const { ovsdb: endpoint, bridge, cniConfDir: confDir, cniBinDir: binDir } = flags;
  await using ovs = createOvs({ endpoint, clock: systemClock, log: silentLogger });
  const node = hostname();
  const facts = await observeNode({
    node,
    namespace: "kube-system",
    host: hostNetns(),
    ovs,
    endpoint,
    pods: [],
    isAgent: false,
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
