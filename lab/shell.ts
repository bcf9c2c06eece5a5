import { readdirSync, readFileSync } from "node:fs";
import { marker, nodePidDirectory } from "./protocol.ts";

/** The process IDs of the supervisors of all labs that run on this machine. */
export function findLabs(): readonly number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && argvOf(pid)[2] === marker);
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
