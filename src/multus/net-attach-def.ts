import { defaultNetworkAnnotation, networksAnnotation, parseDefaultNetwork, parseNetworks } from "./selection.ts";

/**
 * The position of a NIC among the Pod's: 0 for the default network's, k for that of the k-th selected network, whatever it is
 * called. Undefined for a name that nothing tells the position of. Throws CniError 7 for an annotation that cannot be read.
 */
export function slotOf(
  nic: string,
  pod: { readonly namespace: string; readonly annotations: Readonly<Record<string, string>> },
): number | undefined {
  const selected = parseNetworks(pod.annotations[networksAnnotation] ?? "", pod.namespace);
  const at = selected.findIndex((one, index) => (one.interface ?? `net${index + 1}`) === nic);
  return at >= 0 ? at + 1 : nic === "eth0" ? 0 : undefined;
}

/**
 * The net-attach-def of a NIC as `namespace/name`: the selected network's of that name or position, else the default
 * network's, which the Pod's annotation may replace. Undefined if there is neither. `clusterNetwork`: `name` or
 * `namespace/name`. Throws CniError 7 for an annotation that cannot be read.
 */
export function netAttachDefOf(
  nic: string,
  pod: { readonly namespace: string; readonly annotations: Readonly<Record<string, string>> },
  cluster: { readonly namespace: string; readonly clusterNetwork: string },
): string | undefined {
  const { [networksAnnotation]: networks = "", [defaultNetworkAnnotation]: byPod = "" } = pod.annotations;
  const selected = parseNetworks(networks, pod.namespace);
  const found = selected.find((one, at) => (one.interface ?? `net${at + 1}`) === nic);
  if (found !== undefined) return `${found.namespace}/${found.name}`;
  if (byPod.trim() !== "") {
    const selection = parseDefaultNetwork(byPod, cluster.namespace);
    return `${selection.namespace}/${selection.name}`;
  }
  return cluster.clusterNetwork === "" ? undefined : clusterNetworkKey(cluster);
}

/** The cluster's default network as `namespace/name`. `clusterNetwork`: `name`, of the install namespace, or `namespace/name`. */
export function clusterNetworkKey({
  clusterNetwork,
  namespace,
}: {
  readonly namespace: string;
  readonly clusterNetwork: string;
}): string {
  return clusterNetwork.includes("/") ? clusterNetwork : `${namespace}/${clusterNetwork}`;
}
