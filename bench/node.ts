import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createLabClient, type LabClient } from "../lab/api/index.ts";
import type { LabHandle } from "../lab/launch.ts";
import { rssMb } from "../lab/scenarios/memory.ts";
import { type Flight, readFlights } from "../lab/scenarios/waterfall.ts";
import { launchProductLab } from "../scripts/common/product-lab.ts";
import { monotonicMs } from "./monotonic.ts";
import { benchAnnotations, prepareNetwork } from "./prepare.ts";
import { cpuMsOf } from "./processes.ts";
import type { FloorOutcome, FloorPlan, FloorTask, Outcome, Plan, Task } from "./tasks.ts";

const runner = fileURLToPath(new URL("runner.ts", import.meta.url));
const floor = fileURLToPath(new URL("floor/main.ts", import.meta.url));
const probe = fileURLToPath(new URL("probe.ts", import.meta.url));
const fairNamespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "fair" } };
const sampleMs = 10;
/** Of the lab's API server, as seen from a node. */
const apiUrl = "http://10.222.0.1:6443";
/** How many calls are made first, to warm up code and caches. */
const warmUpPairs = 10;

/** The CPU time that the API server, a process of the lab, used meanwhile. */
export interface Measured extends Outcome {
  readonly apiServerMs: number;
}

/** The API server's CPU time from one moment to another, on CLOCK_MONOTONIC. */
type ApiServerMs = (between: Pick<Outcome, "startMs" | "endMs">) => number;

export interface RunOptions {
  /** Pods that are added and removed before anything is measured. */
  readonly warmUp?: number;
  /** The Pods' annotations. @default those of the network of Open vSwitch */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A lab with one node that is measured and one from which its Pods are reached. */
export class BenchNode implements AsyncDisposable {
  readonly #lab: LabHandle;
  readonly #node = "node1";
  readonly #neighbour = "node2";

  private constructor(lab: LabHandle) {
    this.#lab = lab;
  }

  /** Of the lab's API server. */
  get client(): LabClient {
    return createLabClient({ baseUrl: this.#lab.url });
  }

  get node(): string {
    return this.#node;
  }

  /** Starts it, with a pool and a network for all Pods of the bench; its kubelets are held, the runner takes their place. */
  static async launch(): Promise<BenchNode> {
    const lab = await launchProductLab({ nodes: 2, bridges: true, logLevel: "warn" });
    const bench = new BenchNode(lab);
    await prepareNetwork(lab);
    await bench.client.create("v1/namespaces", fairNamespace);
    for (const node of [bench.#node, bench.#neighbour]) await lab.hold({ node, program: "kubelet", held: true });
    return bench;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab.stop();
  }

  /** Runs one task on the node and samples the API server's CPU time meanwhile. */
  async run(task: Task, { warmUp = warmUpPairs, annotations = benchAnnotations }: RunOptions = {}): Promise<Measured> {
    const plan: Plan = {
      nodeName: this.#node,
      apiUrl,
      annotations,
      warmUp,
      task,
    };
    const { output, apiServerMs } = await this.#sampled(runner, plan);
    const outcome = output as Outcome;
    return { ...outcome, apiServerMs: apiServerMs(outcome) };
  }

  /**
   * Measures what kernel, Open vSwitch and API server need by themselves. The second result is a function that returns the API
   * server's CPU time within a part of the run.
   */
  async floor(task: FloorTask): Promise<readonly [FloorOutcome, ApiServerMs]> {
    const plan: FloorPlan = { nodeName: this.#node, apiUrl, task };
    const { output, apiServerMs } = await this.#sampled(floor, plan);
    return [output as FloorOutcome, apiServerMs];
  }

  /** Returns the addresses that do not answer ping or TCP from the other node. */
  async silent(ips: readonly string[]): Promise<readonly string[]> {
    return (await this.#script(this.#neighbour, probe, ips)) as readonly string[];
  }

  /** The last `count` successful ADDs, as the agent recorded them. */
  async flights(count: number): Promise<readonly Flight[]> {
    const all = await readFlights(this.#lab, this.#node);
    return all.filter(({ verb, error }) => verb === "ADD" && error === undefined).slice(-count);
  }

  /** Resident memory of the node's agent. */
  async agentRssMb(): Promise<number> {
    return Math.max(0, ...(await rssMb(this.#lab, this.#node, "agent")));
  }

  /** Cuts the node's power and switches it on again. Its kubelet stays held. */
  async reboot(): Promise<void> {
    await this.#lab.powerOff({ node: this.#node });
    await this.#lab.powerOn({ node: this.#node });
    await this.#lab.hold({ node: this.#node, program: "kubelet", held: true });
    const conf =
      "until ls /etc/cni/net.d/*multus* >/dev/null 2>&1 && [ -S /var/run/spidernet/cni.sock ]; do sleep 0.02; done";
    await this.#lab.run({ node: this.#node, argv: ["timeout", "30", "sh", "-c", conf] });
  }

  /** Runs a script on the node and samples the API server's CPU time meanwhile. */
  async #sampled(
    script: string,
    plan: unknown,
  ): Promise<{ readonly output: unknown; readonly apiServerMs: ApiServerMs }> {
    const samples: { readonly atMs: number; readonly cpuMs: number }[] = [];
    const stop = new AbortController();
    const sampling = this.#sample(samples, stop.signal);
    const output = await this.#script(this.#node, script, plan);
    stop.abort();
    await sampling;
    const at = (ms: number) => samples.findLast(({ atMs }) => atMs <= ms)?.cpuMs ?? 0;
    return { output, apiServerMs: ({ startMs, endMs }) => at(endMs + sampleMs) - at(startMs) };
  }

  async #script(node: string, script: string, input: unknown): Promise<unknown> {
    // Each process of a burst needs a thread that waits for it. With Node's usual four, most ends would be noticed late.
    const argv = ["env", "UV_THREADPOOL_SIZE=512", process.execPath, script];
    return JSON.parse(await this.#lab.run({ node, argv, input: JSON.stringify(input) }));
  }

  async #sample(samples: { readonly atMs: number; readonly cpuMs: number }[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      samples.push({ atMs: monotonicMs(), cpuMs: cpuMsOf(this.#lab.pid) });
      await delay(sampleMs);
    }
  }
}
