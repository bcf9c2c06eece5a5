// `node scripts/cluster.ts COMMAND`: the product on a real Kubernetes, in namespaces of this machine. Needs root.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { labNamespaces } from "../lab/topology/index.ts";
import { ensureBinaries } from "../test/cluster/binaries.ts";

const usage = `node scripts/cluster.ts COMMAND
  build    etcd and Kubernetes, into ~/.cache/spiderpool (8 minutes the first time)
  contact  tests against etcd and kube-apiserver alone: claims, views, watches, ADD and DEL by hand
`;
const [, , command = ""] = process.argv;

switch (command) {
  case "build":
    await ensureBinaries(console.log);
    break;
  case "contact":
    await ensureBinaries(console.log);
    process.exitCode = await inNamespaces(["--test-force-exit", "test/cluster/contact.e2e.ts"]);
    break;
  default:
    process.stderr.write(usage);
    process.exitCode = 2;
}

/** Runs one of our programs as process 1 of namespaces of its own; all that it starts ends with it. */
async function inNamespaces(argv: readonly string[]): Promise<number> {
  const [program = "", ...args] = labNamespaces([process.execPath, ...argv]);
  const child = spawn(program, args, { cwd: fileURLToPath(new URL("..", import.meta.url)), stdio: "inherit" });
  return await new Promise((resolve) => child.on("exit", (status) => resolve(status ?? 1)));
}
