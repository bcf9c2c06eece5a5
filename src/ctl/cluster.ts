import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { type Clock, SpiderError, systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig } from "#kube";
import { execCredentials } from "./exec-credentials.ts";
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
  /** The flags with which kubectl has the same cluster, in the same environment. */
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
 * Connects as kubectl does: `--kubeconfig`, else the files of `$KUBECONFIG` together, else `~/.kube/config`, else the Pod's
 * service account. Throws KUBE_CONFIG_MISSING and KUBE_CONFIG_INVALID.
 */
export const connect: Connect = ({ kubeconfig, context, namespace }, { env }) => {
  const { KUBECONFIG = "", HOME = homedir(), KUBERNETES_SERVICE_HOST: inPod } = env;
  const named = KUBECONFIG.split(delimiter).filter((path) => path !== "");
  const candidates = named.length > 0 ? named : [join(HOME, ".kube", "config")];
  const present = kubeconfig === undefined ? candidates.filter(existsSync) : [kubeconfig];
  const found = present.length > 0 ? present : undefined;
  if (found === undefined && inPod === undefined) {
    const missing = candidates.join(", ");
    throw new SpiderError(
      "KUBE_CONFIG_MISSING",
      `no kubeconfig: there is no ${missing}, and this is no Pod; name one with --kubeconfig FILE or $KUBECONFIG`,
    );
  }
  const config = loadKubeConfig({ kubeconfig: found, context, env, ask: execCredentials });
  const transport = createTransport(config, { clock: systemClock });
  return {
    client: new KubeClient({ transport, clock: systemClock, userAgent: "spiderpoolctl" }),
    clock: systemClock,
    namespace: namespace ?? config.namespace,
    ...(found === undefined && { mounted: readMounted(env["SPIDERPOOL_POD_NAMESPACE"]) }),
    kubectlFlags: [
      ...(kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig]),
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
