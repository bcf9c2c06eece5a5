import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { annotations, type SpiderMultusConfig, spiderMultusConfigs } from "#api";
import type { Draft } from "#kube";

const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * An empty network named like the one that this node's runtime uses, so that Pods can ask for it by name. `default` where
 * the node has none yet, or one whose name no object can have.
 */
export function nodeNetwork(confDir: string, namespace: string) {
  const name = nodeNetworkName(confDir) ?? "default";
  // Calico's network has a name that its users know in the annotation only.
  const calico = name === "k8s-pod-network";
  const object: Draft<SpiderMultusConfig> & { readonly metadata: { readonly name: string } } = {
    metadata: {
      namespace,
      name: calico ? "calico" : name,
      ...(calico && { annotations: { [annotations.networkName]: name } }),
    },
    spec: { cniType: "custom", customCNI: "", enableCoordinator: false },
  };
  return { resource: spiderMultusConfigs, object };
}

/** The network of the first CNI configuration, by file name, that is not ours; undefined where there is none. */
function nodeNetworkName(confDir: string): string | undefined {
  for (const file of readdirSync(confDir).sort()) {
    if (!/\.(conf|conflist)$/.test(file) || file.toLowerCase().includes("multus")) continue;
    try {
      const { name } = JSON.parse(readFileSync(join(confDir, file), "utf8")) as { readonly name?: unknown };
      if (typeof name === "string" && objectName.test(name)) return name;
    } catch {
      // Not readable or not JSON: the runtime passes it over, too.
    }
  }
  return undefined;
}
