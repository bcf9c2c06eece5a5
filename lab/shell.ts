import { readdirSync, readFileSync } from "node:fs";
import { marker, nodePidDirectory } from "./protocol.ts";

/** The process IDs of the supervisors of all labs that run on this machine, told apart from other kinds by their marker. */
export function findLabs(wanted = marker): readonly number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && argvOf(pid)[2] === wanted);
}

/** The folder of a lab, where its kubeconfig is. */
export function directoryOf(lab: number): string {
  return argvOf(lab)[3] ?? "";
}

/** The command line that runs `argv` inside a lab: on a node, or beside the API server. */
export function shellCommand(lab: number, node: string | undefined, argv: readonly string[]): readonly string[] {
  const inLab = ["nsenter", `--target=${lab}`, "--mount", "--net", "--pid", "--"];
  if (node === undefined) return [...inLab, ...argv];
  const script = `exec nsenter --target="$(cat ${nodePidDirectory}/"$0")" --mount --net --uts --pid -- "$@"`;
  return [...inLab, "sh", "-c", script, node, ...argv];
}

/** Empty where the process has ended meanwhile. */
function argvOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}
