// `npm run shell [-- --node NAME --lab NAME]`: a shell inside a running lab, with kubectl and spiderpoolctl ready to type.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { chooseLab, shellCommand } from "../lab/shell.ts";
import { kubeconfigFor } from "../lab/tools/kubeconfig.ts";
import { managementGateway } from "../lab/topology/index.ts";
import { readFlags } from "./common/flags.ts";
import { makeShellFolder } from "./common/shell-folder.ts";

const flags = readFlags("npm run shell -- [flags]: opens a shell in the running lab, with kubectl and spiderpoolctl.", {
  node: { type: "string", value: "NAME", help: "open it on this node instead of beside the API server" },
  lab: { type: "string", value: "NAME", help: "the lab to use, if several run" },
});
if (process.getuid?.() !== 0) {
  console.error("Entering a lab's namespaces needs root: sudo npm run shell");
  process.exit(1);
}
// Entering another mount namespace changes the working directory: back to the folder with the examples.
const login = ["sh", "-c", 'cd "$0" && exec bash --norc -i', fileURLToPath(new URL("..", import.meta.url))];
const [command = "", ...argv] = shellCommand(chooseLab(flags.lab), flags.node, login);
using folder = await makeShellFolder(kubeconfigFor(`http://${managementGateway}:6443`));
const env = { ...folder.env, PS1: `(${flags.node ?? "lab"}) \\w # ` };
const shell = spawn(command, argv, { stdio: "inherit", env });
process.on("SIGINT", () => {});
const [code] = await once(shell, "exit");
process.exitCode = code ?? 1;
