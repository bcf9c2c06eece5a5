import { mkdirSync } from "node:fs";
import { createNetworks, enterLab } from "../../lab/topology/index.ts";
import { findBinaries } from "./binaries.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";

/** For suites that make Pods: without a controller manager these have no service accounts. */
export const withoutAccounts = "--disable-admission-plugins=ServiceAccount";

/** Where the API server's files are, and a suite's own. */
export const directory = "/run/cluster";

/**
 * For a suite of its own process: enters namespaces of a lab and starts there a Kubernetes API server with its etcd, without
 * controllers. Everything ends with the process.
 */
export async function startApiServer(
  flags: readonly string[] = [],
): Promise<ControlPlane & { readonly networks: Awaited<ReturnType<typeof createNetworks>> }> {
  enterLab();
  mkdirSync(directory);
  const networks = await createNetworks();
  const plane = await startControlPlane({
    directory,
    binary: await findBinaries({ programs: ["kube-apiserver"], say: console.log }),
    controllers: false,
    apiServerFlags: flags,
  });
  return { ...plane, networks };
}
