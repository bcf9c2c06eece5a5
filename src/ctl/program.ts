import { Command, CommanderError } from "commander";
import { formatError, hasCode, printable, productVersion, SpiderError } from "#base";
import { hasReason } from "#kube";
import { addBundleCommand } from "./bundle/bundle.ts";
import { addCheckCommand } from "./check/check.ts";
import { addGcCommand } from "./check/gc.ts";
import { type Cluster, type ClusterFlags, type Connect, connect } from "./cluster.ts";
import { addDoctorCommand } from "./doctor/doctor.ts";
import { addExplainCommand } from "./explain/commands.ts";
import { exitFailed, exitOk, exitUnknown, type Io } from "./io.ts";
import { addIpCommands } from "./ip/commands.ts";
import { addNetCommands } from "./net/render.ts";
import { addNodeCommand } from "./node/status.ts";
import { addTraceCommand } from "./node/trace.ts";
import { outputFormats, parseOutputFormat } from "./output.ts";
import { addPlanCommand } from "./plan/commands.ts";
import type { Run } from "./run.ts";
import { addValidateCommand } from "./validate/validate.ts";

interface GlobalFlags extends ClusterFlags {
  readonly output: string;
}

interface ProgramOptions {
  /** The name by which the user started it: `spiderpoolctl`, or `kubectl spiderpool` as kubectl plugin. */
  readonly name: string;
  readonly io: Io;
  /** @default the cluster that kubectl would use */
  readonly connect?: Connect;
}

/** Runs one command line (without interpreter and script). Returns the exit status; never throws. */
export async function runProgram(argv: readonly string[], { name, connect: to = connect, ...options }: ProgramOptions) {
  const io: Io = {
    ...options.io,
    out: (text) => options.io.out(printable(text)),
    err: (text) => options.io.err(printable(text)),
  };
  let status: number = exitOk;
  let asPod = false;
  const program = addGlobalOptions(new Command(name))
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .exitOverride()
    .showSuggestionAfterError();
  const run: Run = async (action, { formats = true } = {}) => {
    const flags = program.opts<GlobalFlags>();
    const output = formats ? parseOutputFormat(flags.output) : "table";
    let connected: Cluster | undefined;
    try {
      // Commands about this node work without any cluster.
      const context = {
        io,
        output,
        namespace: flags.namespace,
        get cluster() {
          connected ??= to(flags, io);
          asPod = connected.mounted !== undefined;
          return connected;
        },
      };
      status = await action(context);
    } finally {
      connected?.[Symbol.dispose]();
    }
  };
  addCommands(program, run);
  try {
    await program.parseAsync(argv, { from: "user" });
    return status;
  } catch (error) {
    // Commander has already printed its message or the help.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitOk : exitUnknown;
    const mayNot = hasReason(error, "Forbidden", "Unauthorized");
    io.err(`error: ${formatError(error)}\n${mayNot && asPod ? otherRights : untold(error)}`);
    return unanswerable.some((code) => hasCode(error, code)) || mayNot ? exitUnknown : exitFailed;
  }
}

/** What helps whom a Pod's account has too few rights: an agent's has those of its node. */
const otherRights =
  "Commands about the cluster: in the controller's Pod, or where kubectl has a kubeconfig; they may need more rights than ours.\n";

/** Codes that mean: the command line is wrong, or nothing answers. */
const unanswerable = [
  "OPTIONS_INVALID",
  "KUBE_CONFIG_INVALID",
  "KUBE_CONFIG_MISSING",
  "KUBE_CREDENTIALS",
  "API_UNREACHABLE",
  "AGENT_UNREACHABLE",
  "BUNDLE_EMPTY",
];

/** Details of an error that its message does not contain, one per line: the file, the server, the choices. */
function untold(error: unknown): string {
  // The API server's message is complete.
  if (!(error instanceof SpiderError) || error.code === "API_STATUS") return "";
  const sentence = formatError(error);
  return Object.entries(error.details)
    .map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)] as const)
    .filter(([, value]) => !sentence.includes(value))
    .map(([name, value]) => `  ${name}: ${value}\n`)
    .join("");
}

/** Adds the global options. Returns the program. */
export function addGlobalOptions(program: Command): Command {
  return program
    .version(productVersion, "-V, --version", "print the version")
    .description("Shows, explains and repairs the addresses and networks that Spiderpool gives to Pods.")
    .showHelpAfterError(`${program.name()} --help lists the commands, ${program.name()} COMMAND --help what one takes.`)
    .option("--kubeconfig <file>", "the kubeconfig to use")
    .option("--context <name>", "the context of the kubeconfig to use")
    .option("-n, --namespace <name>", "the namespace of objects that are named without one")
    .option("-o, --output <format>", outputFormats.join(", "), "table");
}

/** Registers every command. */
export function addCommands(program: Command, run: Run): void {
  addBundleCommand(program, run);
  addCheckCommand(program, run);
  addDoctorCommand(program, run);
  addExplainCommand(program, run);
  addGcCommand(program, run);
  addIpCommands(program, run);
  addNetCommands(program, run);
  addNodeCommand(program, run);
  addPlanCommand(program, run);
  addTraceCommand(program, run);
  addValidateCommand(program, run);
}
