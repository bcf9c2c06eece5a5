import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { installed } from "../cluster/product.ts";
import { nothingLeft, settled } from "./audit.ts";
import { figure } from "./figures.ts";
import { manifests, type StoredPod, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod, pool } from "./workloads.ts";

const isReady = ({ metadata, status }: StoredPod) =>
  metadata.deletionTimestamp === undefined &&
  (status.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True");

describe("when a node loses power", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("nodes", { bridges: true });
    await suite.kubectl("apply", "-f", `${manifests}/pool.yaml`, "-f", `${manifests}/network.yaml`);
    await suite.apply(pool("large", "172.18.50.1-172.18.50.100"));
  });
  afterEach(() => suite.stage.quiet("delete", "deploy,sts,pods", "--all", "--wait=true"));
  after(() => suite?.[Symbol.asyncDispose]());

  const readyOf = async (app: string) => (await suite.podsOf(app)).filter(isReady);
  const nodeReady = (node: string) => suite.kubectl("wait", `node/${node}`, "--for=condition=Ready", "--timeout=300s");

  it("its Pods start elsewhere, and its return leaves nothing double", async () => {
    await suite.apply(deployment("moving", 4));
    await suite.kubectl("rollout", "status", "deployment/moving", "--timeout=300s");
    await suite.cluster.powerOff({ node: "node2" });
    await suite.kubectl("wait", "node/node2", "--for=condition=Ready=Unknown", "--timeout=300s");
    // As an administrator says that the machine is off: Pods and volumes are given up at once.
    await suite.kubectl("taint", "node", "node2", "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute");
    const ready = await until(
      "four Pods are Ready on node1",
      async () => {
        const pods = (await readyOf("moving")).filter(({ spec }) => spec.nodeName === "node1");
        return pods.length === 4 ? pods : undefined;
      },
      300,
    );
    const ips = ready.map(({ status }) => status.podIP);
    assert.equal(new Set(ips).size, 4);
    await suite.cluster.powerOn({ node: "node2" });
    await nodeReady("node2");
    await suite.kubectl("taint", "node", "node2", "node.kubernetes.io/out-of-service-");
    await settled(suite);
    assert.deepEqual((await readyOf("moving")).map(({ status }) => status.podIP).sort(), ips.sort());
    await nothingLeft(suite);
  });

  it("both at once, with 30 Pods each: all are Ready again, with their addresses, and nothing is double", async () => {
    await suite.apply(
      ...["node1", "node2"].map((node) => deployment(`many-${node}`, 30, { pools: { ipv4: ["large"] }, node })),
    );
    for (const node of ["node1", "node2"])
      await suite.kubectl("rollout", "status", `deployment/many-${node}`, "--timeout=300s");
    await settled(suite);
    await Promise.all(["node1", "node2"].map((node) => suite.cluster.powerOff({ node })));
    const startedMs = performance.now();
    await Promise.all(["node1", "node2"].map((node) => suite.cluster.powerOn({ node })));
    const ready = await until(
      "60 Pods are Ready",
      async () => {
        // Those of before the loss of power are still called Ready until their kubelet looks.
        if (performance.now() - startedMs < 8_000) return undefined;
        const pods = [...(await readyOf("many-node1")), ...(await readyOf("many-node2"))];
        return pods.length === 60 ? pods : undefined;
      },
      300,
    );
    figure("60 Pods Ready after both nodes lost power, s", (performance.now() - startedMs) / 1000);
    assert.equal(new Set(ready.map(({ status }) => status.podIP)).size, 60);
    await settled(suite);
    await nothingLeft(suite);
  });

  it("its object is deleted and registers again under its name: its Pods are replaced, and nothing is double", async () => {
    await suite.apply(deployment("moving", 6, { pools: { ipv4: ["large"] } }));
    await suite.kubectl("rollout", "status", "deployment/moving", "--timeout=300s");
    await suite.kubectl("delete", "node", "node2");
    // Its Pods, the agent's among them, are deleted by the collector of the cluster, and kubelet ends what runs.
    await until("its Pods are gone", async () =>
      (await suite.podsOf("moving")).every(({ spec }) => spec.nodeName !== "node2") ? true : undefined,
    );
    await suite.cluster.kill({ node: "node2", program: "kubelet", signal: "SIGKILL" });
    await until("it has registered", async () =>
      (await suite.stage.quiet("get", "node", "node2")).ok ? true : undefined,
    );
    await nodeReady("node2");
    await installed(suite.stage);
    await suite.kubectl("rollout", "status", "deployment/moving", "--timeout=300s");
    await suite.apply(pod("late", { pools: { ipv4: ["large"] }, node: "node2" }));
    await suite.kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=300s");
    await settled(suite);
    await nothingLeft(suite);
  });
});
