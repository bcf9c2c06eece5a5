import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { containerdVersion } from "../cluster/binaries.ts";
import { ledgerIsEmpty, settled } from "./audit.ts";
import { manifests, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod } from "./workloads.ts";

describe(`containerd ${containerdVersion}`, () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("runtime", { bridges: true, containerd2: true });
    await suite.kubectl("apply", "-f", `${manifests}/pool.yaml`, "-f", `${manifests}/network.yaml`);
  });
  after(() => suite?.[Symbol.asyncDispose]());

  it("is what the nodes run", async () => {
    const versions = "jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}";
    const said = await suite.kubectl("get", "nodes", "-o", versions);
    assert.deepEqual(
      said.split(" "),
      suite.cluster.nodes.map(() => `containerd://${containerdVersion.slice(1)}`),
    );
  });

  it("starts, replaces and ends Pods, over its own restart too, and nothing is left", async () => {
    await suite.apply(deployment("app", 4));
    await suite.kubectl("rollout", "status", "deployment/app", "--timeout=300s");
    await suite.kubectl("rollout", "restart", "deployment/app");
    await suite.kubectl("rollout", "status", "deployment/app", "--timeout=300s");
    for (const { name } of suite.cluster.nodes)
      await suite.cluster.kill({ node: name, program: "containerd", signal: "SIGKILL" });
    await suite.apply(pod("late"));
    await suite.kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=300s");
    await until("the old Pods are gone", async () => ((await suite.list("pods")).length === 5 ? true : undefined));
    await settled(suite);
    await suite.kubectl("delete", "deploy,pods", "--all", "--wait=true", "--timeout=300s");
    await ledgerIsEmpty(suite);
    await settled(suite);
  });
});
