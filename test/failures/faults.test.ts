import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { annotations as keys, readDoubts } from "#api";
import { createLabClient, type LabClient } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { until } from "../../src/base/testing/until.ts";
import { startStage } from "../stage.ts";

const program = fileURLToPath(new URL("../../build/spiderpoolctl.mjs", import.meta.url));
const node = "node1";
const ours = "spiderpool.spidernet.io/v2beta1";
const [ghost, former, stale] = ["172.18.30.139", "172.18.30.138", "172.18.30.200"];
const metrics = { SPIDERPOOL_ENABLED_METRIC: "true" };
const patience = { withinMs: 240_000, everyMs: 100 };

interface Fact {
  readonly text: string;
  readonly readAt: string;
}

interface Found {
  readonly kind: string;
  readonly object: string;
  readonly one: Fact;
  readonly other: Fact;
}

interface PodLike {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: { readonly podIP: string };
}

interface NodeLike {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
}

interface ClaimLike {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podName?: string; readonly podUID?: string };
}

/** Each of the eight ways in which sources can disagree: made, found by `check`, mended by agent or controller, and counted. */
describe("faults of a node and a cluster", { timeout: 300_000 }, () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  let pods: readonly PodLike[];
  before(async () => {
    stage = await startStage({
      apply: ["pool", "network"],
      agentEnv: { ...metrics, SPIDERPOOL_LOOK_SECONDS: "1" },
      // It stands still for a while, and is to lead on.
      controllerEnv: { ...metrics, SPIDERPOOL_LEADER_DURATION: "600", SPIDERPOOL_LEADER_RENEW_DEADLINE: "500" },
    });
    ({ lab } = stage);
    client = createLabClient({ baseUrl: lab.url });
    for (const name of ["web-a", "web-b"]) await client.create("v1/pods", podOf(name));
    await stage.kubectl("wait", "pod/web-a", "pod/web-b", "--for=condition=Ready", "--timeout=120s");
    assert.deepEqual(stage.failures, []);
    pods = await client.list<PodLike>("v1/pods", { namespace: "default" });
    await until("the pool's status", counted, (count) => count === 2, patience);
  });
  after(() => lab.stop());

  const onNode = (script: string) => lab.run({ node, argv: ["sh", "-c", script] });
  const claims = () => client.list<ClaimLike>(`${ours}/spideripaddresses`);
  const counted = async () => {
    const [pool] = await client.list<{ readonly status?: { readonly allocatedIPCount?: number } }>(
      `${ours}/spiderippools`,
    );
    return pool?.status?.allocatedIPCount;
  };
  const scrape = (where: { readonly node?: string }, port: number) => async () => {
    const text = await lab.run({ ...where, argv: ["busybox", "wget", "-qO-", `http://127.0.0.1:${port}/metrics`] });
    return new Set(
      [...text.matchAll(/^spiderpool_faults_total\{kind="([a-z-]+)"[^}]*\} [1-9]/gm)].map(([, kind]) => kind),
    );
  };
  const isAmong = (kinds: readonly string[]) => (seen: ReadonlySet<string | undefined>) =>
    kinds.every((kind) => seen.has(kind));

  /** Each with two facts, and when each was read. */
  function assertTold(out: string, kinds: readonly string[]): void {
    const all: readonly Found[] = JSON.parse(out || '{"items":[]}').items;
    // A view of what was just made may still be on its way, where the machine is busy.
    const items = all.filter(({ kind }) => kinds.includes(kind) || kind !== "view-differs");
    assert.deepEqual([...new Set(items.map(({ kind }) => kind))].sort(), [...kinds].sort(), out);
    for (const { kind, one, other } of items) {
      assert.notEqual(one.text, other.text, kind);
      for (const { text, readAt } of [one, other]) assert.ok(text !== "" && Number.isFinite(Date.parse(readAt)), kind);
    }
  }

  const stopped = async (
    programs: readonly { readonly node?: string; readonly program: string }[],
    act: () => Promise<void>,
  ) => {
    for (const one of programs) await lab.kill({ ...one, signal: "SIGSTOP" });
    try {
      await act();
    } finally {
      for (const one of programs) await lab.kill({ ...one, signal: "SIGCONT" });
    }
  };

  it("of a view are found at once, and mended by the controller", async () => {
    await stopped([{ program: "controller" }], async () => {
      const status = JSON.stringify({ status: { allocatedIPCount: 7 } });
      await stage.quiet("patch", "sp", "ippool-test", "--subresource=status", "--type=merge", "-p", status);
      assertTold(await checked(["--kubeconfig", lab.kubeconfig]), ["view-differs"]);
    });
    await until("the view mended", counted, (count) => count === 2, patience);
  });

  it("of the ledger are found at once, told to the agent that stood still meanwhile, and mended by it", async (t) => {
    const [pod = assert.fail("no Pod")] = pods;
    const held = (await claims()).find(({ spec }) => spec.podUID === pod.metadata.uid) ?? assert.fail("no claim");
    const strange = (address: string, podName: string, podUID: string) =>
      client.create(`${ours}/spideripaddresses`, {
        apiVersion: ours,
        kind: "SpiderIPAddress",
        metadata: { name: address, labels: { pool: "ippool-test", node } },
        spec: { ...held.spec, address, podName, podUID, nic: "net7", containerID: podUID },
      });
    // Whoever would mend it stands still until it has been found.
    await stopped([{ node, program: "agent" }], async () => {
      await strange(ghost, "ghost", "11111111-1111-4111-8111-111111111111");
      await strange(former, pod.metadata.name, "22222222-2222-4222-8222-222222222222");
      await client.delete(`${ours}/spideripaddresses`, { name: held.metadata.name });
      const out = await checked(["--kubeconfig", lab.kubeconfig]);
      assertTold(out, ["claim-without-pod", "wrong-uid", "pod-without-claim"]);
      const told = new Set<string>();
      const tell = async () => {
        const found = await client.get<NodeLike>("v1/nodes", { name: node });
        for (const name of readDoubts(found?.metadata.annotations?.[keys.doubts] ?? "")) told.add(name);
        return [...told];
      };
      const all = [ghost, former, held.metadata.name];
      await until("the agent told of all three", tell, (now) => all.every((name) => now.includes(name)), patience);
    });
    const goneOnMs = performance.now();
    const names = async () => (await claims()).map(({ metadata }) => metadata.name).sort();
    const wanted = pods.map(({ status }) => status.podIP).sort();
    await until("the ledger mended", names, (now) => now.join() === wanted.join(), patience);
    t.diagnostic(`mended ${Math.round(performance.now() - goneOnMs)} ms after the agent went on`);
  });

  it("of the node are found at once, mended by the agent where that harms nobody, and told of where it would", async () => {
    const [one = assert.fail("no Pod"), other = assert.fail("no second Pod")] = pods;
    const port = (await onNode("ovs-vsctl list-ports br1")).match(/^veth\S+/m)?.[0] ?? assert.fail("no port");
    const owner =
      "external_ids:owner=ovs-cni.network.kubevirt.io external_ids:contNetns=/var/run/netns/gone external_ids:contIface=eth0";
    // The agent mends what it finds: each is made again and again until it has been found.
    const injecting = onNode(`
      rm -f /run/found
      for path in /var/run/netns/*; do
        nsenter --net="$path" ip -4 addr show dev eth0 2>/dev/null | grep -qF "${other.status.podIP}/" && in="$path"
      done
      while ! [ -e /run/found ]; do
        ip route replace ${stale}/32 dev lo table 500
        ovs-vsctl --may-exist add-port br1 left0 -- set interface left0 type=internal -- set port left0 ${owner}
        ovs-vsctl --if-exists del-port ${port}
        nsenter --net="$in" ip addr replace ${one.status.podIP}/32 dev eth0
        sleep 0.05
      done
      nsenter --net="$in" ip addr del ${one.status.podIP}/32 dev eth0`);
    try {
      const look = `"${process.execPath}" "${program}" check --local -o json || true`;
      const kinds = ["one-address-twice", "port-without-namespace", "stale-host-route", "veth-without-port"];
      const found = async () => onNode(look);
      const all = (out: string) => kinds.every((kind) => out.includes(`"${kind}"`));
      assertTold(await until("all kinds", found, all, patience), kinds);
    } finally {
      await onNode("touch /run/found");
      await injecting;
    }
    const left = () => onNode("ip route show table 500; ovs-vsctl list-ports br1");
    const isMended = (text: string) => !text.includes(stale) && !text.includes("left0") && text.includes(port);
    await until("the node mended", left, isMended, patience);
  });

  it("are counted by kind", async () => {
    const agent = ["claim-without-pod", "wrong-uid", "pod-without-claim", "one-address-twice"];
    const kernel = ["port-without-namespace", "veth-without-port", "stale-host-route"];
    await until("the agent's kinds", scrape({ node }, 5711), isAmong([...agent, ...kernel]), patience);
    await until("the controller's kind", scrape({}, 5721), isAmong(["view-differs"]), patience);
  });
});

function podOf(name: string): object {
  const containers = [{ name: "web", image: "docker.io/library/busybox:1.37", command: ["sleep", "10000"] }];
  const annotations = { "ipam.spidernet.io/ippool": '{"ipv4":["ippool-test"]}' };
  const metadata = { name, namespace: "default", annotations };
  return { apiVersion: "v1", kind: "Pod", metadata, spec: { nodeName: node, containers } };
}

/** What `check` prints as JSON. */
function checked(flags: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, "check", "-o", "json", ...flags], (_error, stdout) => resolve(stdout));
  });
}
