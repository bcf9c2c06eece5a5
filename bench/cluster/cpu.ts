import { cpuMsOfProgram } from "../processes.ts";
import { round } from "../report.ts";
import type { ServerKind } from "./server.ts";

/** `agents` is for all of them together, or for the process that plays them. */
export interface CpuSeconds {
  readonly server: number;
  readonly etcd: number;
  readonly controller: number;
  readonly agents: number;
}

/** The CPU time of the cluster's programs. */
export class CpuMeter {
  readonly #server: ServerKind;
  #before: CpuSeconds;

  constructor(server: ServerKind) {
    this.#server = server;
    this.#before = this.#now();
  }

  /** Since the last time. */
  lap(): CpuSeconds {
    const [before, now] = [this.#before, this.#now()];
    this.#before = now;
    const since = (program: keyof CpuSeconds) => round((now[program] - before[program]) / 1_000);
    return { server: since("server"), etcd: since("etcd"), controller: since("controller"), agents: since("agents") };
  }

  #now(): CpuSeconds {
    const { user, system } = process.cpuUsage();
    return {
      server: cpuMsOfProgram(this.#server === "real" ? "kube-apiserver" : "lab.mjs"),
      etcd: cpuMsOfProgram("etcd"),
      controller: cpuMsOfProgram("controller.mjs"),
      agents: (user + system) / 1_000,
    };
  }
}
