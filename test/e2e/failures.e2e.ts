import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { nothingLeft, settled } from "./audit.ts";
import { manifests, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod } from "./workloads.ts";

const agentsNamespace = "kube-system";
const agentLabel = "app.kubernetes.io/component=spiderpool-agent";

describe("when a part fails", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("failures", { bridges: true });
    await suite.kubectl("apply", "-f", `${manifests}/pool.yaml`, "-f", `${manifests}/network.yaml`);
  });
  afterEach(async () => {
    await suite.stage.quiet("delete", "deploy,sts,pods", "--all", "--wait=true");
  });
  after(() => suite?.[Symbol.asyncDispose]());

  const rolledOut = (what: string, ...more: readonly string[]) =>
    suite.kubectl("rollout", "status", what, "--timeout=300s", ...more);
  const agentsReady = () => rolledOut("daemonset/spiderpool-agent", "-n", agentsNamespace);
  /** Ends the agent's process on a node, as the kernel would. */
  const killAgent = (node: string) => suite.onNode(node, "kill -9 $(pgrep -f 'spiderpool-agent.* daemon')");
  /** Kubelet asks an API server that was away again after up to a minute; one that starts asks at once. */
  const restartKubelets = async (...nodes: readonly string[]) => {
    for (const node of nodes) await suite.cluster.kill({ node, program: "kubelet", signal: "SIGKILL" });
  };
  const agentRestarts = async () => {
    const counts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    const text = await suite.kubectl("get", "pods", "-n", agentsNamespace, "-l", agentLabel, "-o", counts);
    return text.split(" ").reduce((sum, count) => sum + Number(count), 0);
  };
  /** Every Pod of the application answers HTTP from both nodes' Pods. */
  const serves = async (app: string) => {
    const pods = await suite.podsOf(app);
    for (const from of pods) {
      for (const to of pods) {
        const answer = await suite.fetch({ pod: from.metadata.name }, `http://${to.status.podIP}/`);
        assert.equal(answer, to.metadata.name);
      }
    }
  };

  it("agents killed again and again under churn lose and double nothing", async () => {
    await suite.apply(deployment("churn", 5));
    await rolledOut("deployment/churn");
    let done = false;
    const killing = (async () => {
      for (let turn = 0; !done; turn += 1) {
        const before = await agentRestarts();
        const isKilled = await killAgent(turn % 2 === 0 ? "node1" : "node2").then(
          () => true,
          () => false, // it is being started
        );
        // However slow the machine is: one that never lives long enough to serve a call shows nothing.
        if (isKilled)
          await until("the agent is started again", async () => ((await agentRestarts()) > before ? true : undefined));
        await delay(4_000);
      }
    })();
    for (let round = 0; round < 2; round += 1) {
      await suite.kubectl("rollout", "restart", "deployment/churn");
      await rolledOut("deployment/churn");
    }
    done = true;
    await killing;
    await suite.kubectl("delete", "pods", "-n", agentsNamespace, "-l", agentLabel);
    await agentsReady();
    await until("the old Pods are gone", async () => ((await suite.podsOf("churn")).length === 5 ? true : undefined));
    await settled(suite);
    await serves("churn");
    await nothingLeft(suite);
  });

  it("kubelet and containerd are restarted under running Pods: addresses and traffic stay", async () => {
    await suite.apply(deployment("steady", 2));
    await rolledOut("deployment/steady");
    const addresses = async () => (await suite.podsOf("steady")).map(({ status }) => status.podIP).sort();
    const first = await addresses();
    for (const program of ["kubelet", "containerd"]) {
      for (const { name } of suite.cluster.nodes) await suite.cluster.kill({ node: name, program, signal: "SIGKILL" });
      await delay(3_000);
      await suite.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=300s");
      assert.deepEqual(await addresses(), first, program);
      await until(`HTTP after a restart of ${program}`, () =>
        serves("steady").then(
          () => true,
          () => undefined,
        ),
      );
    }
    await suite.apply(pod("late"));
    await suite.kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=300s");
    await settled(suite);
    await nothingLeft(suite);
  });

  it("the API server is away for a minute: running Pods serve, deletions and starts follow when it is back", async () => {
    await suite.apply(deployment("away", 4));
    await rolledOut("deployment/away");
    const [first] = await suite.podsOf("away");
    const held = suite.cluster.hold({ program: "kube-apiserver", held: true });
    await suite.cluster.kill({ program: "kube-apiserver", signal: "SIGKILL" }); // asked to end, it takes a minute
    await held;
    await delay(60_000);
    const address = first?.status.podIP ?? "";
    const node = first?.spec.nodeName ?? "";
    assert.equal(await suite.fetch({ node }, `http://${address}/`), first?.metadata.name);
    await suite.cluster.hold({ program: "kube-apiserver", held: false });
    // As elsewhere, where they end when they lose their leadership; else they would go on trying at long intervals.
    for (const program of ["kube-controller-manager", "kube-scheduler"])
      await suite.cluster.kill({ program, signal: "SIGKILL" });
    await until("the API server is back", async () =>
      (await suite.stage.quiet("get", "nodes")).ok ? true : undefined,
    );
    await restartKubelets("node1", "node2");
    await suite.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=300s");
    await suite.kubectl("rollout", "restart", "deployment/away");
    await rolledOut("deployment/away");
    await settled(suite);
    await nothingLeft(suite);
  });

  it("a node is cut off from the API server for half a minute: its Pods serve, and what ended meanwhile is given back", async () => {
    await suite.apply(deployment("cut", 4));
    await rolledOut("deployment/cut");
    const [kept, ended] = (await suite.podsOf("cut")).filter(({ spec }) => spec.nodeName === "node2");
    await suite.onNode("node2", "ip link set mgmt0 down");
    await suite.kubectl("delete", `pod/${ended?.metadata.name}`, "--wait=false");
    await delay(30_000);
    const address = kept?.status.podIP;
    assert.equal(await suite.fetch({ node: "node1" }, `http://${address}/`), kept?.metadata.name);
    // A link that comes up has lost its routes.
    await suite.onNode("node2", "ip link set mgmt0 up; ip route replace 10.244.11.0/24 via 10.222.0.11");
    await restartKubelets("node2");
    await suite.kubectl("wait", "node/node2", "--for=condition=Ready", "--timeout=300s");
    await rolledOut("deployment/cut");
    await settled(suite);
    await nothingLeft(suite);
  });

  it("the controller is killed: Pods start and end without it, and views are right when it is back", async () => {
    await suite.kubectl("scale", "deployment/spiderpool-controller", "-n", agentsNamespace, "--replicas=0");
    await until("the controller is gone", async () =>
      (
        await suite.list("pods", {
          namespace: agentsNamespace,
          labels: "app.kubernetes.io/component=spiderpool-controller",
        })
      ).length === 0
        ? true
        : undefined,
    );
    await suite.apply(deployment("alone", 4));
    await rolledOut("deployment/alone");
    await suite.kubectl("scale", "deployment/alone", "--replicas=2");
    await until("two Pods are left", async () => ((await suite.podsOf("alone")).length === 2 ? true : undefined));
    await suite.kubectl("scale", "deployment/spiderpool-controller", "-n", agentsNamespace, "--replicas=1");
    await rolledOut("deployment/spiderpool-controller", "-n", agentsNamespace);
    await settled(suite);
    await nothingLeft(suite);
  });
});
