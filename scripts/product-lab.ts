import { globSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type LabHandle, type LaunchOptions, launchLab } from "../lab/launch.ts";
import { buildShim } from "../shim/build.ts";
import { buildBundles } from "./build.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The install namespace and the default network, as the walk-through's `helm install` sets them. */
export const installNamespace = "kube-system";
export const defaultNetwork = "ovs-conf";

export type ProductLabOptions = Pick<LaunchOptions, "nodes" | "bridges" | "onPhase" | "logDirectory" | "stderr"> & {
  /** @default "info" */
  readonly logLevel?: string;
};

/** A lab that runs the product: the same bundles and the same shim as everywhere, started as the chart starts them. */
export async function launchProductLab({ logLevel = "info", ...options }: ProductLabOptions): Promise<LabHandle> {
  const [bundles, shim] = await Promise.all([buildBundles(), buildShim(join(root, "build"))]);
  const env = {
    SPIDERPOOL_POD_NAMESPACE: installNamespace,
    SPIDERPOOL_LOG_LEVEL: logLevel,
    MULTUS_CLUSTER_NETWORK: defaultNetwork,
  };
  if (options.logDirectory !== undefined) mkdirSync(options.logDirectory, { recursive: true });
  // Only the lab knows a node's name when it starts the agent there.
  const named = 'export SPIDERPOOL_NODE_NAME="$NODE_NAME"; exec "$0" "$@"';
  return await launchLab({
    ...options,
    program: bundles.lab,
    crds: globSync("charts/spiderpool/crds/*.yaml", { cwd: root }).map((file) =>
      readFileSync(join(root, file), "utf8"),
    ),
    webhooks: {
      url: "http://127.0.0.1:5722",
      group: "spiderpool.spidernet.io",
      kinds: ["SpiderIPPool", "SpiderSubnet", "SpiderReservedIP", "SpiderMultusConfig", "SpiderCoordinator"],
    },
    objects: [{ resource: "v1/configmaps", object: kubeadmConfig }],
    agent: {
      argv: [
        ...["sh", "-c", named, process.execPath, bundles.agent, "daemon"],
        ...["--cni-bin-dir", "/opt/cni/bin", "--cni-conf-dir", "/etc/cni/net.d", "--shim", shim],
      ],
      env,
    },
    controller: {
      argv: [process.execPath, bundles.controller, "daemon"],
      env: { ...env, SPIDERPOOL_POD_NAME: "spiderpool-controller-lab" },
    },
  });
}

/** Where the controller reads the cluster's own ranges. */
const kubeadmConfig = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "kubeadm-config", namespace: installNamespace },
  data: { ClusterConfiguration: "networking:\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.96.0.0/12\n" },
};
