import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { LabHandle } from "../../lab/launch.ts";
import { rssMb } from "../../lab/scenarios/memory.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { chart, installed, walkthroughFlags } from "../cluster/product.ts";
import { auditLog } from "../cluster/protocol.ts";
import { type Api, apiOf, type Body } from "../conformance/api.ts";
import { figure } from "./figures.ts";
import { manifests, type Suite, startBareSuite } from "./suite.ts";
import { deployment, pod, pool } from "./workloads.ts";

const pods = "/api/v1/namespaces/default/pods";
const one = (name: string) => `${pods}?watch=true&fieldSelector=metadata.name%3D${name}`;
const samples = 15;
const largePods = 100;
const restMs = 10_000;

describe("figures", () => {
  let suite: Suite;
  let cluster: LabHandle;
  let stage: Stage;
  let api: Api;
  before(async () => {
    suite = await startBareSuite("figures", { bridges: true, audit: true });
    ({ cluster, stage } = suite);
    api = apiOf(cluster.kubeconfig);
    await api.call("GET", "/version");
  });
  after(() => suite?.[Symbol.asyncDispose]());

  /** Milliseconds from the request to Running, one Pod after the other. */
  async function startTimes(name: string, options: Parameters<typeof pod>[1]): Promise<readonly number[]> {
    const times: number[] = [];
    for (let index = 0; index < samples; index += 1) {
      const own = `${name}-${index}`;
      const startMs = performance.now();
      assert.equal((await api.call("POST", pods, pod(own, options))).status, 201);
      await api.watch(one(own), (events) => events.some(({ object }) => object.status?.phase === "Running"));
      times.push(performance.now() - startMs);
      await api.call("DELETE", `${pods}/${own}?gracePeriodSeconds=0`);
    }
    return times.sort((a, b) => a - b);
  }
  const median = (sorted: readonly number[]) => sorted[sorted.length >> 1] ?? Number.NaN;
  const atMost = (sorted: readonly number[], share: number) =>
    sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
  let bridgeP50 = Number.NaN;

  it("of a Pod's start with Debian's bridge plugin, before ours is installed", async () => {
    // The default ServiceAccount is made a moment after its namespace.
    await stage.quiet("wait", "--for=create", "serviceaccount/default", "--timeout=300s");
    bridgeP50 = median(await startTimes("bridge", { annotations: {}, node: "node1" }));
    figure("Pod to Running, bridge plugin, p50 ms", bridgeP50);
  });

  it("of the installation", async () => {
    const startMs = performance.now();
    await stage.helm("install", "spiderpool", chart, ...walkthroughFlags);
    await installed(stage);
    figure("helm install to agents and controller Ready, s", (performance.now() - startMs) / 1000);
    assert.deepEqual(stage.failures, []);
    await stage.kubectl("apply", "-f", `${manifests}/network.yaml`);
    const { ok, stderr } = await stage.input(
      JSON.stringify(pool("large", "172.18.50.1-172.18.50.200")),
      "apply",
      "-f",
      "-",
    );
    assert.ok(ok, stderr);
    await stage.quiet(
      "wait",
      "net-attach-def/ovs-conf",
      "-n",
      "kube-system",
      "--for=jsonpath={.spec.config}",
      "--timeout=300s",
    );
    await stage.quiet("wait", "sp/large", "--for=jsonpath={.status.totalIPCount}=200", "--timeout=300s");
  });

  it("of a Pod's start with our network", async () => {
    const times = await startTimes("ours", { pools: { ipv4: ["large"] }, node: "node1" });
    figure("Pod to Running, our network, p50 ms", median(times));
    figure("our network against the bridge plugin, p50", median(times) / bridgeP50);
  });

  it("of an address that answers from another node", async () => {
    const times: number[] = [];
    for (let index = 0; index < samples; index += 1) {
      const name = `answer-${index}`;
      await api.call("POST", pods, pod(name, { pools: { ipv4: ["large"] }, node: "node2" }));
      const events = await api.watch(one(name), (seen) => seen.some(({ object }) => object.status?.podIP));
      const ip = events.at(-1).object.status.podIP;
      const script = `until timeout 1 busybox wget -qO- http://${ip}/ >/dev/null 2>&1; do sleep 0.01; done`;
      const startMs = performance.now();
      await cluster.run({ node: "node1", argv: ["timeout", "20", "sh", "-c", script] });
      times.push(performance.now() - startMs);
      await api.call("DELETE", `${pods}/${name}?gracePeriodSeconds=0`);
    }
    figure(
      "Pod IP shown to answering TCP from another node, p99 ms",
      atMost(
        times.sort((a, b) => a - b),
        0.99,
      ),
    );
  });

  it("of 100 Pods on two nodes: none fails, and few requests of ours", async () => {
    const memory = async () => {
      const of = async (program: "agent" | "controller") =>
        Math.max(...(await Promise.all(cluster.nodes.map(({ name }) => rssMb(cluster, name, program)))).flat());
      return { agent: await of("agent"), controller: await of("controller") };
    };
    figure("memory before, MiB", await memory());
    await delay(3_000); // what came before has been written
    const atRest = (await requests()).length;
    await delay(restMs);
    const before = (await requests()).length;
    const restPerMs = (before - atRest) / restMs;
    figure("requests a minute at rest", restPerMs * 60_000);
    const startMs = performance.now();
    const { ok, stderr } = await stage.input(
      JSON.stringify(deployment("hundred", largePods, { pools: { ipv4: ["large"] } })),
      "apply",
      "-f",
      "-",
    );
    assert.ok(ok, stderr);
    const rolled = await stage.quiet("rollout", "status", "deployment/hundred", "--timeout=300s");
    assert.ok(rolled.ok, rolled.stderr);
    figure(`${largePods} Pods Ready, s`, (performance.now() - startMs) / 1000);
    await delay(3_000);
    const made = (await requests()).slice(before);
    figure("memory after, MiB", await memory());
    const failures = await stage.quiet("get", "events", "--field-selector=reason=FailedCreatePodSandBox", "-o", "name");
    figure("failed sandboxes of them", failures.stdout.split("\n").filter(Boolean).length);
    assert.equal(failures.stdout, "");
    const byKind = Object.groupBy(made, (request) => request);
    const perPod = Object.entries(byKind).map(([kind, all]) => [kind, (all?.length ?? 0) / largePods] as const);
    figure("requests per Pod", Object.fromEntries(perPod.filter(([, count]) => count >= 0.05)));
    const perPodInAll = (made.length - restPerMs * (performance.now() - startMs)) / largePods;
    figure("requests per Pod in all, without those at rest", perPodInAll);
    assert.ok(perPodInAll <= 5, JSON.stringify(perPod));
    await stage.quiet("delete", "deployment/hundred", "--wait=true");
  });

  /** What our programs asked of the API server so far: `user verb resource`. */
  async function requests(): Promise<readonly string[]> {
    const text = await cluster.run({ argv: ["cat", auditLog] });
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Body)
      .filter(({ stage, verb }) => stage === "ResponseComplete" && verb !== "watch")
      .map(({ user, verb, objectRef: { resource, subresource } = {} as Body }) => {
        const program = user.username.replace(/^.*:spiderpool-/, "");
        return `${program} ${verb} ${resource}${subresource ? `/${subresource}` : ""}`;
      })
      .filter((request) => !/leases/.test(request));
  }
});
