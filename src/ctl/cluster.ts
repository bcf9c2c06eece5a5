import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { type Clock, SpiderError, systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig } from "#kube";
import type { Io } from "./io.ts";

/** The flags that select the cluster, as in kubectl. */
export interface ClusterFlags {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly namespace?: string | undefined;
}

/** A connection to the cluster. */
export interface Cluster extends Disposable {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** `-n`, else the context's own. */
  readonly namespace: string;
  /** In a Pod of the release, whose account may not list ConfigMaps. */
  readonly mounted?: ReleaseConfig | undefined;
  /** The flags with which kubectl has the same cluster. */
  readonly kubectlFlags: readonly string[];
}

/** The release's ConfigMap. */
export interface ReleaseConfig {
  readonly namespace: string;
  readonly data: Readonly<Record<string, string>>;
}

/** Where the chart mounts the release's ConfigMap in agent and controller. */
const configMount = "/tmp/spiderpool/config-map";

/** Connects to the cluster that the flags select. Tests replace it by a cluster in memory. */
export type Connect = (flags: ClusterFlags, io: Pick<Io, "env">) => Cluster;

/**
 * Connects as kubectl does: `--kubeconfig`, else the first existing file of `$KUBECONFIG`, else `~/.kube/config`, else the
 * Pod's service account. Throws KUBE_CONFIG_INVALID.
 */
export const connect: Connect = ({ kubeconfig, context, namespace }, { env }) => {
  const { KUBECONFIG = "", HOME = homedir(), KUBERNETES_SERVICE_HOST: inPod } = env;
  const named = KUBECONFIG.split(delimiter).filter((path) => path !== "");
  const candidates = [...named, join(HOME, ".kube", "config")];
  const found = kubeconfig ?? candidates.find(existsSync);
  if (found === undefined && inPod === undefined) {
    const missing = candidates.join(", ");
    throw new SpiderError(
      "KUBE_CONFIG_INVALID",
      `no kubeconfig: there is no ${missing}, and this is no Pod; name one with --kubeconfig FILE or $KUBECONFIG`,
    );
  }
  const config = loadKubeConfig({ kubeconfig: found, context, env });
  const transport = createTransport(config, { clock: systemClock });
  return {
    client: new KubeClient({ transport, clock: systemClock, userAgent: "spiderpoolctl" }),
    clock: systemClock,
    namespace: namespace ?? config.namespace,
    ...(found === undefined && { mounted: readMounted(env["SPIDERPOOL_POD_NAMESPACE"]) }),
    kubectlFlags: [
      ...(found === undefined ? [] : ["--kubeconfig", found]),
      ...(context === undefined ? [] : ["--context", context]),
    ],
    [Symbol.dispose]: () => transport[Symbol.dispose](),
  };
};

/** The ConfigMap that is mounted in a Pod of the release; undefined elsewhere. */
export function readMounted(namespace: string | undefined, folder = configMount): ReleaseConfig | undefined {
  if (namespace === undefined || !existsSync(folder)) return undefined;
  const keys = ["conf.yml", "clusterNetwork"].filter((key) => existsSync(join(folder, key)));
  return { namespace, data: Object.fromEntries(keys.map((key) => [key, readFileSync(join(folder, key), "utf8")])) };
}
