import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { gunzipSync } from "node:zlib";
import { createLabClient } from "../lab/api/index.ts";
import type { LabHandle } from "../lab/launch.ts";
import type { Stage } from "../lab/scenarios/stage.ts";
import { until } from "../src/base/testing/until.ts";
import { startStage } from "./stage.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = join(root, "build/spiderpoolctl.mjs");
const node = "node1";

/** What a command left. */
interface Left {
  readonly status: number;
  readonly out: string;
}

/** A station of a packet's way, as `net show --draw` draws it. */
interface Drawn {
  readonly ok: boolean;
  readonly name: string;
}

interface Broken {
  readonly what: string;
  /** Takes something away: in the Pod's namespace (`$pod`), on the node, or beside the switch. */
  readonly breaks: { readonly inPod?: string; readonly onNode?: string };
  readonly mends: { readonly inPod?: string; readonly onNode?: string };
  /** The stations that have a cross. */
  readonly crosses: readonly RegExp[];
}

const faults: readonly Broken[] = [
  {
    what: "whose interface was taken down",
    breaks: { inPod: "ip link set eth0 down" },
    mends: { inPod: "ip link set eth0 up; ip route add default via 172.18.0.1" },
    crosses: [/^Pod eth0$/], // by which nobody can be asked
  },
  {
    what: "whose address was taken away",
    breaks: { inPod: "ip addr flush dev eth0 scope global" },
    mends: { inPod: "ip addr add $address dev eth0; ip route add default via 172.18.0.1" },
    crosses: [/^172\.18\.\d+\.\d+\/16$/],
  },
  {
    what: "whose node's uplink is down",
    breaks: { onNode: "ip link set eth0 down" },
    mends: { onNode: "ip link set eth0 up" },
    crosses: [/^uplink eth0$/, /^gateway 172\.18\.0\.1$/],
  },
];

describe("spiderpoolctl about a running Pod", { timeout: 240_000 }, () => {
  let lab: LabHandle;
  let stage: Stage;
  let address: string;
  before(async () => {
    stage = await startStage({ apply: ["pool", "network"] });
    ({ lab } = stage);
    const containers = [{ name: "web", image: "docker.io/library/busybox:1.37", command: ["sleep", "10000"] }];
    const spec = { nodeName: node, terminationGracePeriodSeconds: 0, containers };
    const annotations = { "ipam.spidernet.io/ippool": '{"ipv4":["ippool-test"]}' };
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "web", namespace: "default", annotations }, spec };
    await createLabClient({ baseUrl: lab.url }).create("v1/pods", pod);
    await stage.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=120s");
    const told = await stage.quiet("get", "events", "-o", "jsonpath={.items[*].message}");
    assert.deepEqual(stage.failures, [], told.stdout);
    const { stdout } = await stage.quiet("exec", "web", "--", "ip", "-o", "-4", "addr", "show", "dev", "eth0");
    address = /inet (\S+)/.exec(stdout)?.[1] ?? "";
  });
  after(() => lab.stop());

  /** On the node, as root there does it; without a cluster's configuration. */
  async function onNode(...argv: readonly string[]): Promise<Left> {
    const script = '"$@" 2>&1; echo "status $?"';
    const text = await lab.run({ node, argv: ["sh", "-c", script, "sh", process.execPath, program, ...argv] });
    const [, out = "", status = ""] = /^([\s\S]*)status (\d+)\n$/.exec(text) ?? [];
    return { status: Number(status), out };
  }

  /** With the cluster's kubeconfig, as an administrator does it from his own machine. */
  function fromOutside(...argv: readonly string[]): Promise<Left> {
    const env = { PATH: process.env["PATH"], KUBECONFIG: lab.kubeconfig, HOME: lab.directory };
    return new Promise((resolve) => {
      execFile(process.execPath, [program, ...argv], { env }, (error, stdout, stderr) => {
        resolve({ status: error === null ? 0 : Number(error.code), out: `${stdout}${stderr}` });
      });
    });
  }

  async function draw(): Promise<Left & { readonly stations: readonly Drawn[] }> {
    const left = await onNode("net", "show", "web", "--draw");
    const lines = [...left.out.matchAll(/^ {2}([✔✘]) (.*?) {2}/gm)];
    return { ...left, stations: lines.map(([, mark, name = ""]) => ({ ok: mark === "✔", name })) };
  }

  async function run({ inPod, onNode }: Broken["breaks"]): Promise<void> {
    if (inPod !== undefined) {
      const enter = 'exec nsenter --net=$(ls /var/run/netns/cni-* | head -n1) env address=$0 sh -c "$1"';
      await lab.run({ node, argv: ["sh", "-c", enter, address, inPod] });
    }
    if (onNode !== undefined) await lab.run({ node, argv: ["sh", "-c", onNode] });
  }

  it("net show draws the way of a packet, with a tick for each station of a healthy Pod", async () => {
    const { status, out, stations } = await draw();
    assert.match(out, /^eth0 \(kube-system\/ovs-conf\)\n/);
    assert.deepEqual(
      stations.map(({ ok }) => ok),
      stations.map(() => true),
      out,
    );
    const names = stations.map(({ name }) => name);
    assert.deepEqual([names[0], names[1]], ["Pod eth0", address]);
    assert.match(out, /\n {2}├─ ✔ its node {2}by veth[0-9a-f]{11}, table 500\n/);
    assert.match(names[2] ?? "", /^node veth[0-9a-f]{8}$/);
    assert.deepEqual(names.slice(3), ["port of br1", "uplink eth0", "gateway 172.18.0.1"]);
    assert.equal(status, 0);
    const listed = await onNode("net", "show", "web");
    assert.match(listed.out, /address 172\.18\.\S+ of ippool-test, gateway 172\.18\.0\.1\n/);
    assert.match(listed.out, /route default via 172\.18\.0\.1 dev eth0 table main\n/);
    assert.match(listed.out, /rule 1000: from all fwmark 1 lookup 100\n/);
    assert.match(listed.out, /route default via 172\.18\.\S+ dev veth0 table 100\n/);
    assert.match(listed.out, /route 10\.96\.0\.0\/12 via 172\.18\.\S+ dev veth0 table main\n/);
  });

  for (const { what, breaks, mends, crosses } of faults) {
    it(`net show draws a cross for each station that does not work of a Pod ${what}, and for no other`, async () => {
      await run(breaks);
      const { status, out, stations } = await draw();
      await run(mends);
      assert.equal(status, 1, out);
      const bad = stations.filter(({ ok }) => !ok).map(({ name }) => name);
      assert.equal(bad.length, crosses.length, out);
      for (const [at, name] of bad.entries()) assert.match(name, crosses[at] ?? /never/, out);
    });
  }

  it("trace shows the stages of the Pod's ADD", async () => {
    const { status, out } = await onNode("trace", "web");
    assert.equal(status, 0, out);
    assert.match(out, / ADD \S+ eth0 of [0-9a-f]{12}: [\d.]+ ms\n/);
    for (const stage of ["claim", "link", "port", "ofport", "addresses", "coordinator"]) {
      assert.match(out, new RegExp(`^  ${stage} .* at [\\d.]+ ms +[\\d.]+ ms`, "m"));
    }
    const nobody = await onNode("trace", "nobody");
    assert.deepEqual([nobody.status, nobody.out.includes("has no call of Pod default/nobody")], [1, true]);
  });

  it("doctor finds nothing on a healthy node, then a fault that is made, and nothing when its own fix was run", async () => {
    await untilFound([]);
    await lab.run({ node, argv: ["ip", "addr", "add", "172.18.77.1/32", "dev", "eth0"] });
    const [finding] = await untilFound(["uplink-address"]);
    assert.equal((await onNode("node", "status", "--local")).status, 1);
    await lab.run({ node, argv: ["sh", "-ec", (finding?.fix ?? []).join("\n")] });
    await untilFound([]);
    const cluster = await fromOutside("doctor");
    const unexamined =
      "No agent and no controller of Spiderpool is installed in this cluster: only Events of nodes were examined.";
    assert.deepEqual([cluster.status, cluster.out], [0, `${unexamined}\nNothing was found.\n`]);
  });

  it("doctor --preflight finds nothing on a node with its bridge, and says what a bridge that is not there lacks", async () => {
    assert.deepEqual(await onNode("doctor", "--preflight", "--bridge", "br1"), {
      status: 0,
      out: "Nothing was found.\n",
    });
    const { status, out } = await onNode("doctor", "--preflight", "--bridge", "br9");
    assert.deepEqual(
      [status, /^bridge-missing [^\n]*there is no bridge br9; there are: br1/m.test(out)],
      [1, true],
      out,
    );
  });

  it("node status, trace and net show need no cluster: they work while the API server is away", async () => {
    await lab.run({ node, argv: ["ip", "link", "set", "mgmt0", "down"] });
    try {
      const { status, out } = await onNode("node", "status", "--local");
      assert.match(
        out,
        /^Node +node1\nVersion +\S+\nController +not known: .+\nAgent +serves\nLast calls +\d+, 0 failed\nDoctor +nothing found\n$/,
      );
      assert.equal(status, 0);
      assert.equal((await onNode("trace", "web")).status, 0);
      assert.equal((await draw()).status, 0);
    } finally {
      await lab.run({ node, argv: ["ip", "link", "set", "mgmt0", "up"] });
    }
  });

  it("bundle has the Pod's address, its pool and its network in one file of few bytes, and no secret", async () => {
    const file = join(lab.directory, "bundle.json.gz");
    const { status, out } = await fromOutside("bundle", "-f", file);
    assert.equal(status, 0, out);
    const packed = readFileSync(file);
    const text = gunzipSync(packed).toString();
    const { parts } = JSON.parse(text) as { parts: { kind: string; items: unknown[]; error?: string }[] };
    assert.deepEqual(
      parts.filter(({ error }) => error !== undefined),
      [],
    );
    const of = (kind: string) => JSON.stringify(parts.find((part) => part.kind === kind)?.items);
    assert.match(of("SpiderIPAddress"), new RegExp(`"${address.replace(/\/.*/, "").replaceAll(".", "\\.")}"`));
    assert.match(of("SpiderIPPool"), /"ippool-test"/);
    assert.deepEqual(parts.find(({ kind }) => kind === "Log")?.items, [], "the lab's agents are no Pods");
    assert.match(of("NetworkAttachmentDefinition"), /"ovs-conf"/);
    assert.ok(packed.length < 20_000_000);
    assert.doesNotMatch(text, /"kind":"Secret"|PRIVATE KEY/);
  });

  it("bundle --local has what the node's agent tells, also while the API server is away", async () => {
    const argv = ["sh", "-c", '"$@" -f - | gzip -d', "sh", process.execPath, program, "bundle", "--local"];
    let text: string;
    await lab.run({ node, argv: ["ip", "link", "set", "mgmt0", "down"] });
    try {
      text = await lab.run({ node, argv });
    } finally {
      await lab.run({ node, argv: ["ip", "link", "set", "mgmt0", "up"] });
    }
    const { parts } = JSON.parse(text) as {
      parts: { items: { about: string; answer: unknown }[] }[];
    };
    const answers = new Map(parts[0]?.items.map(({ about, answer }) => [about, JSON.stringify(answer)]));
    assert.match(answers.get("status") ?? "", new RegExp(`"node":"${node}"`));
    assert.match(answers.get("flights") ?? "", /"pod":"default\/web".*"stage":"claim"/);
    assert.match(answers.get("log") ?? "", /serving/);
    assert.match(answers.get("metrics") ?? "", /spiderpool_cni_calls_total/);
    assert.equal(answers.get("doctor"), "[]");
  });

  /** What the doctor finds on the node when it finds exactly this: the agent's picture of the node may be a moment old. */
  async function untilFound(ids: readonly string[]): Promise<readonly { id: string; fix: readonly string[] }[]> {
    type Found = readonly { readonly id: string; readonly fix: readonly string[] }[];
    return until(
      `the doctor's findings are ${ids.join(", ") || "none"}`,
      async () => JSON.parse((await onNode("doctor", "--local", "-o", "json")).out).items as Found,
      (found) =>
        isDeepStrictEqual(
          found.map(({ id }) => id),
          ids,
        ),
      { everyMs: 100 },
    );
  }
});
