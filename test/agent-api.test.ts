import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createLabClient, type KubeObject, type LabClient, textAt } from "../lab/api/index.ts";
import type { LabHandle } from "../lab/launch.ts";
import { Stage } from "../lab/scenarios/stage.ts";
import { findKubectl } from "../lab/tools/kubectl.ts";
import { launchProductLab } from "../scripts/common/product-lab.ts";
import { seriesOf } from "../src/base/testing/metrics.ts";
import { manifests } from "./stage.ts";

const node = "node1";
const macvlanStandIn = {
  cniVersion: "0.3.1",
  name: "third-party",
  type: "somebody-elses",
  ipam: { type: "spiderpool" },
};

/** Asks the agent's socket; argv: method, path, body. Prints `status body`. */
const ask = `const [, method, path, body = ""] = process.argv;
const headers = { "content-length": Buffer.byteLength(body) };
require("node:http").request({ socketPath: "/var/run/spidernet/spiderpool.sock", method, path, headers }, (answer) => {
  process.stdout.write(answer.statusCode + " ");
  answer.pipe(process.stdout);
}).end(body);`;

/** What plugins and people that are not ours ask of an agent that serves a node. */
describe("the agent's API, IPAM executable, flight records and metrics", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  before(async () => {
    const agentEnv = { SPIDERPOOL_ENABLED_METRIC: "true" };
    lab = await launchProductLab({ nodes: 1, bridges: true, agentEnv });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    client = createLabClient({ baseUrl: lab.url });
    await stage.kubectl("apply", "-f", `${manifests}/pool.yaml`);
    assert.deepEqual(stage.failures, []);
    // Here this test is the runtime.
    await lab.hold({ node, program: "kubelet", held: true });
  });
  after(() => lab.stop());

  async function api(method: string, path: string, body?: object): Promise<readonly [number, unknown]> {
    const sent = body === undefined ? [] : [JSON.stringify(body)];
    const text = await lab.run({ node, argv: [process.execPath, "-e", ask, method, path, ...sent] });
    const [, status = "", json = ""] = /^(\d+) (.*)$/s.exec(text) ?? [];
    return [Number(status), json === "" ? undefined : JSON.parse(json)];
  }

  async function createPod(name: string): Promise<string> {
    const annotations = { "ipam.spidernet.io/ippool": '{"ipv4":["ippool-test"]}' };
    const containers = [{ name: "app", image: "none", command: ["sleep", "1000"] }];
    const spec = { nodeName: node, terminationGracePeriodSeconds: 0, containers };
    const metadata = { name, namespace: "default", annotations };
    const pod = await client.create<KubeObject>("v1/pods", { apiVersion: "v1", kind: "Pod", metadata, spec });
    return textAt(pod, "metadata", "uid");
  }
  const held = async () => (await stage.quiet("get", "sia", "--no-headers", "-o", "name")).stdout.trim();
  const allReleased = async () => {
    const released = await stage.quiet("wait", "sia", "--all", "--for=delete", "--timeout=120s");
    assert.ok(released.ok || /no matching resources/.test(released.stderr), released.stderr);
  };

  it("allocates and releases for a plugin that asks over HTTP, and tells what a Pod has", async () => {
    assert.deepEqual(await api("GET", "/v1/ipam/healthy"), [200, undefined]);
    const podUID = await createPod("over-http");
    const nic = { containerID: "http-1", ifName: "eth0", netNamespace: "/var/run/netns/none", podNamespace: "default" };
    const args = { ...nic, podName: "over-http", podUID };
    const [status, added] = await api("POST", "/v1/ipam/ip", args);
    assert.equal(status, 200, JSON.stringify(added));
    const [ip] = (added as { ips: Readonly<Record<string, unknown>>[] }).ips;
    assert.deepEqual([ip?.["version"], ip?.["ipPool"], ip?.["nic"]], [4, "ippool-test", "eth0"]);
    assert.deepEqual((await api("POST", "/v1/ipam/ip", args))[1], added, "the same again");
    assert.match(await held(), /^spiderip[a-z./]*\/[\d.]+$/);
    const flights = (await api("GET", "/v1/flights?pod=default/over-http"))[1] as { executable: string }[];
    assert.deepEqual(
      flights.map(({ executable }) => executable),
      ["spiderpool", "spiderpool"],
    );
    const endpoint = await stage.quiet("wait", "se/over-http", "--for=create", "--timeout=120s");
    assert.ok(endpoint.ok, endpoint.stderr);
    const [known] = await api("GET", "/v1/workloadendpoint?podNamespace=default&podName=over-http");
    assert.equal(known, 200);
    assert.equal((await api("GET", "/v1/workloadendpoint?podNamespace=default&podName=nobody"))[0], 404);
    await client.delete("v1/pods", { namespace: "default", name: "over-http" }, { gracePeriodSeconds: 0 });
    assert.deepEqual(await api("DELETE", "/v1/ipam/ip", args), [200, undefined]);
    await allReleased();
  });

  it("finds nothing wrong with a healthy node, and shows no NIC of a Pod that is not there", async () => {
    assert.deepEqual(await api("GET", "/v1/doctor"), [200, []]);
    assert.deepEqual(await api("GET", "/v1/net?pod=default/nobody"), [200, []]);
  });

  it("serves the executable `spiderpool` to plugins of others, in their version", async () => {
    const uid = await createPod("by-plugin");
    const onNode = (verb: string) =>
      lab.run({
        node,
        argv: [
          ...["sh", "-c", 'exec env "$@" /opt/cni/bin/spiderpool', "sh", `CNI_COMMAND=${verb}`],
          ...["CNI_CONTAINERID=ipam-1", "CNI_IFNAME=eth0", "CNI_NETNS=/var/run/netns/ipam-1", "CNI_PATH=/opt/cni/bin"],
          `CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=by-plugin;K8S_POD_UID=${uid}`,
        ],
        input: JSON.stringify(macvlanStandIn),
      });
    await lab.run({ node, argv: ["ip", "netns", "add", "ipam-1"] });
    const { cniVersion, ips, interfaces } = JSON.parse(await onNode("ADD"));
    assert.deepEqual([cniVersion, ips.length, ips[0].version, interfaces], ["0.3.1", 1, "4", undefined]);
    await client.delete("v1/pods", { namespace: "default", name: "by-plugin" }, { gracePeriodSeconds: 0 });
    assert.notEqual(await held(), "", "the sandbox is still there");
    assert.equal(await onNode("DEL"), "");
    await allReleased();
    await lab.run({ node, argv: ["ip", "netns", "delete", "ipam-1"] });
  });

  it("counts what it did, for whoever reads its metrics", async () => {
    const text = await lab.run({ node, argv: ["busybox", "wget", "-qO-", "http://127.0.0.1:5711/metrics"] });
    const series = seriesOf(text);
    assert.equal(series.get("spiderpool_ipam_allocation_counts_total"), 3);
    assert.equal(series.get("spiderpool_ipam_release_counts_total"), 2);
    assert.equal(series.get("spiderpool_ipam_allocation_duration_seconds_count"), 3);
    assert.equal(series.get("spiderpool_sandboxes"), 0);
  });
});
