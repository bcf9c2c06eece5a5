import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, describe, it } from "node:test";
import {
  annotations,
  networkAttachmentDefinitions,
  spiderIPAddresses,
  spiderIPPools,
  spiderReservedIPs,
  spiderSubnets,
} from "#api";
import { configMaps, deployments, namespaces, nodes, pods, replicaSets, statefulSets } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

const pool = (name: string, ips: string, more = "") => `
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: { name: ${name} }
spec: { subnet: 172.18.0.0/16, ips: [${ips}]${more} }
`;

let api: FakeApi;

beforeEach(() => {
  api = new FakeApi();
  api.apply(configMaps, {
    metadata: {
      namespace: "kube-system",
      name: "spiderpool-conf",
      labels: { "app.kubernetes.io/component": "spiderpool" },
    },
    data: { "conf.yml": "enableIPv6: false\nenableValidatingResourcesDeletedWebhook: true", clusterNetwork: "net" },
  });
  api.apply(networkAttachmentDefinitions, {
    metadata: { namespace: "kube-system", name: "net" },
    spec: { config: '{"cniVersion":"1.0.0","name":"net","type":"ovs","ipam":{"type":"spiderpool"}}' },
  });
  api.apply(namespaces, { metadata: { name: "default" } });
  api.apply(nodes, { metadata: { name: "n1" } });
  makePool("a", "172.18.0.1-172.18.0.4");
});

function makePool(name: string, ips: string, more: object = {}): void {
  api.apply(spiderIPPools, {
    metadata: { name },
    spec: { ipVersion: 4, subnet: "172.18.0.0/16", ips: [ips], ...more },
  });
}

function claim(address: string, poolName: string, pod: string, more: object = {}): void {
  const { uid } = api.read(spiderIPPools, { name: poolName })?.metadata ?? { uid: "" };
  const podUID = api.read(pods, { namespace: "default", name: pod })?.metadata.uid ?? "gone";
  api.apply(spiderIPAddresses, {
    metadata: { name: address },
    spec: {
      format: 1,
      address,
      purpose: "Pod",
      pool: poolName,
      poolUID: uid,
      poolGeneration: 1,
      podNamespace: "default",
      podName: pod,
      podUID,
      nic: "eth0",
      node: "n1",
      ...more,
    },
  });
}

/** Pods of a Deployment `web` or a StatefulSet `db`, with addresses of pool a from `.1` on. */
function application(kind: "Deployment" | "StatefulSet", replicas: number, pools = '{"ipv4":["a"]}'): void {
  const name = kind === "Deployment" ? "web" : "db";
  const template = { metadata: { annotations: { [annotations.ippool]: pools } }, spec: {} };
  const resource = kind === "Deployment" ? deployments : statefulSets;
  const made = api.apply(resource, { metadata: { namespace: "default", name }, spec: { replicas, template } });
  const owner = { apiVersion: "apps/v1", kind, name, uid: made.metadata.uid, controller: true };
  const set = { metadata: { namespace: "default", name: "web-1", ownerReferences: [owner] }, spec: {} };
  const direct =
    kind === "StatefulSet"
      ? owner
      : { ...owner, kind: "ReplicaSet", name: "web-1", uid: api.apply(replicaSets, set).metadata.uid };
  for (let index = 0; index < replicas; index++) {
    const pod = `${direct.name}-${index}`;
    const metadata = {
      namespace: "default",
      name: pod,
      ownerReferences: [direct],
      annotations: template.metadata.annotations,
    };
    api.apply(pods, { metadata, spec: { nodeName: "n1" }, status: { phase: "Running" } });
    const kept = { purpose: "Sticky", owner: "apps/v1/StatefulSet/default/db" };
    claim(`172.18.0.${index + 1}`, "a", pod, kind === "StatefulSet" ? kept : {});
  }
}

async function plan(applied: string, deleted?: string) {
  const files = { "change.yaml": applied, "gone.yaml": deleted ?? "" };
  const argv = [
    ...(applied === "" ? [] : ["-f", "change.yaml"]),
    ...(deleted === undefined ? [] : ["--delete", "gone.yaml"]),
  ];
  const { status, out, err } = await runCtl(api, ["plan", "-o", "json", ...argv], files);
  assert.equal(err, "");
  return { status, ...JSON.parse(out) };
}

const scaled = (kind: string, name: string, replicas: number, more = "") =>
  `apiVersion: apps/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { replicas: ${replicas}${more} }\n`;
const naming = (pools: string) =>
  `, template: { metadata: { annotations: { ${annotations.ippool}: '{"ipv4":["${pools}"]}' } } }`;

describe("plan", () => {
  it("of a pool that is made says what it has, and that nobody is worse off", async () => {
    const { status, pools } = await plan(pool("b", "172.18.0.10-172.18.0.19"));
    assert.equal(status, 0);
    assert.deepEqual(pools, [{ pool: "b", change: "made", after: { total: 10, used: 0, free: 10 }, dry: false }]);
  });

  it("prints what the guide shows, where a line ends with … more", async () => {
    makePool("a", "172.18.0.1-172.18.0.10");
    makePool("b", "172.18.0.31-172.18.0.34");
    const named = (name: string) => `{"ipv4":["${name}"]}`;
    application("Deployment", 2, named("b"));
    application("StatefulSet", 2);
    const annotated = { namespace: "default", name: "old", annotations: { [annotations.ippool]: named("a") } };
    api.apply(pods, { metadata: annotated, spec: { nodeName: "n1" }, status: { phase: "Running" } });
    claim("172.18.0.3", "a", "old");
    for (const at of [0, 1]) claim(`172.18.0.${31 + at}`, "b", `web-1-${at}`);
    const change = [
      pool("a", "172.18.0.1-172.18.0.12", ", nodeName: [n2]"),
      scaled("StatefulSet", "db", 1),
      scaled("Deployment", "web", 5),
    ].join("---\n");
    const { status, out } = await runCtl(api, ["plan", "-f", "change.yaml"], { "change.yaml": change });
    assert.equal(status, 1);
    const guide = readFileSync(new URL("../../../docs/guides/plan.md", import.meta.url), "utf8");
    const [, shown = ""] = /^# spiderpoolctl plan -f change\.yaml\n(.*?)^```$/ms.exec(guide) ?? [];
    const cut = shown.split("\n").map((line) => (line.endsWith("…") ? line.length - 1 : undefined));
    const printed = out.split("\n").map((line, at) => (cut[at] === undefined ? line : `${line.slice(0, cut[at])}…`));
    assert.equal(printed.join("\n"), shown);
  });

  it("says what admission would refuse: an address in use taken away, a pool with addresses deleted, an overlap", async () => {
    application("Deployment", 2);
    const smaller = await plan(pool("a", "172.18.0.2-172.18.0.4"));
    assert.match(
      smaller.refused[0].why,
      /remove an IP address 172\.18\.0\.1 that is being used by Pod default\/web-1-0/,
    );
    const gone = await plan("", pool("a", ""));
    assert.deepEqual(gone.refused, [
      { object: "spiderippool/a", why: "cannot delete an IPPool with allocated IPs(2)" },
    ]);
    const overlap = await plan(pool("b", "172.18.0.4-172.18.0.9"));
    assert.match(overlap.refused[0].why, /overlap with IPPool a in IP ranges \[172\.18\.0\.4\]/);
    assert.deepEqual([smaller.status, gone.status, overlap.status], [1, 1, 1]);
  });

  it("says which pool would run dry and which new Pods would not start", async () => {
    application("Deployment", 2);
    const { status, pools, stuck } = await plan(scaled("Deployment", "web", 5));
    assert.equal(status, 1);
    assert.deepEqual(pools, [
      {
        pool: "a",
        change: "used",
        dry: true,
        before: { total: 4, used: 2, free: 2 },
        after: { total: 4, used: 4, free: 0 },
      },
    ]);
    assert.deepEqual([stuck.length, stuck[0].code, stuck[0].when], [1, "POOL_EXHAUSTED", "now"]);
  });

  it("counts reserved addresses as not free", async () => {
    const reserved = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\nmetadata: { name: r }\n";
    const { pools, status } = await plan(`${reserved}spec: { ips: [172.18.0.1-172.18.0.4] }\n`);
    assert.deepEqual([pools[0].after, pools[0].dry, status], [{ total: 4, used: 0, free: 0 }, true, 1]);
    api.apply(spiderReservedIPs, { metadata: { name: "r" }, spec: { ips: ["172.18.0.1-172.18.0.3"] } });
    const { pools: after } = await plan("", reserved);
    assert.deepEqual([after[0].before.free, after[0].after.free], [1, 4]);
  });

  it("says which addresses go when a StatefulSet is made smaller, and that those of its other Pods stay", async () => {
    application("StatefulSet", 3);
    const { losses } = await plan(scaled("StatefulSet", "db", 1));
    assert.deepEqual(
      losses.map(({ address, pod, when }: Record<string, string>) => [address, pod, when]),
      [
        ["172.18.0.2", "default/db-1", "now"],
        ["172.18.0.3", "default/db-2", "now"],
      ],
    );
  });

  it("says which kept addresses go when a StatefulSet names other pools, and where it gets stuck", async () => {
    application("StatefulSet", 3);
    makePool("b", "172.18.0.10-172.18.0.11");
    const { losses, stuck } = await plan(scaled("StatefulSet", "db", 3, naming("b")));
    assert.deepEqual(
      losses.map(({ address }: Record<string, string>) => address),
      ["172.18.0.3", "172.18.0.2", "172.18.0.1"],
    );
    assert.deepEqual(
      stuck.map(({ pod, sticky, code }: Record<string, unknown>) => [pod, sticky, code]),
      [["default/db-0", true, "POOL_EXHAUSTED"]],
    );
  });

  it("says which Pods could not restart: those of a pool that is closed to their node", async () => {
    application("Deployment", 2);
    application("StatefulSet", 1);
    const { stuck } = await plan(pool("a", "172.18.0.1-172.18.0.4", ", nodeName: [n2]"));
    assert.deepEqual(
      stuck.map(({ pod, when }: Record<string, string>) => [pod, when]),
      [
        ["default/web-1-0", "at its restart"],
        ["default/web-1-1", "at its restart"],
      ],
    );
  });

  it("a rolling update in a full pool needs room for one more", async () => {
    application("Deployment", 4);
    const more = await plan(scaled("Deployment", "web", 4, ", template: { metadata: { labels: { v: '2' } } }"));
    // A quarter may be away: the first one makes room for its successor.
    assert.deepEqual(more.stuck, []);
    const none = ", strategy: { rollingUpdate: { maxUnavailable: 0 } }, template: { metadata: { labels: { v: '2' } } }";
    const full = await plan(scaled("Deployment", "web", 4, none));
    assert.deepEqual([full.stuck.length, full.stuck[0].code], [1, "POOL_EXHAUSTED"]);
  });

  it("makes the pool of a new application from its subnet, and says what the subnet lacks", async () => {
    api.apply(spiderSubnets, {
      metadata: { name: "s" },
      spec: { ipVersion: 4, subnet: "10.7.0.0/16", ips: ["10.7.0.1-10.7.0.5"] },
    });
    const template = `, template: { metadata: { annotations: { ${annotations.subnet}: '{"ipv4":["s"]}' } } }`;
    const fits = await plan(scaled("Deployment", "web", 4, template));
    assert.deepEqual(fits.pools[0].after, { total: 5, used: 4, free: 1 });
    assert.deepEqual([fits.status, fits.stuck], [0, []]);
    const greedy = await plan(scaled("Deployment", "web", 5, template));
    assert.match(greedy.unmet[0], /required '6' but only left '5' in SpiderSubnet s/);
    assert.deepEqual([greedy.status, greedy.stuck.length], [1, 5]);
  });

  it("lets Pods that wait for an address have those of a pool that becomes larger", async () => {
    application("Deployment", 4);
    const metadata = { namespace: "default", name: "late", annotations: { [annotations.ippool]: '{"ipv4":["a"]}' } };
    api.apply(pods, { metadata, spec: { nodeName: "n1" }, status: { phase: "Pending" } });
    const { pools } = await plan(pool("a", "172.18.0.1-172.18.0.6"));
    assert.deepEqual(pools[0].after, { total: 6, used: 5, free: 1 });
  });

  it("refuses a workload that would lose its template, as the API server does", async () => {
    application("StatefulSet", 2);
    const stored = api.read(statefulSets, { namespace: "default", name: "db" });
    const lastApplied = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ spec: stored?.spec }) };
    api.apply(statefulSets, { metadata: { namespace: "default", name: "db", annotations: lastApplied } });
    const { status, refused, stuck } = await plan(scaled("StatefulSet", "db", 1));
    assert.deepEqual([status, stuck], [1, []]);
    assert.match(refused[0].why, /^spec\.template: Required value: give the whole StatefulSet/);
  });

  it("prints a page for people, and needs a file", async () => {
    application("StatefulSet", 2);
    const files = { f: scaled("StatefulSet", "db", 1) };
    const { status, out } = await runCtl(api, ["plan", "-f", "f"], files);
    assert.equal(status, 1);
    assert.equal(
      out,
      `Pools:
  POOL          TOTAL   USED    FREE
  a      used   4       2 → 1   2 → 3

Addresses that would go from their holders:
  172.18.0.2   a   Pod default/db-1   now: StatefulSet default/db has ordinals 0 to 0, not 1
`,
    );
    assert.equal((await runCtl(api, ["plan"])).status, 2);
  });

  it("ends with 2 and one sentence where the cluster cannot be read, whichever list fails first", async () => {
    api.faults = () => ({ kind: "status", status: 403, reason: "Forbidden" });
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    const { status, err } = await runCtl(api, ["plan", "-f", "a"], { a: pool("p", "['10.6.0.1']") });
    await new Promise(setImmediate); // Rejections that nobody waits for are told after the microtasks.
    process.off("unhandledRejection", note);
    assert.deepEqual([status, unhandled], [2, []]);
    assert.match(err, /^error: cannot list \w+: injected Forbidden\n$/);
  });

  it("refuses what it cannot read, and takes an object without metadata", async () => {
    const files = {
      empty: "---\n",
      nameless: "kind: Foo\n",
      text: "kind: List\nitems: [5]\n",
      mistyped: pool("p", "5"),
    };
    const levels = "bcdefghi".split("").map((name, at) => {
      const of = "abcdefgh"[at];
      return `${name}: &${name} [${Array(9).fill(`*${of}`).join(",")}]\n`;
    });
    const grown = { bomb: `a: &a [x]\n${levels.join("")}` };
    assert.match(
      (await runCtl(api, ["plan", "-f", "bomb"], grown)).err,
      /^error: bomb, line 1 cannot be used: Excessive alias count/,
    );
    const planned = async (file: string) => await runCtl(api, ["plan", "-f", file], files);
    assert.deepEqual((await planned("empty")).err, "error: empty has no object\n");
    assert.deepEqual((await planned("nothing")).err, "error: -f nothing cannot be read: nothing: no such file\n");
    assert.deepEqual(
      (await planned("text")).err,
      "error: text, line 2: this is no Kubernetes object, with a kind, metadata and a spec\n",
    );
    assert.deepEqual((await planned("nameless")).err, "error: nameless, line 1: this Foo has no name\n");
    assert.match(
      (await planned("mistyped")).out,
      /spiderippool\/p.*spec\.ips\[0\]: .* must be of type string: "integer"/,
    );
  });

  it("of a deleted network says that the controller makes it again where a SpiderMultusConfig is behind it", async () => {
    const maker = { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderMultusConfig", name: "made", uid: "u" };
    api.apply(networkAttachmentDefinitions, {
      metadata: { namespace: "default", name: "made", ownerReferences: [{ ...maker, controller: true }] },
      spec: { config: '{"cniVersion":"1.0.0","name":"made","type":"ovs","ipam":{"type":"spiderpool"}}' },
    });
    runningPod({ [annotations.defaultNetwork]: "default/made", [annotations.ippool]: '{"ipv4":["a"]}' });
    const gone = (apiVersion: string, kind: string) =>
      `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: made, namespace: default }\n`;
    const network = await plan("", gone("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition"));
    assert.deepEqual([network.status, network.stuck], [0, []]);
    assert.deepEqual(network.notes, [
      "NetworkAttachmentDefinition default/made would not stay deleted: spiderpool-controller makes it again from SpiderMultusConfig made; delete that instead",
    ]);
    const config = await plan("", gone("spiderpool.spidernet.io/v2beta1", "SpiderMultusConfig"));
    assert.deepEqual(
      [config.status, config.stuck[0]?.pod, config.stuck[0]?.code, config.notes],
      [1, "default/alone", "NETWORK_NOT_FOUND", []],
    );
  });
});

/** A Pod of no controller, with an address of pool a. */
function runningPod(notes: Readonly<Record<string, string>>): void {
  const metadata = { namespace: "default", name: "alone", annotations: notes };
  api.apply(pods, { metadata, spec: { nodeName: "n1" }, status: { phase: "Running" } });
  claim("172.18.0.1", "a", "alone");
}
