import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig } from "#kube";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { createNetworks, enterLab, run } from "../../lab/topology/index.ts";
import { findBinaries } from "./binaries.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";

/** Flags for suites that create Pods, because without a controller manager there are no service accounts. */
export const withoutAccounts = "--disable-admission-plugins=ServiceAccount";

/** The folder for the files of the API server and of a suite. */
export const directory = "/run/cluster";

/** An API server, and how a suite asks it for something. */
interface SuiteServer extends ControlPlane {
  readonly networks: Awaited<ReturnType<typeof createNetworks>>;
  /** The administrator's. */
  readonly client: KubeClient;
  /** Runs kubectl as the administrator, and returns what it prints. */
  readonly kubectl: (argv: readonly string[], input?: string) => Promise<string>;
}

/**
 * For a suite that is a process of its own: enters the namespaces of a lab, and starts a Kubernetes API server with its etcd
 * there, without controllers. Everything ends with the process.
 */
export async function startApiServer(flags: readonly string[] = []): Promise<SuiteServer> {
  enterLab();
  mkdirSync(directory);
  const networks = await createNetworks();
  const plane = await startControlPlane({
    directory,
    binary: await findBinaries({ programs: ["kube-apiserver"], say: console.log }),
    controllers: false,
    apiServerFlags: flags,
  });
  const kubectlPath = await findKubectl("1.35");
  const asAdmin = [kubectlPath, "--kubeconfig", plane.admin, `--cache-dir=${directory}/cache`];
  const kubectl = (argv: readonly string[], input = "") => run([...asAdmin, ...argv], { input });
  return { ...plane, networks, client: clientOf(plane.admin), kubectl };
}

export function clientOf(kubeconfig: string): KubeClient {
  const transport = createTransport(loadKubeConfig({ kubeconfig }), { clock: systemClock });
  return new KubeClient({ transport, clock: systemClock });
}

/** Writes a kubeconfig like the administrator's, but for the user, who has this token only. Returns its path. */
export function kubeconfigOfToken(admin: string, token: string): string {
  const config = JSON.parse(readFileSync(admin, "utf8"));
  config.users[0].user = { token };
  const path = join(directory, `${crypto.randomUUID()}.kubeconfig`);
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}
