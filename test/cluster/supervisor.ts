/** The program of a cluster, as process 1 of namespaces of its own; launch.ts starts it. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SpiderError } from "#base";
import { Program } from "../../lab/program.ts";
import { apiDescriptor, type LabCommands, nodePidDirectory } from "../../lab/protocol.ts";
import { type StartRequest, supervise } from "../../lab/supervise.ts";
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
  type NodeProgram,
  nodePlan,
  run,
  spawnProgram,
  startNode,
  startOpenVswitch,
} from "../../lab/topology/index.ts";
import { makeCgroup, removeCgroup } from "./cgroups.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { faultPort } from "./faults.ts";
import { machinePrograms, nodeFolders, podSubnet, setUpMachine } from "./machine.ts";
import { auditLog, type ClusterSpec, clusterRanges } from "./protocol.ts";

const directory = "/run/cluster";
const readySeconds = 300;
const apiPort = 6_443;

supervise<ClusterSpec>(createCluster);

async function createCluster(
  { spec, url, kubeconfig }: StartRequest<ClusterSpec>,
  phase: (name: string) => void,
): Promise<LabCommands> {
  enterLab();
  const logDirectory = spec.logDirectory ?? join(directory, "log");
  for (const path of [directory, logDirectory, nodePidDirectory]) mkdirSync(path, { recursive: true });
  const [networks, database] = await Promise.all([createNetworks(), createDatabase()]);
  const binary = (name: string) => spec.binaries[name] ?? name;
  const programs = new Map<string, Program>();
  const start = (name: string, program: NodeProgram): Pick<NodeProcess, "exited"> => {
    const first = Promise.withResolvers<NodeProcess>();
    const launch = () => {
      const started = spawnProgram({ ...program, logFile: join(logDirectory, `${name}.log`) });
      first.resolve(started);
      return started;
    };
    programs.set(name, new Program(launch, report(name)));
    return { exited: first.promise.then(({ exited }) => exited) };
  };
  const { controllers = true } = spec;
  const apiServerFlags = [
    ...(controllers ? [] : ["--disable-admission-plugins=ServiceAccount"]),
    ...(spec.audit === true ? auditFlags() : []),
  ];
  const serviceRanges = clusterRanges(spec).services;
  const plane = await startControlPlane({ directory, binary, start, controllers, serviceRanges, apiServerFlags });
  if (spec.apiProxy === true) start("api-proxy", await apiProxy(plane));
  forward();
  writeAdmin(plane, url, kubeconfig);
  phase("the control plane answers");
  const kubectl = (argv: readonly string[], input = "") =>
    run([spec.kubectl, "--kubeconfig", plane.admin, `--cache-dir=${directory}/cache`, ...argv], { input });
  await kubectl(["apply", "-f", "-"], proxyRights);
  for (const manifest of spec.manifests ?? []) {
    if (manifest.startsWith("{")) await kubectl(["apply", "-f", "-"], manifest);
    else await kubectl(["apply", "-f", manifest]);
  }
  const plans = Array.from({ length: spec.nodes }, (_, index) => nodePlan(index));
  const routes = plans.map((plan) => `route add ${podSubnet(plan)} via ${plan.managementIp}\n`).join("");
  await run(["ip", "-batch", "-"], { input: routes });
  const cluster = new Cluster({ spec, plane, networks, database, plans, programs, logDirectory, binary });
  await Promise.all(plans.map(({ name }) => cluster.powerOn({ node: name })));
  phase("the nodes' programs run");
  await Promise.all(
    plans.map(async ({ name }) => {
      await kubectl(["wait", "--for=create", `node/${name}`, `--timeout=${readySeconds}s`]);
      await kubectl(["wait", "--for=condition=Ready", `node/${name}`, `--timeout=${readySeconds}s`]);
    }),
  );
  phase("the nodes are Ready");
  return cluster;
}

/** The API server is reached from the host too, through the socket that the launcher opened there. */
function forward(): void {
  createServer((client) => {
    const server = connect(apiPort, managementGateway);
    client.pipe(server).pipe(client);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const)
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
  }).listen({ fd: apiDescriptor });
}

async function apiProxy({ authority, url }: ControlPlane): Promise<NodeProgram> {
  const { cert, key } = await authority.issue("api-proxy", "/CN=api-proxy", [`IP:${managementGateway}`]);
  const program = fileURLToPath(new URL("./fault-proxy.ts", import.meta.url));
  return { argv: [process.execPath, program, cert, key, authority.certificate, url, String(faultPort)] };
}

function writeAdmin({ admin }: ControlPlane, url: string, target: string): void {
  const config = JSON.parse(readFileSync(admin, "utf8"));
  config.clusters[0].cluster.server = url;
  writeFileSync(target, JSON.stringify(config), { mode: 0o600 });
}

const report = (name: string) => (how: number | string | null) =>
  console.error(`${new Date().toISOString()} ${name} ended with ${how} and is started again`);

function auditFlags(): readonly string[] {
  const path = join(directory, "audit.json");
  const users = ["agent", "controller"].map((name) => `system:serviceaccount:kube-system:spiderpool-${name}`);
  const rules = [{ level: "Metadata", users, omitStages: ["RequestReceived"] }, { level: "None" }];
  writeFileSync(path, JSON.stringify({ apiVersion: "audit.k8s.io/v1", kind: "Policy", rules }));
  return [`--audit-policy-file=${path}`, `--audit-log-path=${auditLog}`];
}

/** What kubeadm gives kube-proxy. */
const proxyRights = JSON.stringify({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: "kube-proxy" },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
  subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "system:kube-proxy" }],
});

interface Parts {
  readonly spec: ClusterSpec;
  readonly plane: ControlPlane;
  readonly networks: Networks;
  readonly database: string;
  readonly plans: readonly NodePlan[];
  /** Of the control plane. */
  readonly programs: ReadonlyMap<string, Program>;
  readonly logDirectory: string;
  readonly binary: (name: string) => string;
}

interface Machine {
  readonly node: LabNode;
  readonly programs: Map<string, Program>;
}

class Cluster implements LabCommands {
  readonly #parts: Parts;
  readonly #machines = new Map<string, Machine>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async powerOn({ node: name }: { readonly node: string }): Promise<void> {
    const { spec, plane, networks, database, plans, binary } = this.#parts;
    const plan = plans.find((one) => one.name === name);
    if (plan === undefined || this.#machines.has(name))
      throw new SpiderError("LAB_NO_NODE", `there is no node ${name} that is switched off`);
    makeCgroup(`${spec.cgroup}/${name}`);
    const node = await startNode(plan, networks, { own: nodeFolders });
    const programs = new Map<string, Program>();
    this.#machines.set(name, { node, programs });
    writeFileSync(`${nodePidDirectory}/${name}`, String(node.pid));
    const { url, authority } = plane;
    const machine = { authority, url, binary, cgroup: spec.cgroup, ranges: clusterRanges(spec) };
    const { openVswitch = true } = spec;
    await Promise.all([setUpMachine(node, plans, machine), openVswitch && startOpenVswitch(node, database)]);
    if (spec.bridges === true) await createBridges(node);
    const start = (program: string, what: NodeProgram) => programs.set(program, this.#onNode(node, program, what));
    for (const [program, what] of Object.entries(machinePrograms(plan, machine))) {
      if (program === "containerd") await this.#fillImageStore(node);
      start(program, what);
      if (program === "containerd") await this.#loadImages(node);
    }
  }

  async powerOff({ node: name }: { readonly node: string }): Promise<void> {
    const { node, programs } = this.#machine(name);
    this.#machines.delete(name);
    rmSync(`${nodePidDirectory}/${name}`, { force: true });
    for (const program of programs.values()) program.abandon();
    await node.powerOff();
    // As after a restart of a machine: groups of Pods that ended cost the next kubelet seconds each.
    await removeCgroup(`${this.#parts.spec.cgroup}/${name}`);
  }

  async run(request: { readonly node?: string; readonly argv: readonly string[]; readonly input?: string }) {
    const { node, argv, input = "" } = request;
    return node === undefined ? await run(argv, { input }) : await this.#machine(node).node.run(argv, { input });
  }

  async createBridges({ node }: { readonly node: string }): Promise<readonly string[]> {
    return await createBridges(this.#machine(node).node);
  }

  async kill(request: { readonly node?: string; readonly program: string; readonly signal: NodeJS.Signals }) {
    this.#program(request.node, request.program).signal(request.signal);
  }

  async hold(request: { readonly node?: string; readonly program: string; readonly held: boolean }) {
    await this.#program(request.node, request.program).hold(request.held);
  }

  #machine(name: string): Machine {
    const machine = this.#machines.get(name);
    if (machine === undefined) throw new SpiderError("LAB_NO_NODE", `there is no node ${name} that is switched on`);
    return machine;
  }

  #program(node: string | undefined, name: string): Program {
    const programs = node === undefined ? this.#parts.programs : this.#machine(node).programs;
    const program = programs.get(name);
    if (program !== undefined) return program;
    const known = [...programs.keys()].join(", ");
    throw new SpiderError("LAB_NO_PROGRAM", `${node ?? "the control plane"} runs no ${name}: it runs ${known}`);
  }

  #onNode(node: LabNode, name: string, program: NodeProgram): Program {
    const logFile = join(this.#parts.logDirectory, `${node.name}-${name}.log`);
    return new Program(() => node.spawn({ ...program, logFile }), report(`${node.name} ${name}`));
  }

  /** What a node had before a loss of power stays. */
  async #fillImageStore(node: LabNode): Promise<void> {
    const { imageStore } = this.#parts.spec;
    if (imageStore === undefined) return;
    const fill = '[ -e io.containerd.metadata.v1.bolt ] || tar --extract --xattrs --file "$0"';
    await node.run(["sh", "-c", `cd /var/lib/containerd && { ${fill}; }`, imageStore]);
  }

  async #loadImages(node: LabNode): Promise<void> {
    const ctr = this.#parts.binary("ctr");
    await node.run(["timeout", "120", "sh", "-c", 'until "$0" version >/dev/null 2>&1; do sleep 0.05; done', ctr]);
    for (const path of this.#parts.spec.images) await node.run([ctr, "--namespace=k8s.io", "image", "import", path]);
  }
}
