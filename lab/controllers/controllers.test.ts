import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { silentLogger } from "#base";
import { createApiServer, createLabClient, type LabApi, type LabClient } from "../api/index.ts";
import {
  type Controllers,
  conditionOf,
  type DaemonSet,
  type Deployment,
  type Job,
  type Node,
  type Pod,
  type ReplicaSet,
  type StatefulSet,
  startControllers,
} from "./index.ts";

let api: LabApi;
let client: LabClient;
let controllers: Controllers;
let stop: AbortController;

beforeEach(async () => {
  api = createApiServer();
  client = createLabClient({ api });
  controllers = await startControllers({ client, log: silentLogger });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort(new Error("the test is over"));
  await controllers.stop();
  await api.close();
});

/** Adds a node whose Pods become ready as soon as they are bound to it, and are gone as soon as they are deleted. */
async function addNode(name: string): Promise<void> {
  await client.create("v1/nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name } },
    spec: {},
  });
  await client.patch(
    "v1/nodes",
    { name },
    {
      status: {
        allocatable: { cpu: "4", memory: "8Gi", pods: "110" },
        conditions: [{ type: "Ready", status: "True" }],
      },
    },
    { subresource: "status" },
  );
  const status = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };
  const bound = { fieldSelector: `spec.nodeName=${name}`, signal: stop.signal };
  client
    .watch<Pod>("v1/pods", bound, async ({ type, object: { metadata, status: before } }) => {
      const ref = { namespace: metadata.namespace ?? "", name: metadata.name };
      if (type === "DELETED") return;
      if (metadata.deletionTimestamp !== undefined) await client.delete("v1/pods", ref, { gracePeriodSeconds: 0 });
      else if (before?.phase !== "Running") await client.patch("v1/pods", ref, { status }, { subresource: "status" });
    })
    .done.catch(() => {});
}

/** Resolves with the first state of an object that satisfies `holds`. */
async function until<T extends object>(resource: string, name: string, holds: (object: T) => boolean): Promise<T> {
  const found = Promise.withResolvers<T>();
  const signal = AbortSignal.any([AbortSignal.timeout(120_000), stop.signal]);
  signal.addEventListener("abort", () => found.reject(new Error(`${resource} ${name} did not become so`)));
  const options = { namespace: "default", fieldSelector: `metadata.name=${name}`, signal };
  client
    .watch<T>(resource, options, ({ object }) => (holds(object) ? found.resolve(object) : undefined))
    .done.catch(() => {});
  return await found.promise;
}

const deploymentObject = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "default" },
  spec: {
    replicas: 3,
    selector: { matchLabels: { app: "web" } },
    template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "http", image: "one" }] } },
  },
};

const rolledOut = (generation: number) => (one: Deployment) =>
  one.status?.observedGeneration === generation &&
  one.status.availableReplicas === 3 &&
  one.status.replicas === 3 &&
  one.status.updatedReplicas === 3;

const web = { namespace: "default", name: "web" };

test("a Deployment gets its Pods, spread over the nodes, and says that it is available", async () => {
  await Promise.all([addNode("node1"), addNode("node2")]);
  await client.create("apps/v1/deployments", deploymentObject);
  const deployment = await until<Deployment>("apps/v1/deployments", "web", rolledOut(1));
  assert.equal(conditionOf(deployment, "Available"), "True");
  const pods = await client.list<Pod>("v1/pods", { namespace: "default", labelSelector: "app=web" });
  assert.deepEqual(new Set(pods.map(({ spec }) => spec.nodeName)), new Set(["node1", "node2"]));
  assert.ok(pods.every(({ metadata }) => metadata.labels?.["pod-template-hash"] !== undefined));
});

test("a changed template replaces all Pods, and going back takes the old ReplicaSet again", async () => {
  await addNode("node1");
  await client.create("apps/v1/deployments", deploymentObject);
  await until<Deployment>("apps/v1/deployments", "web", rolledOut(1));
  const imagePatch = (image: string) => ({ spec: { template: { spec: { containers: [{ name: "http", image }] } } } });
  await client.patch("apps/v1/deployments", web, imagePatch("two"));
  await until<Deployment>("apps/v1/deployments", "web", rolledOut(2));
  const pods = await client.list<Pod>("v1/pods", { namespace: "default", labelSelector: "app=web" });
  assert.deepEqual(new Set(pods.map(({ spec }) => spec.containers[0]?.image)), new Set(["two"]));
  await client.patch("apps/v1/deployments", web, imagePatch("one"));
  await until<Deployment>("apps/v1/deployments", "web", rolledOut(3));
  const sets = await client.list<ReplicaSet>("apps/v1/replicasets", { namespace: "default" });
  assert.deepEqual(sets.map(({ spec }) => spec.replicas ?? 0).sort(), [0, 3]);
});

test("a deleted Pod is replaced, and scaling down removes the surplus", async () => {
  await addNode("node1");
  await client.create("apps/v1/deployments", deploymentObject);
  await until<Deployment>("apps/v1/deployments", "web", rolledOut(1));
  const [victim] = await client.list<Pod>("v1/pods", { namespace: "default" });
  await client.delete("v1/pods", { namespace: "default", name: victim?.metadata.name ?? "" });
  await until<Deployment>("apps/v1/deployments", "web", rolledOut(1));
  await client.patch("apps/v1/deployments", web, { spec: { replicas: 1 } });
  await until<Deployment>(
    "apps/v1/deployments",
    "web",
    ({ status }) => status?.observedGeneration === 2 && status.replicas === 1,
  );
});

test("a Pod without a place says why, with an Event, and is bound when a node comes", async () => {
  await client.create("v1/pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "lonely", namespace: "default" },
    spec: { containers: [{ name: "c", image: "x" }] },
  });
  const waiting = await until<Pod>("v1/pods", "lonely", (pod) => conditionOf(pod, "PodScheduled") === "False");
  assert.equal(waiting.status?.conditions?.[0]?.message, "no nodes available to schedule pods");
  await addNode("node1");
  const bound = await until<Pod>("v1/pods", "lonely", ({ status }) => status?.phase === "Running");
  assert.equal(bound.spec.nodeName, "node1");
  const scheduled = Promise.withResolvers<void>();
  const events = { namespace: "default", fieldSelector: "reason=Scheduled", signal: stop.signal };
  client.watch("v1/events", events, () => scheduled.resolve()).done.catch(() => {});
  await scheduled.promise;
  const found = await client.list<{ reason: string }>("v1/events", { namespace: "default" });
  assert.deepEqual(new Set(found.map(({ reason }) => reason)), new Set(["FailedScheduling", "Scheduled"]));
});

test("a node whose lease is old is marked, and so are its Pods", async () => {
  await addNode("node1");
  await client.create("apps/v1/deployments", deploymentObject);
  await until<Deployment>("apps/v1/deployments", "web", rolledOut(1));
  const { judgeNodes } = await import("./node-lifecycle.ts");
  await judgeNodes(client, new Date(Date.now() + 60_000));
  const node = await client.get<Node>("v1/nodes", { name: "node1" });
  assert.equal(node && conditionOf(node, "Ready"), "Unknown");
  await until<Deployment>("apps/v1/deployments", "web", (one) => conditionOf(one, "Available") === "False");
});

const template = (image: string) => ({
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "http", image }] },
});
const selector = { matchLabels: { app: "web" } };
const podNames = async () =>
  (await client.list<Pod>("v1/pods", { namespace: "default" })).map((pod) => pod.metadata.name);

test("a StatefulSet gets Pods with ordinals, replaces one under its name, and gives up the highest", async () => {
  await addNode("node1");
  const object = { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { name: "web", namespace: "default" } };
  await client.create("apps/v1/statefulsets", {
    ...object,
    spec: { replicas: 2, serviceName: "web", selector, template: template("one") },
  });
  const ready = (replicas: number, generation: number) => (one: StatefulSet) =>
    one.status?.observedGeneration === generation &&
    one.status.replicas === replicas &&
    one.status.readyReplicas === replicas &&
    one.status.updatedReplicas === replicas;
  await until<StatefulSet>("apps/v1/statefulsets", "web", ready(2, 1));
  assert.deepEqual((await podNames()).sort(), ["web-0", "web-1"]);
  const first = await client.get<Pod>("v1/pods", { namespace: "default", name: "web-0" });
  await client.delete("v1/pods", { namespace: "default", name: "web-0" });
  const next = await until<Pod>(
    "v1/pods",
    "web-0",
    (pod) => pod.metadata.uid !== first?.metadata.uid && conditionOf(pod, "Ready") === "True",
  );
  assert.equal(next.metadata.labels?.["apps.kubernetes.io/pod-index"], "0");
  await client.patch("apps/v1/statefulsets", web, { spec: { template: template("two") } });
  await until<StatefulSet>("apps/v1/statefulsets", "web", ready(2, 2));
  const images = (await client.list<Pod>("v1/pods")).map(({ spec }) => spec.containers[0]?.image);
  assert.deepEqual(images, ["two", "two"]);
  await client.patch("apps/v1/statefulsets", web, { spec: { replicas: 1 } });
  await until<StatefulSet>("apps/v1/statefulsets", "web", ready(1, 3));
  assert.deepEqual(await podNames(), ["web-0"]);
});

test("a StatefulSet that is deleted without its Pods leaves them to the next one of its name", async () => {
  await addNode("node1");
  const object = { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { name: "web", namespace: "default" } };
  const spec = { replicas: 1, serviceName: "web", selector, template: template("one") };
  await client.create("apps/v1/statefulsets", { ...object, spec });
  const isReady = ({ status }: StatefulSet) => status?.readyReplicas === 1;
  await until<StatefulSet>("apps/v1/statefulsets", "web", isReady);
  const before = await client.get<Pod>("v1/pods", { namespace: "default", name: "web-0" });
  await client.delete("apps/v1/statefulsets", web, { propagationPolicy: "Orphan" });
  await client.create("apps/v1/statefulsets", { ...object, spec });
  await until<StatefulSet>("apps/v1/statefulsets", "web", isReady);
  const after = await client.get<Pod>("v1/pods", { namespace: "default", name: "web-0" });
  assert.equal(after?.metadata.uid, before?.metadata.uid);
});

test("a Job makes Pods until so many have succeeded, and replaces those that fail", async () => {
  const object = { apiVersion: "batch/v1", kind: "Job", metadata: { name: "web", namespace: "default" } };
  const pod = { spec: { restartPolicy: "Never", containers: [{ name: "once", image: "one" }] } };
  await assert.rejects(client.create("batch/v1/jobs", { ...object, spec: { template: template("one") } }), /"Never"/);
  await client.create("batch/v1/jobs", { ...object, spec: { completions: 2, template: pod } });
  const isOver = ({ status }: Pod) => status?.phase === "Succeeded" || status?.phase === "Failed";
  for (const [at, phase] of ["Succeeded", "Failed", "Succeeded"].entries()) {
    await until<Job>("batch/v1/jobs", "web", ({ status }) => status?.active === 1);
    const pod = (await client.list<Pod>("v1/pods")).find((one) => !isOver(one)) ?? assert.fail();
    assert.equal(pod.metadata.ownerReferences?.[0]?.apiVersion, "batch/v1");
    const ref = { namespace: "default", name: pod.metadata.name };
    await client.patch("v1/pods", ref, { status: { phase } }, { subresource: "status" });
    const ended = ({ status: { succeeded = 0, failed = 0 } = {} }: Job) => succeeded + failed > at;
    await until<Job>("batch/v1/jobs", "web", ended);
  }
  const done = await until<Job>("batch/v1/jobs", "web", (one) => conditionOf(one, "Complete") === "True");
  assert.deepEqual([done.status?.succeeded, done.status?.failed, done.status?.active], [2, 1, 0]);
  assert.equal((await podNames()).length, 3);
});

test("a DaemonSet has a Pod on each node, also on one that comes later, and replaces Pods of another template", async () => {
  await addNode("node1");
  const object = { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "web", namespace: "default" } };
  await client.create("apps/v1/daemonsets", { ...object, spec: { selector, template: template("one") } });
  const ready = (pods: number, generation: number) => (one: DaemonSet) =>
    one.status?.observedGeneration === generation &&
    one.status.desiredNumberScheduled === pods &&
    one.status.numberReady === pods &&
    one.status.updatedNumberScheduled === pods;
  await until<DaemonSet>("apps/v1/daemonsets", "web", ready(1, 1));
  await addNode("node2");
  await until<DaemonSet>("apps/v1/daemonsets", "web", ready(2, 1));
  const pods = await client.list<Pod>("v1/pods");
  assert.deepEqual(new Set(pods.map(({ spec }) => spec.nodeName)), new Set(["node1", "node2"]));
  await client.patch("apps/v1/daemonsets", web, { spec: { template: template("two") } });
  await until<DaemonSet>("apps/v1/daemonsets", "web", ready(2, 2));
});
