/** The program of a cluster, as process 1 of namespaces of its own; launch.ts starts it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Machine, Machines } from "../../lab/machines.ts";
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
import { type MachineOptions, machinePrograms, nodeFolders, podSubnet, setUpMachine } from "./machine.ts";
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
  const { authority, url: nodesUrl } = plane;
  const machine = { authority, url: nodesUrl, binary, cgroup: spec.cgroup, ranges: clusterRanges(spec) };
  const cluster = new Machines({
    plans,
    programs,
    start: (plan) => {
      makeCgroup(`${spec.cgroup}/${plan.name}`);
      return startNode(plan, networks, { own: nodeFolders });
    },
    setUp: (one) => setUpNode(one, { spec, plans, database, machine, logDirectory }),
    // As after the restart of a machine. Otherwise, groups of Pods that ended would cost the next kubelet seconds each.
    poweredOff: (name) => removeCgroup(`${spec.cgroup}/${name}`),
  });
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

/** The rights that kubeadm gives to kube-proxy. */
const proxyRights = JSON.stringify({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: "kube-proxy" },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
  subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "system:kube-proxy" }],
});

interface NodeParts {
  readonly spec: ClusterSpec;
  readonly plans: readonly NodePlan[];
  readonly database: string;
  readonly machine: MachineOptions;
  readonly logDirectory: string;
}

/** What happens on a node of the cluster when it is switched on. */
async function setUpNode({ node, programs }: Machine, parts: NodeParts): Promise<void> {
  const { spec, plans, database, machine, logDirectory } = parts;
  const { openVswitch = true } = spec;
  await Promise.all([setUpMachine(node, plans, machine), openVswitch && startOpenVswitch(node, database)]);
  if (spec.bridges === true) await createBridges(node);
  for (const [name, program] of Object.entries(machinePrograms(node, machine))) {
    if (name === "containerd") await fillImageStore(node, spec);
    const logFile = join(logDirectory, `${node.name}-${name}.log`);
    programs.set(name, new Program(() => node.spawn({ ...program, logFile }), report(`${node.name} ${name}`)));
    if (name === "containerd") await loadImages(node, spec, machine.binary("ctr"));
  }
}

/** Fills a node's image store, unless it has kept one from before a loss of power. */
async function fillImageStore(node: LabNode, { imageStore }: ClusterSpec): Promise<void> {
  if (imageStore === undefined) return;
  const fill = '[ -e io.containerd.metadata.v1.bolt ] || tar --extract --xattrs --file "$0"';
  await node.run(["sh", "-c", `cd /var/lib/containerd && { ${fill}; }`, imageStore]);
}

async function loadImages(node: LabNode, { images }: ClusterSpec, ctr: string): Promise<void> {
  await node.run(["timeout", "120", "sh", "-c", 'until "$0" version >/dev/null 2>&1; do sleep 0.05; done', ctr]);
  for (const path of images) await node.run([ctr, "--namespace=k8s.io", "image", "import", path]);
}
