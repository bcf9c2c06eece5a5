import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Stage } from "../lab/scenarios/stage.ts";
import { findKubectl } from "../lab/tools/kubectl.ts";
import { launchProductLab, type ProductLabOptions } from "../scripts/common/product-lab.ts";

/** Where the walk-through's manifests are. */
export const manifests = fileURLToPath(new URL("../examples/ovs", import.meta.url));

interface StageOptions extends Pick<ProductLabOptions, "agentEnv" | "controllerEnv"> {
  /** @default 1 */
  readonly nodes?: number;
  /** Which of the walk-through's manifests are applied; a network is waited for. */
  readonly apply: readonly ("pool" | "network" | "app")[];
}

/** A lab that runs the product, with a bridge on each node. `lab.stop()` ends it. Throws AssertionError where kubectl fails. */
export async function startStage({ nodes = 1, apply, ...env }: StageOptions): Promise<Stage> {
  const lab = await launchProductLab({ nodes, bridges: true, ...env });
  const stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
  for (const file of apply) await stage.kubectl("apply", "-f", `${manifests}/${file}.yaml`);
  if (apply.includes("network")) {
    const nad = "network-attachment-definition/ovs-conf";
    await stage.kubectl("wait", nad, "-n", "kube-system", "--for=jsonpath={.spec.config}", "--timeout=120s");
  }
  assert.deepEqual(stage.failures, []);
  return stage;
}
