import { decodeSettings } from "#api";
import type { Family } from "#ip";
import { configMaps, type KubeClient } from "#kube";
import type { Cluster, ReleaseConfig } from "../cluster.ts";
import type { Installation } from "./facts.ts";

/** Reads the release's ConfigMap: what its Pods have mounted, else by its labels, because its name is the user's choice. */
export async function findInstallation(
  { client, mounted }: Pick<Cluster, "client" | "mounted">,
  signal: AbortSignal,
): Promise<Installation> {
  const { namespace, data } = mounted ?? (await listedConfig(client, signal)) ?? {};
  const { settings } = decodeSettings(data?.["conf.yml"] ?? "");
  const families: readonly Family[] = [
    ...(settings.enableIPv4 ? ([4] as const) : []),
    ...(settings.enableIPv6 ? ([6] as const) : []),
  ];
  return {
    namespace: namespace ?? "kube-system",
    clusterNetwork: data?.["clusterNetwork"] ?? "",
    families,
    settings,
    found: namespace !== undefined,
  };
}

async function listedConfig(client: KubeClient, signal: AbortSignal): Promise<ReleaseConfig | undefined> {
  const labelSelector = "app.kubernetes.io/component=spiderpool";
  const [first] = await Array.fromAsync(client.listAll(configMaps, { signal, labelSelector }));
  return first && { namespace: first.metadata.namespace ?? "", data: first.data ?? {} };
}
