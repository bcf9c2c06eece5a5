import { mkdirSync, writeFileSync } from "node:fs";
import type { Logger } from "#base";
import { createApiServer, createLabClient, type LabClient } from "./api/index.ts";
import { startControllers } from "./controllers/index.ts";
import { type Machine, Machines } from "./machines.ts";
import { Program } from "./program.ts";
import { apiDescriptor, type LabCommands, type LabSpec, nodePidDirectory, type ProductProgram } from "./protocol.ts";
import { kubeconfigFor } from "./tools/kubeconfig.ts";
import {
  createBridges,
  createDatabase,
  createNetworks,
  enterLab,
  managementGateway,
  type NodeProcess,
  type NodeProgram,
  nodePlan,
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
  const keep: NodeParts["keep"] = (name, start) =>
    new Program(
      () => start(`${logDirectory}/${name}.log`),
      (how) => hooks.log.warn({ program: name, how }, "a program ended and is started again"),
    );
  const plans = Array.from({ length: spec.nodes }, (_, index) => nodePlan(index));
  const programs = new Map<string, Program>();
  const lab = new Machines({
    plans,
    programs,
    start: (plan) => startNode(plan, networks),
    setUp: (machine) => setUpNode(machine, { spec, hooks, database, keep }),
  });
  await Promise.all(plans.map(({ name }) => lab.powerOn({ node: name })));
  hooks.phase("the nodes' kernels and Open vSwitch run");
  await registered(client, spec.nodes);
  hooks.phase("the nodes are registered");
  if (spec.controller !== undefined) {
    const program = controllerOf(spec.controller);
    programs.set(
      "controller",
      keep("controller", (logFile) => spawnProgram({ ...program, logFile })),
    );
  }
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

interface NodeParts {
  readonly spec: LabSpec;
  readonly hooks: LabHooks;
  readonly database: string | undefined;
  readonly keep: (name: string, start: (logFile: string) => NodeProcess) => Program;
}

/** What happens on a node of the lab when it is switched on. */
async function setUpNode({ node, programs }: Machine, { spec, hooks, database, keep }: NodeParts): Promise<void> {
  const start = (name: string, { argv, env }: ProductProgram) => {
    const variables = { ...process.env, KUBECONFIG: kubeconfigPath, NODE_NAME: node.name, ...env };
    programs.set(
      name,
      keep(`${node.name}-${name}`, (logFile) => node.spawn({ argv, env: variables, logFile })),
    );
  };
  await node.run(["sh", "-c", 'cat >"$0"', kubeconfigPath], { input: nodesKubeconfig });
  const self = { nodeName: node.name, managementIp: node.managementIp };
  start("kubelet", { argv: [...hooks.kubelet, JSON.stringify(self)] });
  if (database !== undefined) await startOpenVswitch(node, database);
  if (spec.bridges === true) await createBridges(node);
  if (spec.agent !== undefined) start("agent", spec.agent);
}

function controllerOf({ argv, env }: ProductProgram): NodeProgram {
  const kubeconfig = "/run/lab/kubeconfig";
  writeFileSync(kubeconfig, nodesKubeconfig);
  return { argv, env: { ...process.env, KUBECONFIG: kubeconfig, ...env } };
}
