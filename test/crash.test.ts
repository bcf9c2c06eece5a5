import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { stages } from "#base";
import { createLabClient, type LabClient, textAt } from "../lab/api/index.ts";
import { findKubectl } from "../lab/kubectl.ts";
import type { LabHandle } from "../lab/launch.ts";
import { Stage } from "../lab/scenarios/stage.ts";
import { launchProductLab } from "../scripts/product-lab.ts";

const manifests = fileURLToPath(new URL("../examples/ovs", import.meta.url));
const sides = ["before", "after"] as const;
/** Every stage of an ADD, from the one table; those that a DEL has. */
const addPoints = stages.flatMap((stage) => sides.map((side) => `ADD ${stage}:${side}`));
const delPoints = ["queue", "link", "record", "reply"].flatMap((stage) => sides.map((side) => `DEL ${stage}:${side}`));
const readyMsMax = 30_000;
/** One crash at a time on each; the points are shared out among them. */
const nodes = ["node1", "node2", "node3", "node4"];

/** The agent is killed at every point of ADD and DEL; it starts again, and the Pod must run or be gone, with nothing left. */
describe("an agent that is killed", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  before(async () => {
    lab = await launchProductLab({ nodes: nodes.length, bridges: true, agentEnv: { SPIDERPOOL_CRASH_POINTS: "true" } });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    client = createLabClient({ baseUrl: lab.url });
    for (const file of ["pool", "network"]) await stage.kubectl("apply", "-f", `${manifests}/${file}.yaml`);
    const nad = "network-attachment-definition/ovs-conf";
    await stage.kubectl("wait", nad, "-n", "kube-system", "--for=jsonpath={.spec.config}", "--timeout=10s");
    assert.deepEqual(stage.failures, []);
  });
  after(() => lab.stop());

  it("at any point of an ADD or a DEL loses no address, gives none twice and leaves nothing behind", async () => {
    const points = [...addPoints, ...delPoints];
    const faults: string[] = [];
    await Promise.all(
      nodes.map(async (node, turn) => {
        for (let at = turn; at < points.length; at += nodes.length) {
          const point = points[at] ?? "";
          await crash(node, point, `crash-${at}`).catch((error: Error) => faults.push(`${point}: ${error.message}`));
        }
      }),
    );
    assert.deepEqual(faults, []);
    await nothingLeft();
  });

  async function crash(node: string, point: string, pod: string): Promise<void> {
    const arm = () => lab.run({ node, argv: ["sh", "-c", 'printf %s "$0" >/run/spiderpool/crash-at', point] });
    if (point.startsWith("ADD")) await arm();
    await client.create("v1/pods", podOn(node, pod));
    const ip = await untilPod(pod, (object) => (ready(object) ? textAt(object, "status", "podIP") : undefined));
    assert.match(ip, /^172\.18\.30\./);
    // A Pod without probes is Ready a moment before its server listens.
    const fetch = 'until busybox wget -qO- "http://$0/" 2>/dev/null; do sleep 0.05; done';
    const page = await lab.run({ node, argv: ["timeout", "5", "sh", "-c", fetch, ip] });
    assert.equal(page.trim(), pod);
    if (point.startsWith("DEL")) await arm();
    await client.delete("v1/pods", { namespace: "default", name: pod });
    await untilPod(pod, (object) => (object === undefined ? "gone" : undefined));
    // The DEL may come after the Pod's object is gone.
    const reached = "while [ -e /run/spiderpool/crash-at ]; do sleep 0.05; done";
    await lab
      .run({ node, argv: ["timeout", "15", "sh", "-c", reached] })
      .catch(() => assert.fail("the point was not reached"));
  }

  /** Waits until `look` finds something in the Pod (undefined where it is gone). */
  async function untilPod(name: string, look: (pod: object | undefined) => string | undefined): Promise<string> {
    const found = Promise.withResolvers<string>();
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(readyMsMax)]);
    const options = { namespace: "default", fieldSelector: `metadata.name=${name}`, signal };
    const { synced, done } = client.watch("v1/pods", options, ({ type, object }) => {
      const what = look(type === "DELETED" ? undefined : object);
      if (what !== undefined) found.resolve(what);
    });
    synced.then(async () => {
      if ((await client.get("v1/pods", { namespace: "default", name })) !== undefined) return;
      const what = look(undefined);
      if (what !== undefined) found.resolve(what);
    }, found.reject);
    signal.addEventListener("abort", () => found.reject(new Error(`nothing after ${readyMsMax / 1000} s`)), {
      once: true,
    });
    try {
      return await found.promise;
    } finally {
      stop.abort();
      await done.catch(() => {});
    }
  }

  async function nothingLeft(): Promise<void> {
    const empty = "--for=jsonpath={.status.allocatedIPCount}=0";
    const drained = await stage.quiet("wait", "spiderippool/ippool-test", empty, "--timeout=30s");
    const claims = (await stage.quiet("get", "sia", "-o", "name")).stdout;
    assert.ok(drained.ok, claims);
    assert.equal(claims, "");
    // Hints of claims stay for a minute after a crash: until it is certain that no create is still on its way.
    const found = `ovs-vsctl list-ports br1; ls /var/lib/spiderpool/sandboxes; ip -o link | grep -o 'veth[^@:]*'`;
    const script = `until [ "$(${found})" = eth0 ]; do sleep 0.1; done`;
    for (const node of nodes) {
      await lab
        .run({ node, argv: ["timeout", "20", "sh", "-c", script] })
        .catch(async () => assert.fail(`${node}: ${await lab.run({ node, argv: ["sh", "-c", `${found} || true`] })}`));
    }
  }
});

function ready(pod: object | undefined): boolean {
  const conditions = (pod as { status?: { conditions?: { type: string; status: string }[] } } | undefined)?.status
    ?.conditions;
  return conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

function podOn(nodeName: string, name: string): object {
  const command = ["sh", "-c", "mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www"];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "default",
      annotations: {
        "ipam.spidernet.io/ippool": '{"ipv4":["ippool-test"]}',
        "v1.multus-cni.io/default-network": "kube-system/ovs-conf",
      },
    },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "app", image: "none", command, ports: [{ containerPort: 80 }] }],
    },
  };
}
