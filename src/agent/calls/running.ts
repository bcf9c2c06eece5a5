import { randomUUID } from "node:crypto";
import { type Clock, type Logger, Steps, type StepsOptions } from "#base";
import { type CniRequest, noSuchPlugin } from "#cni";
import type { Exec, Host, ShimExec } from "../sandboxes/foreign.ts";
import { isForAllNetworks } from "../sandboxes/recording.ts";

/** By it a call of ours that a foreign plugin makes is told from all others: it belongs to the call that runs the plugin. */
export const parentVariable = "CNI_SPIDERPOOL_CALL";
/** What the undoing of a failed call may take, all foreign plugins together. */
const undoMsMax = 20_000;
/** The shim ends a plugin so much later than the call's own deadline, which says why. */
const deadlineFirstMs = 20;
/** Characters of what a plugin said that are logged. */
const stderrMax = 4_096;

interface RunningOptions extends Pick<StepsOptions, "failPoint" | "signal" | "turn"> {
  readonly clock: Clock;
  readonly log: Logger;
  readonly containerId: string;
  readonly deadlineMs: number;
  readonly exec: ShimExec;
}

/** A call under way: its stages, and its way to run foreign plugins, none of which outlives it. */
export class Running {
  /** Known to the plugins that it runs, and to nobody else. */
  readonly token = randomUUID();
  readonly containerId: string;
  readonly steps: Steps;
  readonly #clock: Clock;
  readonly #exec: ShimExec;
  readonly #log: Logger;
  #untilMs: number;
  #undoFailed = false;

  constructor({ clock, log, containerId, deadlineMs, exec, signal, failPoint, turn }: RunningOptions) {
    this.containerId = containerId;
    this.#clock = clock;
    this.#exec = exec;
    this.#log = log;
    this.#untilMs = clock.monotonicMs() + deadlineMs;
    this.steps = new Steps({
      clock,
      signal,
      ...(failPoint !== undefined && { failPoint }),
      ...(turn !== undefined && { turn }),
      onUndoError: (stage, err) => {
        this.#undoFailed = true;
        log.error({ containerId, stage, err }, "a step of a failed call could not be undone");
      },
    });
  }

  /** False once something could not be undone: the call's record is then still of use. */
  get undone(): boolean {
    return !this.#undoFailed;
  }

  /** Runs a plugin in the time that is left. */
  readonly exec: Exec = async ({ timeoutMs = Number.POSITIVE_INFINITY, env, ...command }) => {
    const leftMs = Math.max(1, Math.ceil(this.#untilMs - this.#clock.monotonicMs())) + deadlineFirstMs;
    const output = await this.#exec({
      ...command,
      env: { ...env, [parentVariable]: this.token },
      timeoutMs: Math.min(timeoutMs, leftMs),
    });
    const { containerId } = this;
    const said = Buffer.from(output.stderr).toString().trim();
    // Plugins log there; what they answer with is on stdout.
    if (said !== "" && said !== noSuchPlugin)
      this.#log.info({ containerId, plugin: command.argv0, stderr: said.slice(0, stderrMax) }, "a plugin said");
    return output;
  };

  async abort(): Promise<void> {
    this.#untilMs = Math.max(this.#untilMs, this.#clock.monotonicMs()) + undoMsMax;
    await this.steps.abort();
  }
}

/** Where the call's foreign plugins are: the runtime's directories, behind the one that multus was told to prefer. */
export function hostOf(request: CniRequest, { exec }: Running): Host {
  const { config, path } = request;
  const { binDir } = isForAllNetworks(request) ? config.raw : {};
  const preferred = typeof binDir === "string" && binDir !== "" && !path.includes(binDir) ? [binDir] : [];
  return { exec, path: [...preferred, ...path] };
}
