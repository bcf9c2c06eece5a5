import { spawnSync } from "node:child_process";
import { SpiderError } from "#base";

const namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"];

/**
 * The command line that runs a program in namespaces of its own, as process 1 of a new process namespace. When the caller
 * dies, however it dies, the kernel ends this program and with it every process, namespace and mount that it made.
 */
export function labNamespaces(argv: readonly string[]): readonly string[] {
  return ["setpriv", "--pdeathsig", "KILL", "unshare", ...namespaces, "--", ...argv];
}

/**
 * Lines of a shell script that mount an own `/sys` in its namespaces, which shows their network, and keep the machine's control
 * groups, mounted once. `staging` is a folder.
 */
export function freshSysfs(staging: string): string {
  return `mkdir -p ${staging}
mount --rbind /sys/fs/cgroup ${staging}
mount -t sysfs sysfs /sys
mount --rbind ${staging} /sys/fs/cgroup
umount --lazy --recursive ${staging}`;
}

const mounts = `set -e
mount -t tmpfs tmpfs /run
mkdir /run/netns
${freshSysfs("/run/cgroup")}
ip link set lo up`;

/**
 * To be called once by a program that was started by {@link labNamespaces}: gives the lab a `/run` and a `/sys` of its own
 * and brings its loopback up. Throws SpiderError LAB_NOT_ISOLATED elsewhere: these mounts would hit the host.
 */
export function enterLab(): void {
  if (process.pid !== 1) throw new SpiderError("LAB_NOT_ISOLATED", "the lab runs only in namespaces of its own");
  const { status, stderr } = spawnSync("sh", ["-c", mounts], { encoding: "utf8" });
  if (status !== 0) throw new SpiderError("LAB_NOT_ISOLATED", `the lab's mounts failed: ${stderr.trim()}`);
}
