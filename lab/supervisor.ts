import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { type Logger, SpiderError } from "#base";
import { createApiServer, createLabClient, type LabClient } from "./api/index.ts";
import { startControllers } from "./controllers/index.ts";
import { kubeconfigFor } from "./kubeconfig.ts";
import { Program } from "./program.ts";
import { apiDescriptor, type LabCommands, type LabSpec, nodePidDirectory, type ProductProgram } from "./protocol.ts";
import {
  createBridges,
  createDatabase,
  createNetworks,
  enterLab,
  type LabNode,
  managementGateway,
  type Networks,
  type NodePlan,
  type NodeProcess,
  nodePlan,
  run,
  spawnProgram,
  startNode,
  startOpenVswitch,
} from "./topology/index.ts";

/** What {@link createLab} needs from the program around it. */
interface LabHooks {
  readonly log: Logger;
  /** Called for each phase that is reached. */
  readonly phase: (name: string) => void;
  /** The command line of this program in its role as kubelet; a JSON text is appended. */
  readonly kubelet: readonly string[];
}

const apiPort = 6_443;
const kubeconfigPath = "/var/lib/kubelet/kubeconfig";

/** URL of the API server inside the lab. */
export const apiUrl = `http://${managementGateway}:${apiPort}`;
const nodesKubeconfig = kubeconfigFor(apiUrl);

/** Builds the whole lab in the present namespaces, which must be its own, and resolves when every node is registered. */
export async function createLab(spec: LabSpec, hooks: LabHooks): Promise<LabCommands> {
  enterLab();
  const logDirectory = spec.logDirectory ?? "/run/lab/log";
  for (const dir of [logDirectory, nodePidDirectory]) mkdirSync(dir, { recursive: true });
  const api = createApiServer({ log: hooks.log, crds: spec.crds ?? [], webhooks: spec.webhooks, rights: spec.rights });
  const client = createLabClient({ api });
  const [networks, database] = await Promise.all([
    createNetworks(),
    spec.openVswitch === false ? undefined : createDatabase(),
    api.listen({ fd: apiDescriptor }),
  ]);
  await api.listen({ host: managementGateway, port: apiPort });
  hooks.phase("the API server answers");
  for (const { resource, object } of spec.objects ?? []) await client.create(resource, object);
  await startControllers({ client, log: hooks.log });
  const lab = new Lab({ spec, hooks, networks, database, logDirectory });
  await Promise.all(Array.from({ length: spec.nodes }, (_, index) => lab.powerOn({ node: nodePlan(index).name })));
  hooks.phase("the nodes' kernels and Open vSwitch run");
  await registered(client, spec.nodes);
  hooks.phase("the nodes are registered");
  if (spec.controller !== undefined) lab.startController(spec.controller);
  return lab;
}

/** Resolves when this many Nodes exist. */
async function registered(client: LabClient, count: number): Promise<void> {
  const names = new Set<string>();
  const stop = new AbortController();
  const { done } = client.watch("v1/nodes", { signal: stop.signal }, ({ object }) => {
    names.add(object.metadata.name);
    if (names.size >= count) stop.abort();
  });
  if (count > 0) await done.catch(() => {});
  stop.abort();
}

interface LabParts {
  readonly spec: LabSpec;
  readonly hooks: LabHooks;
  readonly networks: Networks;
  readonly database: string | undefined;
  readonly logDirectory: string;
}

interface Machine {
  readonly node: LabNode;
  readonly programs: Map<string, Program>;
}

class Lab implements LabCommands {
  readonly #parts: LabParts;
  readonly #plans: ReadonlyMap<string, NodePlan>;
  readonly #machines = new Map<string, Machine>();
  readonly #programs = new Map<string, Program>();

  constructor(parts: LabParts) {
    this.#parts = parts;
    const plans = Array.from({ length: parts.spec.nodes }, (_, index) => nodePlan(index));
    this.#plans = new Map(plans.map((plan) => [plan.name, plan]));
  }

  startController({ argv, env }: ProductProgram): void {
    const kubeconfig = "/run/lab/kubeconfig";
    writeFileSync(kubeconfig, nodesKubeconfig);
    const program = {
      argv,
      env: { ...process.env, KUBECONFIG: kubeconfig, ...env },
      logFile: this.#logFile("controller"),
    };
    this.#programs.set(
      "controller",
      this.#keep("controller", () => spawnProgram(program)),
    );
  }

  async powerOn({ node: name }: { readonly node: string }): Promise<void> {
    const plan = this.#plans.get(name);
    if (plan === undefined || this.#machines.has(name))
      throw new SpiderError("LAB_NO_NODE", `there is no node ${name} that is switched off`);
    const { networks, database, spec, hooks } = this.#parts;
    const node = await startNode(plan, networks);
    const programs = new Map<string, Program>();
    this.#machines.set(name, { node, programs });
    writeFileSync(`${nodePidDirectory}/${name}`, String(node.pid));
    await node.run(["sh", "-c", 'cat >"$0"', kubeconfigPath], { input: nodesKubeconfig });
    const kubelet = [...hooks.kubelet, JSON.stringify({ nodeName: name, managementIp: plan.managementIp })];
    programs.set("kubelet", this.#onNode(node, "kubelet", { argv: kubelet }));
    if (database !== undefined) await startOpenVswitch(node, database);
    if (spec.bridges === true) await createBridges(node);
    if (spec.agent !== undefined) programs.set("agent", this.#onNode(node, "agent", spec.agent));
  }

  async powerOff({ node: name }: { readonly node: string }): Promise<void> {
    const { node, programs } = this.#machine(name);
    this.#machines.delete(name);
    rmSync(`${nodePidDirectory}/${name}`, { force: true });
    for (const program of programs.values()) program.abandon();
    await node.powerOff();
  }

  async run(request: { readonly node?: string; readonly argv: readonly string[]; readonly input?: string }) {
    const { node, argv, input = "" } = request;
    return node === undefined ? await run(argv, { input }) : await this.#machine(node).node.run(argv, { input });
  }

  async createBridges({ node }: { readonly node: string }): Promise<readonly string[]> {
    return await createBridges(this.#machine(node).node);
  }

  async kill({
    node,
    program,
    signal,
  }: {
    readonly node?: string;
    readonly program: string;
    readonly signal: NodeJS.Signals;
  }) {
    this.#program(node, program).signal(signal);
  }

  async hold({ node, program, held }: { readonly node?: string; readonly program: string; readonly held: boolean }) {
    await this.#program(node, program).hold(held);
  }

  #machine(name: string): Machine {
    const machine = this.#machines.get(name);
    if (machine === undefined) throw new SpiderError("LAB_NO_NODE", `there is no node ${name} that is switched on`);
    return machine;
  }

  #program(node: string | undefined, name: string): Program {
    const program = (node === undefined ? this.#programs : this.#machine(node).programs).get(name);
    if (program === undefined)
      throw new SpiderError("LAB_NO_PROGRAM", `the lab runs no ${name} on ${node ?? "its own"}`);
    return program;
  }

  #onNode(node: LabNode, name: string, { argv, env }: ProductProgram): Program {
    const variables = { ...process.env, KUBECONFIG: kubeconfigPath, NODE_NAME: node.name, ...env };
    const program = { argv, env: variables, logFile: this.#logFile(`${node.name}-${name}`) };
    return this.#keep(`${node.name} ${name}`, () => node.spawn(program));
  }

  #keep(name: string, start: () => NodeProcess): Program {
    return new Program(start, (how) =>
      this.#parts.hooks.log.warn({ program: name, how }, "a program ended and is started again"),
    );
  }

  #logFile(name: string): string {
    return `${this.#parts.logDirectory}/${name}.log`;
  }
}
