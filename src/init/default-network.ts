import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { annotations, type SpiderMultusConfig, spiderMultusConfigs } from "#api";
import type { Draft } from "#kube";

const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * An empty network with the name of the one that this node's runtime uses, so that Pods can request it by name. `default` if the
 * node has none yet, or one whose name is not a valid object name.
 */
export function nodeNetwork(confDir: string, namespace: string) {
  const name = nodeNetworkName(confDir) ?? "default";
  // Users know Calico's network as "calico", not by the name in its configuration.
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

/** The name of the network in the first CNI configuration, by file name, that is not ours; undefined if there is none. */
function nodeNetworkName(confDir: string): string | undefined {
  for (const file of readdirSync(confDir).sort()) {
    if (!/\.(conf|conflist)$/.test(file) || file.toLowerCase().includes("multus")) continue;
    try {
      const { name } = JSON.parse(readFileSync(join(confDir, file), "utf8")) as { readonly name?: unknown };
      if (typeof name === "string" && objectName.test(name)) return name;
    } catch {
      // Not readable or not JSON: the runtime skips it, too.
    }
  }
  return undefined;
}
