import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findKubectl } from "../../lab/kubectl.ts";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { buildPrograms, defaultNetwork, installNamespace, kubeadmConfig } from "../../scripts/product-lab.ts";
import { type ClusterOptions, launchCluster } from "./launch.ts";
import { rightsManifest } from "./rights.ts";

export const crdFolder = fileURLToPath(new URL("../../charts/spiderpool/crds", import.meta.url));

/** Until it is filled, Pods stay on the network that the node had before. */
const emptyNetwork = {
  apiVersion: "k8s.cni.cncf.io/v1",
  kind: "NetworkAttachmentDefinition",
  metadata: { name: defaultNetwork, namespace: installNamespace },
};

export type ProductClusterOptions = Partial<ClusterOptions> & {
  readonly logLevel?: string;
  readonly agentEnv?: Readonly<Record<string, string>>;
};

/** A real cluster that runs the product's programs beside its own, as the chart's Pods would run them. */
export async function launchProductCluster(options: ProductClusterOptions): Promise<LabHandle> {
  const { logLevel, agentEnv, ...rest } = options;
  if (options.logDirectory !== undefined) mkdirSync(options.logDirectory, { recursive: true });
  const { agent, controller } = await buildPrograms({ ...(logLevel && { logLevel }), ...(agentEnv && { agentEnv }) });
  const cluster = await launchCluster({
    nodes: 2,
    ...rest,
    manifests: [
      crdFolder,
      rightsManifest(),
      ...[kubeadmConfig, emptyNetwork].map((object) => JSON.stringify(object)),
      ...(rest.manifests ?? []),
    ],
    agent,
    controller,
  });
  const stage = new Stage({ lab: cluster, kubectl: await findKubectl("1.35"), print: () => {} });
  await stage.kubectl("wait", "--for=create", "spidercoordinator/default", "--timeout=30s");
  for (const { name } of cluster.nodes)
    await cluster.run({ node: name, argv: ["timeout", "30", "sh", "-c", untilServing] });
  if (stage.failures.length === 0) return cluster;
  await cluster.stop();
  throw new Error(`the product did not start: ${stage.failures.join("; ")}`);
}

/** Ends when the node's agent has told the runtime of itself. */
const untilServing = "until ls /etc/cni/net.d/ | grep -q multus; do sleep 0.05; done";
