import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SpiderError } from "#base";
import {
  type CommandName,
  type FromSupervisor,
  type LabCommands,
  type LabSpec,
  marker,
  type ToSupervisor,
} from "./protocol.ts";
import { kubeconfigFor } from "./tools/kubeconfig.ts";
import { forkedChild, labNamespaces, type NodePlan, nodePlan } from "./topology/index.ts";

interface Reports {
  /** Called for each phase that the lab reaches, with the milliseconds since the start. */
  readonly onPhase?: (phase: string, atMs: number) => void;
  /** Where the supervisor's own log goes: a descriptor, or "inherit" for this process's stderr. @default dropped */
  readonly stderr?: number | "inherit";
}

/** The lab to start, and who hears of its progress. */
export interface LaunchOptions extends LabSpec, Reports {
  /** The lab's program. @default main.ts beside this file */
  readonly program?: string;
}

interface SupervisorOptions<Spec> extends Reports {
  /** The program to run as process 1 of the namespaces; it speaks protocol.ts. */
  readonly program: string;
  /** Its first argument, which identifies it in a list of processes; the second is the lab's folder. */
  readonly marker: string;
  /** Protocol of the API server. With https the program writes the kubeconfig. */
  readonly scheme: "http" | "https";
  readonly spec: Spec & { readonly nodes: number };
  /** Control groups of this name, in every hierarchy, are removed at the end. */
  readonly cgroup?: string;
}

/** A running lab. It ends with this process, however this process ends. */
export interface LabHandle extends LabCommands, AsyncDisposable {
  /** The API server, on the host's loopback. */
  readonly url: string;
  /** A folder that is deleted with the lab. */
  readonly directory: string;
  /** Path of a kubeconfig in it. */
  readonly kubeconfig: string;
  readonly nodes: readonly NodePlan[];
  /** Process 1 of the lab, as the host sees it. */
  readonly pid: number;
  /** Settles when the lab has ended, by {@link stop} or on its own. */
  readonly exited: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a lab in namespaces of its own and resolves when its nodes are registered. Needs root. On the host's side there are
 * one socket on 127.0.0.1 and one temporary folder. Throws SpiderError LAB_FAILED.
 */
export async function launchLab(options: LaunchOptions): Promise<LabHandle> {
  const { program = fileURLToPath(new URL("./main.ts", import.meta.url)), onPhase, stderr, ...spec } = options;
  return await launchSupervisor({
    program,
    marker,
    spec,
    scheme: "http",
    ...(onPhase && { onPhase }),
    ...(stderr && { stderr }),
  });
}

/** As {@link launchLab}, for any program that speaks the same protocol. */
export async function launchSupervisor<Spec>(options: SupervisorOptions<Spec>): Promise<LabHandle> {
  const { spec, onPhase } = options;
  const nodes = Array.from({ length: spec.nodes }, (_, index) => nodePlan(index));
  const socket = createServer().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address() as AddressInfo;
  const url = `${options.scheme}://127.0.0.1:${port}`;
  const directory = mkdtempSync(join(tmpdir(), `${options.marker}-`));
  const kubeconfig = join(directory, "kubeconfig");
  if (options.scheme === "http") writeFileSync(kubeconfig, kubeconfigFor(url));
  const janitor = startJanitor(directory, options.cgroup);
  const startedMs = performance.now();
  const child = spawnSupervisor(options, directory, socket);
  socket.close(); // the supervisor has its own descriptor of it
  const exited = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("exit", () => resolve());
  }).then(() => janitor.end());
  const commands = new CommandChannel(child);
  const stop = async () => {
    const pid = forkedChild(child.pid ?? 0);
    if (pid !== undefined && child.exitCode === null) process.kill(pid, "SIGKILL"); // Ends everything inside, and then `child`.
    await exited;
  };
  const start: ToSupervisor<Spec> = { kind: "start", spec, url, kubeconfig };
  try {
    await ready(child, start, (phase) => onPhase?.(phase, performance.now() - startedMs));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    directory,
    kubeconfig,
    nodes,
    exited,
    stop,
    [Symbol.asyncDispose]: stop,
    pid: forkedChild(child.pid ?? 0) ?? 0,
    ...commands.all(),
  };
}

function spawnSupervisor<Spec>(options: SupervisorOptions<Spec>, directory: string, socket: Server): ChildProcess {
  const { program, marker, stderr = "ignore" } = options;
  const [command = "", ...args] = labNamespaces([process.execPath, program, marker, directory]);
  // The fifth entry is apiDescriptor. Node exposes a server's descriptor only on its handle.
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } };
  // A session of its own: Ctrl-C reaches the launcher alone.
  return spawn(command, args, { stdio: ["ignore", stderr, stderr, "ipc", handle.fd], detached: true });
}

async function ready<Spec>(
  child: ChildProcess,
  start: ToSupervisor<Spec>,
  onPhase: (phase: string) => void,
): Promise<void> {
  const outcome = Promise.withResolvers<void>();
  const fail = (why: string) => outcome.reject(new SpiderError("LAB_FAILED", `the lab did not start: ${why}`));
  const onMessage = (message: FromSupervisor) => {
    if (message.kind === "phase") onPhase(message.phase);
    if (message.kind === "ready") outcome.resolve();
    if (message.kind === "failed") fail(message.error);
  };
  const onExit = (status: number | null, signal: string | null) =>
    fail(`its supervisor ended with ${status ?? signal}`);
  const onError = (error: Error) => fail(error.message);
  child.on("message", onMessage).on("exit", onExit).on("error", onError);
  child.send(start);
  try {
    await outcome.promise;
  } finally {
    child.off("message", onMessage).off("exit", onExit);
  }
}

/** Sends commands to the supervisor and pairs the answers with them. */
class CommandChannel {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message: FromSupervisor) => {
      if (message.kind !== "answer") return;
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiting?.resolve(message.result);
      else waiting?.reject(new SpiderError("LAB_COMMAND", message.error));
    });
    child.on("exit", () => {
      for (const waiting of this.#waiting.values()) waiting.reject(new SpiderError("LAB_GONE", "the lab has ended"));
      this.#waiting.clear();
    });
  }

  all(): LabCommands {
    const command =
      <N extends CommandName>(name: N) =>
      (request: Parameters<LabCommands[N]>[0]) =>
        this.#send(name, request) as ReturnType<LabCommands[N]>;
    return {
      run: command("run"),
      powerOff: command("powerOff"),
      powerOn: command("powerOn"),
      createBridges: command("createBridges"),
      kill: command("kill"),
      hold: command("hold"),
    };
  }

  #send(name: CommandName, request: unknown): Promise<unknown> {
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    const message: ToSupervisor = { kind: "command", id, name, request };
    if (!this.#child.connected) return Promise.reject(new SpiderError("LAB_GONE", "the lab has ended"));
    this.#waiting.set(id, waiting);
    this.#child.send(message);
    return waiting.promise;
  }
}

interface Janitor {
  end(): Promise<void>;
}

/** Empties and removes control groups, which outlive their processes. Some processes may still be ending. */
const removeCgroups = `for try in $(seq 600); do
  for dir in /sys/fs/cgroup/$1 /sys/fs/cgroup/*/$1; do [ ! -d $dir ] || find $dir -depth -type d -exec rmdir {} + 2>/dev/null; done
  ls -d /sys/fs/cgroup/$1 /sys/fs/cgroup/*/$1 >/dev/null 2>&1 || break
  sleep 0.1
done`;

/**
 * Removes the folder when the lab has ended or when this process is gone, even by SIGKILL: it waits for the end of a pipe
 * whose other end only this process holds.
 */
function startJanitor(directory: string, cgroup?: string): Janitor {
  const script = `trap "" INT TERM HUP; cat >/dev/null\n${cgroup === undefined ? "" : removeCgroups}\nrm -rf "$0"`;
  const child = spawn("sh", ["-c", script, directory, cgroup ?? ""], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  const exited = once(child, "exit");
  return {
    end: async () => {
      child.stdin.end();
      await exited;
      rmSync(directory, { recursive: true, force: true }); // In case the janitor itself was killed.
    },
  };
}
