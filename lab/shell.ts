import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { marker, nodePidDirectory } from "./protocol.ts";

/** The process IDs of the supervisors of all labs on this machine that have this marker. */
export function findLabs(wanted = marker): readonly number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && argvOf(pid)[2] === wanted);
}

/** The folder of a lab, which contains its kubeconfig. */
export function directoryOf(lab: number): string {
  return argvOf(lab)[3] ?? "";
}

/** The name of a lab for its users: the end of its folder's name. */
function labName(directory: string): string {
  return basename(directory).slice(`${marker}-`.length);
}

/** The commands that open a shell in this lab and on one of its nodes, with the lab's name if several run. */
export function shellHint({ directory }: { readonly directory: string }): readonly [string, string] {
  const choice = findLabs().length > 1 ? ` --lab ${labName(directory)}` : "";
  return [`npm run shell${choice && ` --${choice}`}`, `npm run shell --${choice} --node node1`];
}

/** The only running lab, or the one of this name. Throws Error with the names to choose from. */
export function chooseLab(name: string | undefined): number {
  const labs = findLabs();
  const fitting = labs.filter((lab) => name === undefined || labName(directoryOf(lab)) === name);
  const [chosen] = fitting;
  if (chosen !== undefined && fitting.length === 1) return chosen;
  if (labs.length === 0) throw new Error("no lab is running: start one with `npm start` or `npm run lab`");
  const choice = labs.map((lab) => `  --lab ${labName(directoryOf(lab))}  ${nodesOf(lab).join(", ")}`).join("\n");
  const found = name === undefined ? `${labs.length} labs are running` : `no lab of the name '${name}' is running`;
  throw new Error(`${found}; choose one of:\n${choice}`);
}

/** The command line that runs `argv` inside a lab: on a node, or beside the API server. Throws Error for an unknown node. */
export function shellCommand(lab: number, node: string | undefined, argv: readonly string[]): readonly string[] {
  const inLab = ["nsenter", `--target=${lab}`, "--mount", "--net", "--pid", "--"];
  if (node === undefined) return [...inLab, ...argv];
  const nodes = nodesOf(lab);
  if (!nodes.includes(node)) throw new Error(`there is no node '${node}': the nodes are ${nodes.join(", ")}`);
  const script = `exec nsenter --target="$(cat ${nodePidDirectory}/"$0")" --mount --net --uts --pid -- "$@"`;
  return [...inLab, "sh", "-c", script, node, ...argv];
}

/** The names of a lab's nodes that are switched on; none while it starts. */
function nodesOf(lab: number): readonly string[] {
  try {
    return readdirSync(`/proc/${lab}/root${nodePidDirectory}`).sort();
  } catch {
    return [];
  }
}

/** Empty if the process has ended meanwhile. */
function argvOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}
