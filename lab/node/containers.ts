import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Container } from "kubernetes-types/core/v1.d.ts";
import type { Pod } from "../controllers/index.ts";
import { forkedChild, run } from "../topology/index.ts";

/** A container as its kubelet sees it. */
export interface RunningContainer {
  /** The program's exit code. */
  readonly exited: Promise<number>;
  /** The command line that runs `argv` inside; undefined when the container is gone. */
  command(argv: readonly string[]): readonly string[] | undefined;
  /** SIGTERM to the container's program, SIGKILL to everything in it after `graceMs`. Resolves when it has ended. */
  stop(graceMs: number): Promise<void>;
}

interface ContainerOptions {
  readonly pod: Pod;
  readonly container: Container;
  /** The Pod's network namespace; absent: the node's. */
  readonly netns?: string;
  /** Gets standard output and error, appended. */
  readonly logFile: string;
}

const toolsDir = "/run/lab/bin";
const initFile = "/run/lab/container-init";

/**
 * Process 1 of a container: reaps, forwards SIGTERM, and ends with its program, which ends everything else inside. As process 1
 * itself, a program without a handler for SIGTERM would not receive it.
 */
const initScript = `hostname "$1"; shift
mount -t tmpfs tmpfs /tmp
mount -t sysfs sysfs /sys
"$@" &
main=$!
trap 'kill -TERM $main' TERM
while :; do
  wait $main; code=$?
  kill -0 $main 2>/dev/null || exit $code
done
`;

/** Once per start of a node: busybox's applets under their names, the real ping before them, and the init script. */
export async function prepareContainers(): Promise<void> {
  mkdirSync(toolsDir, { recursive: true });
  writeFileSync(initFile, initScript);
  await run(["busybox", "--install", "-s", toolsDir]);
  await run(["sh", "-c", 'real=$(command -v ping) && ln -sf "$real" "$1/ping"', "sh", toolsDir]).catch(() => {}); // Then busybox's ping serves.
}

/** Starts a container: its own mounts, host name and processes; it dies with this process. */
export function startContainer(options: ContainerOptions): RunningContainer {
  const { pod, container, netns, logFile } = options;
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, "a");
  const namespaces = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave"];
  const child = spawn(
    "setpriv",
    [
      ...["--pdeathsig", "KILL"],
      ...(netns === undefined ? [] : ["nsenter", `--net=${netns}`]),
      ...["unshare", ...namespaces, "--", "sh", initFile, pod.metadata.name],
      ...withEnvironment(options, commandOf(container)),
    ],
    { stdio: ["ignore", log, log], cwd: "/" },
  );
  closeSync(log);
  const exited = new Promise<number>((resolve) => {
    child.on("error", () => resolve(128));
    child.on("exit", (status) => resolve(status ?? 137));
  });
  const init = () => (child.exitCode === null && child.pid !== undefined ? forkedChild(child.pid) : undefined);
  return {
    exited,
    command: (argv) => {
      const pid = init();
      const enter = ["nsenter", `--target=${pid}`, "--mount", "--net", "--uts", "--pid", "--"];
      const bound = ["setpriv", "--pdeathsig", "KILL"]; // nsenter forks, and its child must not outlive it.
      return pid === undefined ? undefined : [...enter, ...bound, ...withEnvironment(options, argv)];
    },
    stop: async (graceMs) => {
      const pid = init();
      if (pid !== undefined && graceMs > 0) process.kill(pid, "SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** Images are not pulled: a container without a command serves its host name over HTTP. */
function commandOf({ command, args = [], ports = [] }: Container): readonly string[] {
  if (command !== undefined && command.length > 0) return [...command, ...args];
  const script = 'mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p "$0" -h /tmp/www';
  return ["sh", "-c", script, String(ports[0]?.containerPort ?? 80)];
}

/**
 * By env, not by the parent: the tools that set a container up must not be looked for among busybox's. Variables whose value
 * is to be looked up somewhere (`valueFrom`) are empty.
 */
function withEnvironment({ pod, container }: ContainerOptions, argv: readonly string[]): readonly string[] {
  const variables = {
    PATH: `${toolsDir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: "/root",
    TERM: "xterm",
    HOSTNAME: pod.metadata.name,
    ...Object.fromEntries((container.env ?? []).map(({ name, value = "" }) => [name, value])),
  };
  return ["env", "-i", ...Object.entries(variables).map(([name, value]) => `${name}=${value}`), ...argv];
}
