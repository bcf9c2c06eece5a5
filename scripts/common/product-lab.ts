import { globSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createLabClient, listAt, textAt } from "../../lab/api/index.ts";
import { type LabHandle, type LaunchOptions, launchLab } from "../../lab/launch.ts";
import type { ProductProgram } from "../../lab/protocol.ts";
import { buildShim } from "../../shim/build.ts";
import { buildBundles, nodeCommand } from "./build.ts";
import { chartRights } from "./chart-rights.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

const apiVersion = "spiderpool.spidernet.io/v2beta1";
const readyMsMax = 60_000;

/** The install namespace and the default network, as the walk-through's `helm install` sets them. */
export const installNamespace = "kube-system";
export const defaultNetwork = "ovs-conf";

export type ProductLabOptions = Pick<LaunchOptions, "nodes" | "bridges" | "onPhase" | "logDirectory" | "stderr"> & {
  /** @default "info" */
  readonly logLevel?: string;
  /** Additional environment variables of the agents. */
  readonly agentEnv?: Readonly<Record<string, string>>;
  /** Additional environment variables of the controller. */
  readonly controllerEnv?: Readonly<Record<string, string>>;
  /** File with the settings of agents and controller, `conf.yml`. @default all defaults */
  readonly config?: string | undefined;
};

/** A lab that runs the product: the same bundles and the same shim as everywhere, started as the chart starts them. */
export async function launchProductLab({
  logLevel = "info",
  agentEnv = {},
  controllerEnv = {},
  config,
  ...options
}: ProductLabOptions): Promise<LabHandle> {
  const startMs = performance.now();
  const { agent, controller, lab: program } = await buildPrograms({ logLevel, agentEnv, controllerEnv, config });
  if (options.logDirectory !== undefined) mkdirSync(options.logDirectory, { recursive: true });
  const lab = await launchLab({
    ...options,
    program,
    crds: globSync("charts/spiderpool/crds/*.yaml", { cwd: root }).map((file) =>
      readFileSync(join(root, file), "utf8"),
    ),
    webhooks: {
      url: "http://127.0.0.1:5722",
      group: "spiderpool.spidernet.io",
      kinds: ["SpiderIPPool", "SpiderSubnet", "SpiderReservedIP", "SpiderMultusConfig", "SpiderCoordinator"],
    },
    objects: [kubeadmConfigOf({ pods: "10.244.0.0/16", services: "10.96.0.0/12" }), releaseConfigOf(config)].map(
      (object) => ({
        resource: "v1/configmaps",
        object,
      }),
    ),
    // The chart's rights must suffice for everything that tests do.
    rights: { "spiderpool-agent": chartRights("agent"), "spiderpool-controller": chartRights("controller") },
    agent,
    controller,
  });
  try {
    await ready(lab);
  } catch (error) {
    await lab.stop();
    throw error;
  }
  options.onPhase?.("agents and controller are ready", performance.now() - startMs);
  return lab;
}

/** Agent and controller as the chart starts them, and the lab's own program. */
interface Programs {
  readonly agent: ProductProgram;
  readonly controller: ProductProgram;
  /** Path of a bundle. */
  readonly lab: string;
}

/** Builds the bundles and the shim. */
async function buildPrograms({
  logLevel = "info",
  agentEnv = {},
  controllerEnv = {},
  config,
}: Pick<ProductLabOptions, "logLevel" | "agentEnv" | "controllerEnv" | "config">): Promise<Programs> {
  const [bundles, shim] = await Promise.all([buildBundles(), buildShim(join(root, "build"))]);
  const env = {
    SPIDERPOOL_POD_NAMESPACE: installNamespace,
    SPIDERPOOL_LOG_LEVEL: logLevel,
    MULTUS_CLUSTER_NETWORK: defaultNetwork,
  };
  const settings = config === undefined ? [] : ["--config-path", config];
  // The lab adds the node's name when it starts the agent there.
  const named = 'export SPIDERPOOL_NODE_NAME="$NODE_NAME"; exec "$0" "$@"';
  return {
    lab: bundles.lab,
    agent: {
      argv: [
        ...["sh", "-c", named, ...nodeCommand(bundles, "agent"), "daemon"],
        ...["--cni-bin-dir", "/opt/cni/bin", "--cni-conf-dir", "/etc/cni/net.d", "--shim", shim],
        ...settings,
      ],
      env: { ...env, ...agentEnv },
    },
    controller: {
      argv: [...nodeCommand(bundles, "controller"), "daemon", ...settings],
      env: { ...env, SPIDERPOOL_POD_NAME: "spiderpool-controller-lab", ...controllerEnv },
    },
  };
}

/** Resolves when the nodes are Ready, which needs their agents, and the controller has its settings in place. */
async function ready({ url, nodes }: LabHandle): Promise<void> {
  const client = createLabClient({ baseUrl: url });
  const controller = "the controller has not created its SpiderCoordinator";
  const waiting = new Set([controller, ...nodes.map(({ name }) => name)]);
  const stop = new AbortController();
  const signal = AbortSignal.any([AbortSignal.timeout(readyMsMax), stop.signal]);
  const met = (what: string) => {
    waiting.delete(what);
    if (waiting.size === 0) stop.abort();
  };
  const watches = [
    client.watch("v1/nodes", { signal }, ({ object }) => {
      const conditions = listAt(object, "status", "conditions");
      const isReady = conditions.some((one) => textAt(one, "type") === "Ready" && textAt(one, "status") === "True");
      if (isReady) met(object.metadata.name);
    }),
    client.watch(`${apiVersion}/spidercoordinators`, { signal }, () => met(controller)),
  ];
  await Promise.allSettled(watches.map(({ done }) => done));
  if (waiting.size > 0) throw new Error(`not ready within ${readyMsMax / 1000} s: ${[...waiting].join("; ")}`);
}

/** Where the controller reads the cluster's own ranges, each a CIDR or two with a comma. */
export function kubeadmConfigOf({ pods, services }: { readonly pods: string; readonly services: string }) {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "kubeadm-config", namespace: installNamespace },
    data: { ClusterConfiguration: `networking:\n  podSubnet: ${pods}\n  serviceSubnet: ${services}\n` },
  };
}

/** The release's settings, with the label by which spiderpoolctl finds them. The programs themselves read the file. */
function releaseConfigOf(config: string | undefined) {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: "spiderpool-conf",
      namespace: installNamespace,
      labels: { "app.kubernetes.io/component": "spiderpool" },
    },
    data: { clusterNetwork: defaultNetwork, "conf.yml": config === undefined ? "" : readFileSync(config, "utf8") },
  };
}
