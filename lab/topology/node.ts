import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { codeOf, SpiderError } from "#base";
import { type RunOptions, run } from "./command.ts";
import { freshSysfs } from "./isolation.ts";
import type { Networks, NodePlan } from "./networks.ts";

/** A program that runs in a node. */
export interface NodeProgram {
  readonly argv: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Gets standard output and error, appended; seen from outside of the node. @default dropped */
  readonly logFile?: string;
}

/** A program that runs on a node. */
export interface NodeProcess {
  /** Settles with how it ended: a status, or the name of the signal. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
  /** Sends a signal to the program itself; nothing happens when it has ended. */
  kill(signal: NodeJS.Signals): void;
}

/** A machine that is switched on. */
export interface LabNode extends NodePlan {
  /** Process 1 of the node, as seen from the lab. */
  readonly pid: number;
  /** The command line that runs `argv` inside the node. */
  command(argv: readonly string[]): readonly string[];
  /** {@link run} inside the node. */
  run(argv: readonly string[], options?: RunOptions): Promise<string>;
  /** Starts a program inside the node; it dies with the node. */
  spawn(program: NodeProgram): NodeProcess;
  /** Pulls the plug: every process of the node is killed, its disk stays. */
  powerOff(): Promise<void>;
}

/** Folders that a node shares with no other machine and that outlive a loss of power. */
const own = [
  "/etc/cni/net.d",
  "/etc/openvswitch",
  "/opt/cni/bin",
  "/var/lib/cni",
  "/var/lib/kubelet",
  "/var/lib/spiderpool",
  "/var/log",
];

/** Folders of the host that a node sees, but whose copies it changes. `/run` is empty at each start, as on a real machine. */
const copied = ["/etc", "/opt", "/tmp", "/var"];

/** Settings of the machine's own container runtimes, which a new node does not have: it would be taken to run them. */
const without = ["/etc/containerd", "/etc/crio"];

/**
 * Runs as process 1: prepares the mounts, then reaps until it is killed. Writes one line when the node is ready. Each start
 * is a boot, with an identity of its own, though the kernel stays.
 * Arguments: the node's name, the folder of its disk, the folders that are its own.
 */
const initScript = `set -e
name=$1 disk=$2 own=$3
[ -e "$disk/upper" ] && without= || without=${JSON.stringify(without.join(" "))}
for dir in ${copied.join(" ")}; do
  mkdir -p "$disk/upper$dir" "$disk/work$dir"
  mount -t overlay overlay -o "lowerdir=$dir,upperdir=$disk/upper$dir,workdir=$disk/work$dir" "$dir"
done
for dir in $without; do rm -rf "$dir"; done
for dir in $own; do
  mkdir -p "$disk/own$dir" "$dir"
  mount --bind "$disk/own$dir" "$dir"
done
${freshSysfs('"$disk/cgroup"')}
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/openvswitch
hostname "$name"
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
mount --make-rshared /
echo ready
sleep infinity & wait
`;

interface NodeOptions {
  /** More folders that a node shares with no other machine and that outlive a loss of power. */
  readonly own?: readonly string[];
}

/** Where the disks of all nodes live, in the lab's own `/run`. */
const disks = "/run/disks";

/**
 * Switches a machine on: its own network, mounts, host name and processes, connected to both networks. A second start of the
 * same name finds the disk as it was. Must run in the lab's namespaces. Throws SpiderError LAB_NODE_FAILED.
 */
export async function startNode(plan: NodePlan, networks: Networks, options: NodeOptions = {}): Promise<LabNode> {
  const disk = `${disks}/${plan.name}`;
  mkdirSync(disk, { recursive: true });
  const namespaces = ["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const folders = [...own, ...(options.own ?? [])].join(" ");
  const init = ["sh", "-s", plan.name, disk, folders];
  const unshared = spawn("unshare", [...namespaces, "--propagation", "private", "--", ...init], { stdio: "pipe" });
  unshared.stdin.on("error", () => {}); // EPIPE: ready() tells why it ended
  unshared.stdin.end(initScript);
  const exited = ended(unshared);
  await ready(unshared, plan.name);
  const pid = forkedChild(unshared.pid ?? 0);
  if (pid === undefined) throw new SpiderError("LAB_NODE_FAILED", `${plan.name} ended at once`);
  await networks.connect(plan, pid);
  const command = (argv: readonly string[]) => [
    ...["nsenter", `--target=${pid}`, "--mount", "--net", "--uts", "--pid", "--"],
    ...argv,
  ];
  return {
    ...plan,
    pid,
    command,
    run: (argv, options) => run(command(argv), options),
    spawn: (program) => spawnInside(command, program),
    powerOff: async () => {
      // Its first process, not unshare: that one ends, and is reaped, when all of the node's processes are gone.
      if (forkedChild(unshared.pid ?? 0) === pid) process.kill(pid, "SIGKILL");
      await exited;
      await networks.disconnect(plan);
    },
  };
}

/** The one process that `unshare --fork` or `nsenter --pid` (the parent) runs; undefined when it is gone. */
export function forkedChild(parent: number): number | undefined {
  try {
    const [child] = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").split(" ");
    return child ? Number(child) : undefined;
  } catch {
    return undefined;
  }
}

async function ready(unshared: ChildProcessWithoutNullStreams, name: string): Promise<void> {
  const { stdout, stderr } = unshared;
  let complaint = "";
  stderr.setEncoding("utf8").on("data", (chunk: string) => {
    complaint = (complaint + chunk).slice(-2_000);
  });
  const [what] = await Promise.race([once(stdout, "data"), once(unshared, "close"), once(unshared, "error")]);
  if (Buffer.isBuffer(what)) return;
  throw new SpiderError("LAB_NODE_FAILED", `${name} could not be started: ${complaint.trim() || String(what)}`);
}

/** Starts a program beside the nodes, in the present namespaces; it dies with this process. */
export function spawnProgram(program: NodeProgram): NodeProcess {
  const child = spawnBound([], program);
  return { exited: ended(child), kill: (signal) => void child.kill(signal) };
}

function spawnInside(command: LabNode["command"], program: NodeProgram): NodeProcess {
  // nsenter stays as the parent, because a process namespace is entered by forking; its child is the program.
  const child = spawnBound(command([]), program);
  return {
    exited: ended(child),
    kill: (signal) => {
      const inner = child.exitCode === null && child.signalCode === null ? forkedChild(child.pid ?? 0) : undefined;
      if (inner === undefined) return;
      try {
        process.kill(inner, signal);
      } catch (error) {
        if (codeOf(error) !== "ESRCH") throw error; // It ended just now.
      }
    },
  };
}

function spawnBound(prefix: readonly string[], { argv, env, logFile }: NodeProgram): ChildProcess {
  const log = logFile === undefined ? "ignore" : openSync(logFile, "a");
  const [program = "", ...args] = [...prefix, "setpriv", "--pdeathsig", "KILL", ...argv];
  const child = spawn(program, args, { stdio: ["ignore", log, log], ...(env && { env }) });
  if (typeof log === "number") closeSync(log);
  return child;
}

function ended(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve) => {
    child.on("error", () => resolve(null));
    child.on("exit", (status, signal) => resolve(status ?? signal));
  });
}
