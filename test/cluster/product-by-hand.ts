import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type LabNode, type NodeProcess, spawnProgram } from "../../lab/topology/index.ts";
import { buildBundles, nodeCommand } from "../../scripts/common/build.ts";
import { buildShim } from "../../shim/build.ts";

const installNamespace = "kube-system";
const env = {
  SPIDERPOOL_POD_NAMESPACE: installNamespace,
  SPIDERPOOL_LOG_LEVEL: "info",
  MULTUS_CLUSTER_NETWORK: "ovs-conf",
};

/** Bundles and shim of the product, started with the same flags as by the chart. */
interface Product {
  /** `kubeconfig` is the text of one. */
  startController(kubeconfig: string): NodeProcess;
  startAgent(node: LabNode, kubeconfig: string): Promise<NodeProcess>;
}

/** Builds the product; its logs and kubeconfigs are kept in `directory`. */
export async function buildProduct(directory: string): Promise<Product> {
  const build = fileURLToPath(new URL("../../build", import.meta.url));
  const [bundles, shim] = await Promise.all([buildBundles(), buildShim(build)]);
  const variables = { ...process.env, ...env };
  return {
    startController: (kubeconfig) => {
      const path = `${directory}/controller.kubeconfig`;
      writeFileSync(path, kubeconfig, { mode: 0o600 });
      return spawnProgram({
        argv: [...nodeCommand(bundles, "controller"), "daemon", "--kubeconfig", path],
        env: { ...variables, SPIDERPOOL_POD_NAME: "spiderpool-controller-1" },
        logFile: `${directory}/controller.log`,
      });
    },
    startAgent: async (node, kubeconfig) => {
      const path = "/var/lib/kubelet/spiderpool.kubeconfig";
      await node.run(["sh", "-c", 'umask 077; cat >"$0"', path], { input: kubeconfig });
      const folders = ["--cni-bin-dir", "/opt/cni/bin", "--cni-conf-dir", "/etc/cni/net.d"];
      return node.spawn({
        argv: [...nodeCommand(bundles, "agent"), "daemon", "--kubeconfig", path, ...folders, "--shim", shim],
        env: { ...variables, SPIDERPOOL_NODE_NAME: node.name },
        logFile: `${directory}/${node.name}-agent.log`,
      });
    },
  };
}
