import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
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

  it("is killed again and again, as kubelet is, in the middle of starts and ends: all Pods run, and nothing is left", async () => {
    const replicas = 8;
    await suite.apply(deployment("churn", replicas));
    let done = false;
    const killing = (async () => {
      for (let turn = 0; !done; turn += 1) {
        for (const { name: node } of suite.cluster.nodes) {
          const program = turn % 3 === 2 ? "kubelet" : "containerd";
          await suite.cluster.kill({ node, program, signal: "SIGKILL" }).catch(() => {}); // it is being started
        }
        // Another moment of a Pod's start each time.
        await delay(2_000 + (turn % 5) * 600);
      }
    })();
    for (let round = 0; round < 2; round += 1) {
      await delay(8_000);
      await suite.kubectl("rollout", "restart", "deployment/churn");
    }
    await delay(8_000);
    done = true;
    await killing;
    await suite.kubectl("rollout", "status", "deployment/churn", "--timeout=300s");
    await until("the old Pods are gone", async () =>
      (await suite.podsOf("churn")).length === replicas ? true : undefined,
    );
    await settled(suite);
  });
});
