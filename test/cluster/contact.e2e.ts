// The product against a real kube-apiserver without kubelets: Node and Pods are made by hand, and the shim is called as a
// container runtime calls it. `scripts/cluster.ts contact` runs it as process 1 of namespaces of its own.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { spiderEndpoints, spiderIPAddresses, spiderIPPools, spiderPoolUsages } from "#api";
import { never } from "#base";
import { clampCount } from "#ip";
import { configMaps, events, hasReason, leases, metadataOf, type Node, nodes, type Pod, pods } from "#kube";
import type { Outcome, Plan, Task } from "../../bench/tasks.ts";
import { kubeconfigFor } from "../../lab/tools/kubeconfig.ts";
import {
  createBridges,
  createDatabase,
  managementGateway,
  nodePlan,
  startNode,
  startOpenVswitch,
} from "../../lab/topology/index.ts";
import { directory, startApiServer, withoutAccounts } from "./api-server.ts";
import { claimDraft } from "./claims.ts";
import { buildProduct } from "./product-by-hand.ts";
import { startRecorder } from "./recorder.ts";
import { refusal } from "./refusal.ts";
import { rightsManifest } from "./rights.ts";

// Old versions are forgotten within seconds.
const plane = await startApiServer([withoutAccounts, "--etcd-compaction-interval=2s"]);
const { networks, client, kubectl } = plane;
await kubectl(["apply", "-f", fileURLToPath(new URL("../../charts/spiderpool/crds", import.meta.url))]);
await kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
await kubectl(["apply", "-f", "-"], rightsManifest());
const signal = never;
const o = { signal };

async function podNamed(name: string): Promise<Pod> {
  const spec = { nodeName: "node1", containers: [{ name: "app", image: "none" }] };
  return await client.create(pods, { metadata: { namespace: "default", name }, spec }, o);
}

describe("claims", () => {
  it("are accepted for both families, and a name is given once", async () => {
    await client.create(spiderIPAddresses, claimDraft("10.0.0.1"), o);
    await client.create(spiderIPAddresses, claimDraft("fd00:0000:0000:0000:0000:0000:0000:0001"), o);
    const taken = await refusal(client.create(spiderIPAddresses, claimDraft("10.0.0.1", { podUID: "other" }), o));
    assert.equal(taken.reason, "AlreadyExists");
    assert.equal(taken.serverMessage, 'spideripaddresses.spiderpool.spidernet.io "10.0.0.1" already exists');
  });

  it("that contradict themselves are refused in the words of the schema or of the rule", async () => {
    const { podUID: _, ...without } = claimDraft("10.0.0.2").spec;
    const wrong: readonly [object, RegExp][] = [
      [{ ...claimDraft("10.0.0.2"), spec: without }, /spec.podUID: Required value/],
      [{ ...claimDraft("10.0.0.2"), metadata: { name: "10.0.0.3" } }, /metadata.name must be spec.address/],
      [claimDraft("10.0.0.2", { address: "10.0.0.02" }), /spec.address/],
      [claimDraft("10.0.0.2", { purpose: "Toy" }), /Unsupported value: "Toy"/],
      [claimDraft("10.0.0.2", { purpose: "Quarantine" }), /need until and reason/],
      [claimDraft("10.0.0.2", { nextContainerID: "x" }), /"spec" must not validate the schema/],
      [claimDraft("10.0.0.2", { purpose: "Lease", nextContainerID: "x" }), /second holder/],
      [claimDraft("10.0.0.2", { answer: "x".repeat(9_000) }), /Too long/],
    ];
    for (const [draft, words] of wrong) {
      const refused = await refusal(client.create(spiderIPAddresses, draft as ReturnType<typeof claimDraft>, o));
      assert.equal(refused.reason, "Invalid");
      assert.match(refused.serverMessage, words);
    }
  });

  it("never change Pod, address or pool", async () => {
    const { metadata, spec } = await client.create(spiderIPAddresses, claimDraft("10.0.0.4"), o);
    const attached = await client.update(spiderIPAddresses, { metadata, spec: { ...spec, containerID: "d" } }, o);
    assert.equal(attached.spec.containerID, "d");
    for (const change of [{ podUID: "other" }, { node: "m" }, { pool: "q" }, { purpose: "Sticky" as const }]) {
      const next = { metadata: attached.metadata, spec: { ...attached.spec, ...change } };
      assert.equal((await refusal(client.update(spiderIPAddresses, next, o))).reason, "Invalid");
    }
    const stale = await refusal(client.update(spiderIPAddresses, { metadata, spec: { ...spec, nic: "net1" } }, o));
    assert.equal(stale.reason, "Conflict");
    assert.match(stale.serverMessage, /the object has been modified; please apply your changes/);
  });

  it("are deleted only as the object and version that was meant", async () => {
    const { metadata } = await client.create(spiderIPAddresses, claimDraft("10.0.0.5"), o);
    const { name, uid, resourceVersion } = metadata;
    const remove = (preconditions: object) => client.delete(spiderIPAddresses, { name }, { ...o, preconditions });
    assert.equal((await refusal(remove({ uid: "6d8f7c1e-0000-4000-8000-000000000000" }))).reason, "Conflict");
    assert.equal((await refusal(remove({ uid, resourceVersion: "1" }))).reason, "Conflict");
    assert.equal(await remove({ uid, resourceVersion }), "deleted");
    assert.equal(await remove({ uid, resourceVersion }), "absent");
  });

  it("with a field that the server does not know are refused, not cut", async () => {
    const refused = await refusal(client.create(spiderIPAddresses, claimDraft("10.0.0.6", { unknown: 1 }), o));
    assert.equal(refused.status, 400);
    assert.match(refused.serverMessage, /strict decoding error: unknown field "spec.unknown"/);
  });
});

describe("views", () => {
  it("take counts up to the largest int64", async () => {
    const spec = { subnet: "fd00:1::/48", ips: ["fd00:1::1-fd00:1::ff"] };
    await client.create(spiderIPPools, { metadata: { name: "huge" }, spec }, o);
    const largest = clampCount(1n << 80n);
    const status = `{"status":{"allocatedIPCount":0,"totalIPCount":${largest}}}`;
    await kubectl(["patch", "sp", "huge", "--subresource=status", "--type=merge", "-p", status]);
    assert.match(await kubectl(["get", "sp", "huge"]), /\s9223372036854775807\s/);
    assert.equal((await client.get(spiderIPPools, { name: "huge" }, o))?.metadata.name, "huge");
  });

  it("of usage and endpoints are taken as they are written, times with fractions included", async () => {
    const usage = { pool: "p", poolUID: "u", poolGeneration: 1, free: 3, used: ["10.0.0.1-10.0.0.9"], nodes: ["n"] };
    const metadata = { name: "p" };
    const published = { ...usage, epoch: 1, publishedAt: new Date().toISOString() };
    await client.create(spiderPoolUsages, { metadata, spec: published }, o);
    assert.match(await kubectl(["get", "spu"]), /NAME\s+FREE\s+PUBLISHED/);
    const ips = [{ interface: "eth0", vlan: 0, ipv4: "10.0.0.1/16", ipv4Pool: "p", cleanGateway: false }];
    const status = { current: { uid: "u", node: "n", ips }, ownerControllerType: "Pod", ownerControllerName: "a" };
    const made = await client.create(spiderEndpoints, { metadata: { namespace: "default", name: "a" }, status }, o);
    assert.deepEqual(made.status, status, "what is read back is what was written");
    const row = (await kubectl(["get", "se"])).split("\n")[1]?.split(/\s+/);
    assert.deepEqual(row?.slice(0, 4), ["a", "eth0", "p", "10.0.0.1/16"]);
  });
});

describe("core objects", () => {
  it("take the node's bridges, in the server's own spelling", async () => {
    await client.create(nodes, { metadata: { name: "other" } } as Node, o);
    const resource = "ovs-cni.network.kubevirt.io/br9";
    const body = { status: { capacity: { [resource]: "1000" }, allocatable: { [resource]: "1000" } } };
    const patched = await client.patch(
      nodes,
      { name: "other" },
      { kind: "merge", body },
      { ...o, subresource: "status" },
    );
    assert.equal(patched.status?.allocatable?.[resource], "1k");
    const gone = { status: { capacity: { [resource]: null }, allocatable: { [resource]: null } } };
    const after = await client.patch(
      nodes,
      { name: "other" },
      { kind: "merge", body: gone },
      { ...o, subresource: "status" },
    );
    assert.equal(after.status?.allocatable?.[resource], undefined);
  });

  it("keep a Pod's annotation, written through its status, from a successor of the same name", async () => {
    const { metadata } = await podNamed("annotated");
    const write = (uid: string) =>
      client.patch(
        pods,
        { namespace: "default", name: "annotated" },
        { kind: "merge", body: { metadata: { uid, annotations: { "k8s.v1.cni.cncf.io/network-status": "[]" } } } },
        { ...o, subresource: "status" },
      );
    assert.equal((await write(metadata.uid)).metadata.annotations?.["k8s.v1.cni.cncf.io/network-status"], "[]");
    const refused = await refusal(write("6d8f7c1e-0000-4000-8000-000000000000"));
    assert.equal(refused.reason, "Invalid");
    assert.match(refused.serverMessage, /metadata.uid: Invalid value: .* field is immutable/);
  });

  it("take Leases and Events of ours", async () => {
    const spec = { holderIdentity: "x", leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.123000Z" };
    const lease = await client.create(leases, { metadata: { namespace: "default", name: "l" }, spec }, o);
    assert.equal(lease.spec?.renewTime, "2026-01-01T00:00:00.123000Z");
    const involvedObject = { apiVersion: "v1", kind: "Pod", namespace: "default", name: "x" };
    const times = { firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:00:00Z" };
    await client.create(
      events,
      { metadata: { namespace: "default", generateName: "x." }, involvedObject, type: "Normal", reason: "T", ...times },
      o,
    );
  });
});

describe("watches", () => {
  it("of metadata carry neither spec nor status", async () => {
    const stop = new AbortController();
    const { resourceVersion } = await client.list(metadataOf(spiderIPPools), o);
    const options = { resourceVersion, timeoutSeconds: 30, signal: stop.signal };
    const watching = client.watch(metadataOf(spiderIPPools), options);
    await kubectl(["label", "sp", "huge", "seen=yes"]);
    for await (const event of watching) {
      if (event.type === "BOOKMARK") continue;
      assert.equal(event.object.metadata.labels?.["seen"], "yes");
      assert.equal("spec" in event.object, false);
      break;
    }
    stop.abort();
  });

  it("end in time, with a bookmark before", async () => {
    const { resourceVersion } = await client.list(configMaps, { ...o, namespace: "default" });
    const touch = (name: string) => client.create(configMaps, { metadata: { namespace: "default", name } }, o);
    await touch("first");
    const seen: string[] = [];
    for await (const { type } of client.watch(configMaps, { ...o, resourceVersion, timeoutSeconds: 6 })) {
      // Only after a change that came during the watch: of what it began with there is no bookmark.
      if (seen.push(type) === 1) await touch("second");
    }
    assert.ok(seen.includes("BOOKMARK"), seen.join(" "));
  });

  it("and lists of a forgotten version are told 410 Expired", async () => {
    const first = await client.list(spiderIPAddresses, { ...o, limit: 1 });
    assert.ok(first.continue);
    const untilMs = performance.now() + 20_000;
    let error: unknown;
    while (error === undefined && performance.now() < untilMs) {
      await client.create(configMaps, { metadata: { namespace: "default", generateName: "filler-" } }, o);
      await client.list(spiderIPAddresses, { ...o, limit: 1, continue: first.continue }).catch((thrown) => {
        error = thrown;
      });
      await delay(500);
    }
    assert.ok(hasReason(error, "Expired"), String(error));
    const old = client.watch(spiderIPAddresses, { ...o, resourceVersion: "1", timeoutSeconds: 5 });
    const refused = await refusal(old.next());
    assert.equal(refused.reason, "Expired", refused.serverMessage);
  });
});

interface Flight {
  readonly verb: string;
  readonly spans: readonly Span[];
}
interface Span {
  readonly stage: string;
  readonly startMs: number;
  readonly endMs: number;
}

const askAgent = (path: string) => [
  "curl",
  "-s",
  "--unix-socket",
  "/var/run/spidernet/spiderpool.sock",
  `http://a${path}`,
];
const isClaim = ({ stage }: Span) => stage === "claim";

function p50(calls: readonly ({ readonly ms: number } | Span)[]): string {
  const sorted = calls.map((call) => ("ms" in call ? call.ms : call.endMs - call.startMs)).sort((a, b) => a - b);
  return (sorted[sorted.length >> 1] ?? Number.NaN).toFixed(1);
}

describe("agent and controller, with no more than their rights", async () => {
  const product = await buildProduct(directory);
  const agent = await startRecorder(await plane.user("spiderpool-agent"), managementGateway);
  const controller = await startRecorder(await plane.user("spiderpool-controller"), managementGateway);
  const admin = await startRecorder(plane.admin, managementGateway);

  it("serve ADD and DEL, and the server has nothing to object", async (t) => {
    const cidrs = "networking:\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.96.0.0/16\n";
    const metadata = { namespace: "kube-system", name: "kubeadm-config" };
    await client.create(configMaps, { metadata, data: { ClusterConfiguration: cidrs } }, o);
    product.startController(kubeconfigFor(controller.url));
    const node = await startNode(nodePlan(0), networks);
    await startOpenVswitch(node, await createDatabase());
    await createBridges(node);
    await client.create(nodes, { metadata: { name: node.name } } as Node, o);
    // Direct: the recorder would be part of what is measured.
    const direct = process.env["DIRECT"] === "1" && readFileSync(await plane.user("spiderpool-agent"), "utf8");
    await product.startAgent(node, direct || kubeconfigFor(agent.url));
    const network = { cniType: "ovs", ovs: { bridge: "br1" } };
    const apiVersion = "spiderpool.spidernet.io/v2beta1";
    const spec = { subnet: "172.18.0.0/16", ips: ["172.18.100.1-172.18.103.254"], gateway: "172.18.0.1" };
    const items = [
      { apiVersion, kind: "SpiderIPPool", metadata: { name: "bench" }, spec },
      { apiVersion, kind: "SpiderMultusConfig", metadata: { name: "bench", namespace: "kube-system" }, spec: network },
    ];
    await kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    const nad = ["net-attach-def/bench", "-n", "kube-system"];
    // What is waited for must be there.
    await kubectl(["wait", ...nad, "--for=create", "--timeout=120s"]);
    await kubectl(["wait", ...nad, "--for=jsonpath={.spec.config}", "--timeout=120s"]);
    await kubectl(["wait", "sp/bench", "--for=jsonpath={.status.totalIPCount}=1022", "--timeout=120s"]);
    await node.run([
      "sh",
      "-c",
      'for i in $(seq 100); do [ -n "$(ls /etc/cni/net.d)" ] && exit; sleep 0.1; done; exit 1',
    ]);
    const pairs = Number(process.env["PAIRS"] ?? 30);
    const annotations = {
      "ipam.spidernet.io/ippool": '{"ipv4":["bench"]}',
      "v1.multus-cni.io/default-network": "kube-system/bench",
    };
    const runner = fileURLToPath(new URL("../../bench/runner.ts", import.meta.url));
    const play = async (task: Task): Promise<Outcome> => {
      const plan: Plan = { nodeName: node.name, apiUrl: admin.url, annotations, warmUp: 0, task };
      return JSON.parse(await node.run([process.execPath, runner], { input: JSON.stringify(plan) }));
    };
    const { adds, dels } = await play({ kind: "pairs", count: pairs });
    const burst = await play({ kind: "add", count: 20 });
    const ended = await play({ kind: "del", sandboxes: burst.sandboxes });
    const flights = JSON.parse(await node.run(askAgent("/v1/flights"))) as readonly Flight[];
    const claims = flights.flatMap(({ verb, spans }) => (verb === "ADD" ? spans : [])).filter(isClaim);
    const inTurn = `ADD p50 ${p50(adds)} ms, of which claim ${p50(claims)} ms; DEL p50 ${p50(dels)} ms`;
    t.diagnostic(`${inTurn}; ${burst.adds.length} ADDs at once ${burst.totalMs.toFixed(0)} ms`);
    for (const { error } of [...adds, ...dels, ...burst.adds, ...ended.dels]) assert.equal(error, undefined);
    await kubectl(["wait", "sp/bench", "--for=jsonpath={.status.allocatedIPCount}=0", "--timeout=120s"]);
    assert.equal((await kubectl(["get", "sia", "-l", "pool=bench", "--no-headers"])).trim(), "");
    const objections = [...agent.calls, ...controller.calls].filter(
      ({ status, warning }) =>
        [400, 403, 405, 406, 415, 422].includes(status) ||
        status >= 500 ||
        (warning !== "" && !warning.includes("prefer a domain-qualified finalizer name")), // the name is a contract
    );
    assert.deepEqual(
      [
        ...new Set(
          objections.map(
            ({ method, url, status, warning, answer }) => `${method} ${url} ${status} ${warning} ${answer}`,
          ),
        ),
      ],
      [],
    );
  });
});
