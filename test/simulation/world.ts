import { type Logger, silentLogger } from "#base";
import { runAgent } from "../../src/agent/agent.ts";
import { readOptions as agentOptions } from "../../src/agent/options.ts";
import { readOptions as controllerOptions } from "../../src/controller/options.ts";
import { runProgram } from "../../src/controller/program.ts";
import { Applications } from "./cluster/applications.ts";
import { Kubelet, type Kubelet as KubeletT, type Sandbox } from "./cluster/kubelet.ts";
import { Machine } from "./cluster/machine.ts";
import { Network } from "./cluster/network.ts";
import { Server } from "./cluster/server.ts";
import { Stateful } from "./cluster/stateful.ts";
import { Virtual } from "./cluster/virtual.ts";
import { Wire } from "./cluster/wire.ts";
import { poolName, shape } from "./history.ts";
import { Law } from "./law/law.ts";
import { Violation } from "./law/violation.ts";
import { Process } from "./runtime/process.ts";
import { Random } from "./runtime/random.ts";
import { Time } from "./runtime/time.ts";

/** A node and what runs on it. */
export interface Node {
  readonly machine: Machine;
  /** What the runtime remembers. */
  readonly sandboxes: Set<Sandbox>;
  agent: Process | undefined;
  kubelet: KubeletT | undefined;
  kubeletProcess: Process | undefined;
}

interface WorldOptions {
  readonly seed: string;
  readonly nodes: number;
  readonly controllers: number;
  readonly log?: Logger;
}

const ofHost = { hostNetwork: true, containers: [], restartPolicy: "Always" };

/** No more of a wall clock's error than this, in either direction. */
const skewMsMax = 600_000;

/** A cluster in one process: machines, kubelets, the product's programs, and an API server, under the world's time. */
export class World {
  readonly time = new Time();
  /** Of the networks' pools: what each is called now. */
  readonly poolNames = Array.from({ length: shape.pools }, (_, at) => poolName(at));
  readonly server: Server;
  readonly network: Network;
  readonly nodes: readonly Node[];
  readonly controllers: (Process | undefined)[];
  readonly violations: Violation[] = [];
  readonly #options: WorldOptions;
  readonly law: Law;
  readonly wire: Wire;
  readonly stateful: Stateful;
  readonly virtual: Virtual;
  readonly applications: Applications;
  #starts = 0;
  #registered = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.server = new Server(this.time);
    this.network = new Network(this.server, this.time, options.seed);
    this.nodes = Array.from({ length: options.nodes }, (_, at) => ({
      machine: new Machine(`n${at + 1}`),
      sandboxes: new Set<Sandbox>(),
      agent: undefined,
      kubelet: undefined,
      kubeletProcess: undefined,
    }));
    this.controllers = Array.from({ length: options.controllers }, () => undefined);
    const machines = this.nodes.map(({ machine }) => machine);
    this.wire = new Wire(machines);
    const detects = new Random(options.seed, "detection").chance(0.3);
    for (const machine of machines) Object.assign(machine, { wire: this.wire, detects });
    const { server, time } = this;
    this.stateful = new Stateful({ server, time, seed: options.seed });
    this.virtual = new Virtual({ server, time, seed: options.seed });
    this.applications = new Applications({ server, time, seed: options.seed });
    this.law = new Law({
      server,
      time,
      machines,
      onViolation: (violation) => this.violations.push(violation),
    });
    for (const node of this.nodes) {
      this.register(node);
      this.startKubelet(node);
      this.startAgent(node);
    }
    for (const at of this.controllers.keys()) this.startController(at);
  }

  get isBroken(): boolean {
    return this.violations.length > 0;
  }

  /** The node at this place. Throws if there is none. */
  node(at: number): Node {
    const node = this.nodes[at];
    if (node === undefined) throw new RangeError(`there is no node ${at}`);
    return node;
  }

  register({ machine }: Node): void {
    if (this.server.get("/nodes", { name: machine.name }) !== undefined) return;
    const spec = { podCIDR: `10.244.${this.#registered++}.0/24` };
    this.server.create("v1", "nodes", { kind: "Node", metadata: { name: machine.name }, spec });
    this.heartbeat(machine.name, "True");
  }

  /** What the cluster says of a node: its kubelet's word, or that it has none. */
  heartbeat(name: string, ready: "True" | "Unknown"): void {
    const node = this.server.get("/nodes", { name });
    if (node === undefined) return;
    const status = { ...(node["status"] as object), conditions: [{ type: "Ready", status: ready }] };
    this.server.update("v1", "nodes", { ...node, status }, { status: true });
  }

  /** The agent's Pod, as kubelet tells of it. */
  #tellAgent({ machine }: Node, ready: "True" | "False"): void {
    const name = `agent-${machine.name}`;
    const namespace = "kube-system";
    const labels = { "app.kubernetes.io/component": "spiderpool-agent" };
    const body = { kind: "Pod", metadata: { name, namespace, labels }, spec: { ...ofHost, nodeName: machine.name } };
    const pod = this.server.get("/pods", { name, namespace }) ?? this.server.create("v1", "pods", body, namespace);
    const podIPs = [{ ip: "192.0.2.1" }];
    const status = { phase: "Running", podIPs, conditions: [{ type: "Ready", status: ready }] };
    this.server.update("v1", "pods", { ...pod, status }, { status: true });
  }

  /** What a node that runs says of itself, whatever was said before. */
  tellAll(node: Node): void {
    this.register(node);
    this.heartbeat(node.machine.name, "True");
    this.#tellAgent(node, "True");
  }

  startKubelet(node: Node): void {
    const { machine, sandboxes } = node;
    const process = this.#process(`kubelet ${machine.name}`, machine, 0);
    node.kubeletProcess?.kill();
    node.kubeletProcess = process;
    const onAnswered = (sandbox: Sandbox) => this.law.answered(machine, sandbox);
    node.kubelet = new Kubelet({ server: this.server, machine, process, sandboxes, onAnswered });
    node.kubelet.start();
  }

  startAgent(node: Node): void {
    const { machine } = node;
    const agent = this.#process(`agent ${machine.name}`, machine, this.#skewOf(machine.name));
    node.agent = agent;
    const options = agentOptions(["daemon"], {
      SPIDERPOOL_NODE_NAME: machine.name,
      SPIDERPOOL_POD_NAMESPACE: "kube-system",
      SPIDERPOOL_LOG_LEVEL: "error",
      MULTUS_CLUSTER_NETWORK: "first",
      SPIDERPOOL_CRASH_POINTS: "true",
    });
    if ("print" in options) throw new Error("these options start an agent");
    this.time.after(2_000, () => {
      if (!agent.isDead) this.#tellAgent(node, "True");
    });
    agent.run(() => this.#run(agent, (signal) => runAgent(options, this.#log(agent), { signal })));
  }

  killAgent(node: Node): void {
    node.agent?.kill();
    if (node.machine.isOn) this.time.after(1_000, () => node.agent ?? this.#tellAgent(node, "False"));
    if (node.machine.listener?.process === node.agent) node.machine.listener = undefined;
    node.agent = undefined;
  }

  startController(at: number): void {
    const name = `controller ${"abc"[at] ?? at}`;
    const controller = this.#process(name, new Machine(name), this.#skewOf(name));
    this.controllers[at] = controller;
    const options = controllerOptions(["daemon"], {
      SPIDERPOOL_POD_NAME: name.replace(" ", "-"),
      SPIDERPOOL_POD_NAMESPACE: "kube-system",
      SPIDERPOOL_LOG_LEVEL: "error",
    });
    if ("print" in options) throw new Error("these options start a controller");
    controller.run(() => this.#run(controller, (signal) => runProgram(options, this.#log(controller), { signal })));
  }

  killController(at: number): void {
    this.controllers[at]?.kill();
    this.controllers[at] = undefined;
  }

  /** Every process that runs. */
  processes(): readonly Process[] {
    return [...this.nodes.map(({ agent }) => agent), ...this.controllers].filter((one) => one !== undefined);
  }

  /** Nothing runs on. */
  end(): void {
    for (const process of this.processes()) process.kill();
    for (const { kubeletProcess } of this.nodes) kubeletProcess?.kill();
  }

  #run(process: Process, act: (signal: AbortSignal) => Promise<void>): void {
    const stop = new AbortController();
    act(stop.signal).catch((error: unknown) => {
      if (!process.isDead) throw error;
    });
  }

  #process(name: string, machine: Machine, skewMs: number): Process {
    const seed = `${this.#options.seed}/${this.#starts++}`;
    const process = new Process({ time: this.time, name, seed, skewMs, machine });
    process.transport = this.network.transportOf(process);
    return process;
  }

  #skewOf(name: string): number {
    return Math.round(new Random(this.#options.seed, "skew", name).between(-skewMsMax, skewMsMax));
  }

  #log({ name }: Process): Logger {
    const mistaken = (text: string) =>
      this.violations.push(new Violation("the simulation is whole", `${name}: ${text}`));
    return watching(this.#options.log?.child({ process: name }) ?? silentLogger, mistaken);
  }
}

/** A program may only log that a replaced module lacks an export: then a part of it would not be simulated. */
function watching(log: Logger, mistaken: (text: string) => void): Logger {
  const heard = (level: "warn" | "error") => (fields: object, message: string) => {
    const { err } = fields as { readonly err?: unknown };
    const text = err instanceof Error ? err.message : String(err ?? "");
    if (/is not a function|is not simulated|Cannot read properties/.test(text)) mistaken(`${message}: ${text}`);
    log[level](fields, message);
  };
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: heard("warn"),
    error: heard("error"),
    child: (fields) => watching(log.child(fields), mistaken),
  };
}
