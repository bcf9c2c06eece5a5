import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Cpu } from "./tasks.ts";

/** USER_HZ: what /proc counts CPU time in, on every Linux platform. */
const msPerTick = 10;

/** The programs of a node that are measured, as seen from inside it. */
export class Processes {
  readonly #agent: string;
  readonly #switch: readonly string[];

  constructor() {
    const [agent] = pidsOf("agent.mjs");
    if (agent === undefined) throw new Error("no agent runs on this node");
    this.#agent = agent;
    this.#switch = [...pidsOf("ovs-vswitchd"), ...pidsOf("ovsdb-server")];
  }

  /** Starts a new count of the agent's largest resident set. */
  resetPeak(): void {
    writeFileSync(`/proc/${this.#agent}/clear_refs`, "5");
  }

  peakRssMb(): number {
    return statusMb(this.#agent, "VmHWM");
  }

  rssMb(): number {
    return statusMb(this.#agent, "VmRSS");
  }

  /** CPU time since each program's start. The shims are this process's children. */
  cpu(): Cpu {
    const [, , , childUser = 0, childSystem = 0] = ticksOf("self");
    return {
      agentMs: own(ticksOf(this.#agent)),
      shimsMs: (childUser + childSystem) * msPerTick,
      switchMs: this.#switch.reduce((sum, pid) => sum + own(ticksOf(pid)), 0),
    };
  }
}

/** CPU time of a process since its start, in milliseconds. */
export function cpuMsOf(pid: number): number {
  return own(ticksOf(String(pid)));
}

/** Processes and threads started on this machine since its boot. */
export function forks(): number {
  return Number(/^processes (\d+)/m.exec(readFileSync("/proc/stat", "utf8"))?.[1]);
}

/** CPU time, in milliseconds, of the programs of this name that run in the present PID namespace; 0 if there is none. */
export function cpuMsOfProgram(name: string): number {
  return pidsOf(name).reduce((sum, pid) => sum + own(ticksOf(pid)), 0);
}

/** Resident memory, in MB, of the same programs. */
export function rssMbOfProgram(name: string): number {
  return pidsOf(name).reduce((sum, pid) => sum + statusMb(pid, "VmRSS"), 0);
}

function own([, user = 0, system = 0]: readonly number[]): number {
  return (user + system) * msPerTick;
}

/** pid, utime, stime, cutime, cstime: see proc_pid_stat(5). The command's name may hold blanks and parentheses. */
function ticksOf(pid: string): readonly number[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return [Number.parseInt(text, 10), ...fields.slice(11, 15).map(Number)];
}

/** One of the sizes in proc_pid_status(5), in MB. */
export function statusMb(pid: number | string, field: "VmRSS" | "VmHWM"): number {
  const kb = new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kb) / 1024;
}

function pidsOf(word: string): readonly string[] {
  return readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && commandLine(pid).some((arg) => arg.endsWith(word)));
}

function commandLine(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, 8);
  } catch {
    return []; // It ended meanwhile.
  }
}
