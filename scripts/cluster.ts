// `npm run cluster -- COMMAND`: a real Kubernetes in namespaces of this machine. Needs root.
import { fork, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { directoryOf, findLabs, shellCommand } from "../lab/shell.ts";
import { findHelm } from "../lab/tools/helm.ts";
import { findKubectl } from "../lab/tools/kubectl.ts";
import { labNamespaces, managementGateway } from "../lab/topology/index.ts";
import { findBinaries } from "../test/cluster/binaries.ts";
import { launchForProduct, walkthroughFlags } from "../test/cluster/product.ts";
import { playMarker } from "../test/cluster/protocol.ts";
import { makeLastingFolder } from "./bootstrap/run-folder.cjs";
import { makeShellFolder } from "./common/shell-folder.ts";

const usage = `npm run cluster -- COMMAND: a real Kubernetes in namespaces of this machine.

  up [NODES]      start a cluster with this many nodes (2), which have the product's image; it stays up in the background
  down            stop it; leaves nothing behind
  status          show its nodes and Pods
  kubectl …       run kubectl as its administrator
  helm …          run Helm as its administrator
  shell [NODE]    open a shell on a node, or beside the API server, with kubectl and spiderpoolctl
  build           only fetch or build Kubernetes and etcd, into the cache

With several clusters at a time, $SPIDERPOOL_CLUSTER names the one that is meant.

Tests against etcd and kube-apiserver alone:
  contact         the programs' requests
  chart           the chart
  identity        the rights of every account
  rotation        renewal of the webhooks' certificate
`;
const root = fileURLToPath(new URL("..", import.meta.url));
const { SPIDERPOOL_CLUSTER: name = "" } = process.env;
/** By which the cluster that is meant is found. */
const marker = name === "" ? playMarker : `${playMarker}-${name}`;
const nodesMax = 16;
const downMsMax = 30_000;
const [command = "", ...args] = process.argv.slice(2).filter((arg) => arg !== "--yes");

switch (command) {
  case "up":
    process.exitCode = await up(args[0] ?? "2");
    break;
  case "hold":
    await hold(Number(args[0]));
    break;
  case "down":
    process.exitCode = await down();
    break;
  case "status":
    process.exitCode = (await kubectl(["get", "nodes,pods", "-A", "-o", "wide"])) ?? 1;
    break;
  case "kubectl":
    process.exitCode = await kubectl(args);
    break;
  case "helm":
    process.exitCode = await spawned([await findHelm(), ...args], environment(running()));
    break;
  case "shell":
    process.exitCode = await shell(args[0]);
    break;
  case "build":
    await findBinaries({ say: console.log });
    break;
  case "contact":
  case "chart":
  case "identity":
  case "rotation":
    await findBinaries({ say: console.log });
    process.exitCode = await spawned(
      labNamespaces([process.execPath, "--test-force-exit", `test/cluster/${command}.e2e.ts`]),
    );
    break;
  case "--help":
    process.stdout.write(usage);
    break;
  default:
    process.stderr.write(command === "" ? usage : `There is no command '${command}'.\n\n${usage}`);
    process.exitCode = 2;
}

/** The cluster belongs to a process in the background, which lives until the cluster ends. */
async function up(nodes: string): Promise<number> {
  if (!/^\d+$/.test(nodes) || Number(nodes) < 1 || Number(nodes) > nodesMax) {
    console.error(`up: NODES must be a whole number from 1 to ${nodesMax}: found '${nodes}'`);
    return 2;
  }
  if (findLabs(marker).length > 0) {
    console.error("There is a cluster already: `npm run cluster -- status`, `… down`.");
    return 1;
  }
  const holder = fork(fileURLToPath(import.meta.url), ["hold", nodes], { detached: true, stdio: "ignore" });
  const outcome = await new Promise<string | undefined>((resolve) => {
    holder.on("message", (message: { readonly line?: string; readonly end?: string }) => {
      if (message.line !== undefined) console.log(message.line);
      else resolve(message.end === "" ? undefined : message.end);
    });
    holder.on("exit", (status) => resolve(`it ended with ${status}`));
  });
  if (outcome === undefined) {
    console.log("Install the product (from this folder), and look at it:");
    console.log(`  npm run cluster -- helm install spiderpool charts/spiderpool ${walkthroughFlags.join(" ")}`);
    console.log("  npm run cluster -- status");
    holder.disconnect();
    holder.unref();
    return 0;
  }
  console.error(`The cluster did not start: ${outcome}`);
  return 1;
}

/** Keeps a cluster until it ends. Its files must stay when `up` has ended, which removes those of its own. */
async function hold(nodes: number): Promise<void> {
  const folder = makeLastingFolder();
  process.env["TMPDIR"] = folder.path;
  const tell = (message: object) => process.connected && process.send?.(message);
  const say = (line: string) => tell({ line });
  try {
    const onPhase = (phase: string, atMs: number) => say(`  ${(atMs / 1000).toFixed(1).padStart(5)} s  ${phase}`);
    const { cluster } = await launchForProduct({ marker, nodes, say, onPhase });
    tell({ end: "" });
    await cluster.exited;
  } catch (error) {
    tell({ end: (error as Error).message });
    process.exitCode = 1;
  } finally {
    folder.remove();
  }
}

async function down(): Promise<number> {
  for (const pid of findLabs(marker)) {
    const directory = directoryOf(pid);
    process.kill(pid, "SIGKILL");
    for (const untilMs = performance.now() + downMsMax; existsSync(directory); await delay(50)) {
      if (performance.now() < untilMs) continue;
      console.error(`${directory} is still there ${downMsMax / 1000} s after the cluster's end`);
      return 1;
    }
  }
  return 0;
}

function running(): number {
  const [pid] = findLabs(marker);
  if (pid !== undefined) return pid;
  console.error("No cluster is running. Start one with `npm run cluster -- up`.");
  process.exit(1);
}

async function kubectl(argv: readonly string[]): Promise<number> {
  return await spawned([await findKubectl("1.35"), ...argv], environment(running()));
}

async function shell(node: string | undefined): Promise<number> {
  const pid = running();
  // The kubeconfig of the machine's commands leads to a port of the machine, which is not there inside.
  const config = readFileSync(environment(pid)["KUBECONFIG"] ?? "", "utf8");
  using folder = await makeShellFolder(
    config.replace(/https:\/\/127\.0\.0\.1:\d+/, `https://${managementGateway}:6443`),
    "1.35",
  );
  const env = { ...folder.env, PS1: `(${node ?? "cluster"}) \\w # ` };
  const login = ["sh", "-c", 'cd "$0" && exec bash --norc -i', root];
  process.on("SIGINT", () => {});
  return await spawned(shellCommand(pid, node, login), env);
}

function environment(cluster: number): NodeJS.ProcessEnv {
  const directory = directoryOf(cluster);
  return {
    ...process.env,
    KUBECONFIG: join(directory, "kubeconfig"),
    KUBECACHEDIR: join(directory, "cache"),
  };
}

async function spawned([program = "", ...argv]: readonly string[], env = process.env): Promise<number> {
  const child = spawn(program, argv, {
    cwd: ["kubectl", "helm"].includes(command) ? process.cwd() : root,
    stdio: "inherit",
    env,
  });
  return await new Promise((resolve) => child.on("exit", (status) => resolve(status ?? 1)));
}
