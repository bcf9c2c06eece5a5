import {
  defaultNetworkAnnotation,
  networksAnnotation,
  nicNameOf,
  parseDefaultNetwork,
  parseNetworks,
} from "./selection.ts";

/**
 * The position of a NIC among the NICs of a Pod: 0 for the default network, k for the k-th network of the annotation, whatever
 * the NIC's name. Undefined if neither is known under this name. Throws CniError 7 for a malformed annotation.
 */
export function slotOf(
  nic: string,
  pod: { readonly namespace: string; readonly annotations: Readonly<Record<string, string>> },
): number | undefined {
  const selected = parseNetworks(pod.annotations[networksAnnotation] ?? "", pod.namespace);
  const at = selected.findIndex((one, index) => nicNameOf(one, index + 1) === nic);
  return at >= 0 ? at + 1 : nic === "eth0" ? 0 : undefined;
}

/**
 * The NetworkAttachmentDefinition of a NIC, as `namespace/name`: that of the selected network with the NIC's name or position;
 * otherwise that of the default network, which the Pod's annotation may replace; undefined if there is neither.
 * `clusterNetwork` is `name` or `namespace/name`. Throws CniError 7 for a malformed annotation.
 */
export function netAttachDefOf(
  nic: string,
  pod: { readonly namespace: string; readonly annotations: Readonly<Record<string, string>> },
  cluster: { readonly namespace: string; readonly clusterNetwork: string },
): string | undefined {
  const { [networksAnnotation]: networks = "", [defaultNetworkAnnotation]: byPod = "" } = pod.annotations;
  const selected = parseNetworks(networks, pod.namespace);
  const found = selected.find((one, at) => nicNameOf(one, at + 1) === nic);
  if (found !== undefined) return `${found.namespace}/${found.name}`;
  if (byPod.trim() !== "") {
    const selection = parseDefaultNetwork(byPod, cluster.namespace);
    return `${selection.namespace}/${selection.name}`;
  }
  return cluster.clusterNetwork === "" ? undefined : clusterNetworkKey(cluster);
}

/** The cluster's default network as `namespace/name`. A `clusterNetwork` without a namespace is in the install namespace. */
export function clusterNetworkKey({
  clusterNetwork,
  namespace,
}: {
  readonly namespace: string;
  readonly clusterNetwork: string;
}): string {
  return clusterNetwork.includes("/") ? clusterNetwork : `${namespace}/${clusterNetwork}`;
}
