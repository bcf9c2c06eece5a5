// `npm run shell [-- --node NAME --lab NAME]`: a shell inside a running lab, with kubectl and spiderpoolctl ready to type.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { kubeconfigFor } from "../lab/kubeconfig.ts";
import { findKubectl } from "../lab/kubectl.ts";
import { chooseLab, shellCommand } from "../lab/shell.ts";
import { buildBundles } from "./common/build.ts";
import { readFlags } from "./common/flags.ts";

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
const folder = mkdtempSync(join(tmpdir(), "spiderpool-shell-"));
symlinkSync(await findKubectl(), join(folder, "kubectl"));
const { spiderpoolctl } = await buildBundles();
for (const name of ["spiderpoolctl", "kubectl-spiderpool"]) {
  // `spiderpoolctl` shows in its help the name by which it was started.
  const program = join(folder, `${name}.mjs`);
  symlinkSync(spiderpoolctl, program);
  writeFileSync(join(folder, name), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, { mode: 0o755 });
}
writeFileSync(join(folder, "kubeconfig"), kubeconfigFor("http://10.222.0.1:6443"));
const env = {
  ...process.env,
  KUBECONFIG: join(folder, "kubeconfig"),
  KUBECACHEDIR: join(folder, "cache"),
  PATH: `${folder}:${process.env["PATH"]}`,
  PS1: `(${flags.node ?? "lab"}) \\w # `,
};
const shell = spawn(command, argv, { stdio: "inherit", env });
process.on("SIGINT", () => {});
shell.on("exit", (code) => {
  rmSync(folder, { recursive: true, force: true });
  process.exitCode = code ?? 1;
});
