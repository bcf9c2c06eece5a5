import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findKubectl, type KubectlVersion } from "../../lab/tools/kubectl.ts";
import { buildBundles } from "./build.ts";

/**
 * A folder with what a shell inside a lab or cluster has ready to type: kubectl and spiderpoolctl, both of the cluster that this
 * text of a kubeconfig names. `env` is the shell's environment. Removed when it is disposed of.
 */
export async function makeShellFolder(
  kubeconfig: string,
  kubectlVersion?: KubectlVersion,
): Promise<Disposable & { readonly env: NodeJS.ProcessEnv }> {
  const [kubectl, { spiderpoolctl }] = await Promise.all([findKubectl(kubectlVersion), buildBundles()]);
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-shell-"));
  symlinkSync(kubectl, join(folder, "kubectl"));
  for (const name of ["spiderpoolctl", "kubectl-spiderpool"]) {
    // `spiderpoolctl` shows in its help the name by which it was started.
    const program = join(folder, `${name}.mjs`);
    symlinkSync(spiderpoolctl, program);
    writeFileSync(join(folder, name), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, { mode: 0o755 });
  }
  writeFileSync(join(folder, "kubeconfig"), kubeconfig, { mode: 0o600 });
  return {
    env: {
      ...process.env,
      KUBECONFIG: join(folder, "kubeconfig"),
      KUBECACHEDIR: join(folder, "cache"),
      PATH: `${folder}:${process.env["PATH"]}`,
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
