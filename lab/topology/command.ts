import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { SpiderError } from "#base";

/** Standard input, environment and cancellation of a command. */
export interface RunOptions {
  /** Given to the command's standard input. */
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

/** Runs a program to its end and returns its standard output. Throws SpiderError LAB_COMMAND with argv, status and stderr. */
export async function run(argv: readonly string[], { input = "", env, signal }: RunOptions = {}): Promise<string> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: "pipe", ...(env && { env }), ...(signal && { signal }) });
  child.stdin.on("error", () => {}); // EPIPE: the program does not read its input
  child.stdin.end(input);
  const ended = new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, killedBy) => resolve(status ?? killedBy));
  });
  try {
    const [status, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
    if (status === 0) return stdout;
    throw new SpiderError("LAB_COMMAND", `${argv.join(" ")}: ${stderr.trim() || `ended with ${status}`}`, {
      details: { argv, status, stderr, stdout },
    });
  } catch (error) {
    if (error instanceof SpiderError) throw error;
    throw new SpiderError("LAB_COMMAND", `${program} could not be run`, { details: { argv }, cause: error });
  }
}

/** Feeds several `ip` commands to one process, in the namespace that `prefix` enters. */
export async function ipBatch(prefix: readonly string[], lines: readonly string[]): Promise<void> {
  await run([...prefix, "ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
}
