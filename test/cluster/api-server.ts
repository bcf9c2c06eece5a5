import { mkdirSync } from "node:fs";
import { createNetworks, enterLab } from "../../lab/topology/index.ts";
import { findBinaries } from "./binaries.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";

/** Flags for suites that create Pods, because without a controller manager there are no service accounts. */
export const withoutAccounts = "--disable-admission-plugins=ServiceAccount";

/** The folder for the files of the API server and of a suite. */
export const directory = "/run/cluster";

/**
 * For a suite that is a process of its own: enters the namespaces of a lab, and starts a Kubernetes API server with its etcd
 * there, without controllers. Everything ends with the process.
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
