import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { LabHandle } from "../launch.ts";

const execute = promisify(execFile);
/** A command that takes longer has failed. */
const commandMsMax = 300_000;

interface StageOptions {
  readonly lab: LabHandle;
  readonly kubectl: string;
  /** The namespace of the chart's release. */
  readonly helm?: string;
  /** Gets each line. @default the standard output */
  readonly print?: (line: string) => void;
}

/** The result of a command. */
interface Outcome {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Plays a scenario: shows each command with its real output, and counts checks. */
export class Stage {
  readonly lab: LabHandle;
  readonly #kubectl: string;
  readonly #helm: string | undefined;
  readonly #print: (line: string) => void;
  readonly failures: string[] = [];
  passed = 0;

  constructor({ lab, kubectl, helm, print = (line) => console.log(line) }: StageOptions) {
    this.lab = lab;
    this.#kubectl = kubectl;
    this.#helm = helm;
    this.#print = print;
  }

  title(text: string): void {
    this.#print(`\n── ${text} ${"─".repeat(Math.max(3, 76 - text.length))}`);
  }

  say(text: string): void {
    for (const line of text.split("\n")) this.#print(line === "" ? "" : `  ${line}`);
  }

  /** Runs kubectl as a user would and shows it. A failure is shown, counted and returned, never thrown. */
  async kubectl(...argv: readonly string[]): Promise<Outcome> {
    this.#show("#", ["kubectl", ...argv]);
    const outcome = await this.quiet(...argv);
    this.#showOutput(outcome);
    if (!outcome.ok) this.check(`kubectl ${argv[0]} succeeds`, false, outcome.stderr.trim());
    return outcome;
  }

  /** Runs kubectl without showing it. */
  async quiet(...argv: readonly string[]): Promise<Outcome> {
    return await this.input("", ...argv);
  }

  /** {@link quiet} with this as standard input. */
  async input(input: string, ...argv: readonly string[]): Promise<Outcome> {
    return await this.#execute(this.#kubectl, argv, input);
  }

  /** Runs helm as a user would, with files of its own, and shows it. Like {@link kubectl}. */
  async helm(...argv: readonly string[]): Promise<Outcome> {
    if (this.#helm === undefined) throw new TypeError("this stage was made without helm");
    this.#show("#", ["helm", ...argv]);
    const outcome = await this.#execute(this.#helm, argv, "");
    this.#showOutput(outcome);
    if (!outcome.ok) this.check(`helm ${argv[0]} succeeds`, false, outcome.stderr.trim());
    return outcome;
  }

  #execute(program: string, argv: readonly string[], input: string): Promise<Outcome> {
    const { kubeconfig, directory } = this.lab;
    const env = {
      PATH: process.env["PATH"],
      HOME: directory,
      KUBECONFIG: kubeconfig,
      KUBECACHEDIR: join(directory, "cache"),
    };
    const running = execute(program, [...argv], { env, timeout: commandMsMax, maxBuffer: 1 << 26 });
    running.child.stdin?.on("error", () => {}); // EPIPE: the command does not read its input.
    running.child.stdin?.end(input);
    return outcomeOf(running);
  }

  /** Runs a command on a node and shows it. */
  async onNode(node: string, ...argv: readonly string[]): Promise<Outcome> {
    this.#show(`${node} #`, argv);
    const outcome = await outcomeOf(this.lab.run({ node, argv }).then((stdout) => ({ stdout, stderr: "" })));
    this.#showOutput(outcome);
    return outcome;
  }

  /** Shows a tick, or a cross with the value found. */
  check(what: string, ok: boolean, found = ""): void {
    this.#print(ok ? `  ✔ ${what}` : `  ✘ ${what}${found === "" ? "" : `: ${found}`}`);
    if (ok) this.passed += 1;
    else this.failures.push(found === "" ? what : `${what}: ${found}`);
  }

  #show(prompt: string, argv: readonly string[]): void {
    this.#print(`${prompt} ${argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`)).join(" ")}`);
  }

  #showOutput({ stdout, stderr }: Outcome): void {
    const text = `${stdout}${stderr}`.trimEnd();
    if (text !== "") for (const line of text.split("\n")) this.#print(line);
  }
}

async function outcomeOf(running: Promise<{ readonly stdout: string; readonly stderr: string }>): Promise<Outcome> {
  try {
    return { ok: true, ...(await running) };
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    return { ok: false, stdout, stderr: stderr === "" ? (error as Error).message : stderr };
  }
}
