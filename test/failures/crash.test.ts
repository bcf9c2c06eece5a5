import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { stages } from "#base";
import { createLabClient, type LabClient, textAt } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { manifests } from "../stage.ts";

const sides = ["before", "after"] as const;
/** Pods have a port on a bridge that is in a mirror, and a second network on a card of the node's. */
const card = "ip link add card0 type veth peer name card1 && ip link set card0 up && ip link set card1 up";
const second = {
  pool: { subnet: "10.9.0.0/16", ips: ["10.9.0.1-10.9.0.10"] },
  network: { cniType: "macvlan", macvlan: { master: ["card0"], ippools: { ipv4: ["second"] } } },
};
const mirrored = {
  type: "ovs-mirror-producer",
  bridge: "br1",
  mirrors: [{ name: "m1", ingress: true, egress: true }],
};
const first = {
  cniType: "ovs",
  ovs: { bridge: "br1", ippools: { ipv4: ["ippool-test"] } },
  chainCNIJsonData: [JSON.stringify(mirrored)],
};
/** Stages that an ADD of these Pods comes to more than once: to plan networks and to record them, for both, for port and mirror. */
const repeated = ["networks", "claim", "link", "addresses", "port", "coordinator"];
/** Every stage of an ADD, from the one table; those that a DEL has. */
const addPoints = stages.flatMap((stage) => sides.map((side) => `ADD ${stage}:${side}`));
const delPoints = ["queue", "link", "record", "reply"].flatMap((stage) => sides.map((side) => `DEL ${stage}:${side}`));
/**
 * What is away from the crash on, while the agent starts again and gets an ADD: how it is taken from a node and given back.
 * With nothing away, a stage that comes more than once is hit at its second time.
 */
const ovsPids = "$(cat /run/openvswitch/ovsdb-server.pid /run/openvswitch/ovs-vswitchd.pid)";
const outages = {
  nothing: undefined,
  "the API server": { off: "ip link set mgmt0 down", on: "ip link set mgmt0 up" },
  "Open vSwitch": { off: `kill -STOP ${ovsPids}`, on: `kill -CONT ${ovsPids}` },
} as const;
type Outage = keyof typeof outages;
/**
 * A third network of two plugins that are not ours: the one leaves something on the node until its DEL, the other has an ADD fail
 * as long as it is told to.
 */
const third = {
  plugins: {
    keeps: `[ ! -e /run/counted ] || echo "$CNI_COMMAND" >>/run/counted
case $CNI_COMMAND in
ADD) touch "$kept" && at made ;;
DEL) at first; rm -f "$kept"; at last ;;
esac`,
    refuses: "[ $CNI_COMMAND = ADD ] && [ -e /run/refuse ] && fail",
  },
  script: (act: string) => `#!/bin/sh
kept=/run/kept-$CNI_CONTAINERID-$CNI_IFNAME
fail() { echo '{"cniVersion":"1.0.0","code":100,"msg":"refused"}'; exit 1; }
at() { [ ! -e /run/hold-$1 ] || mv /run/hold-$1 /run/held; while [ -e /run/held ]; do sleep 0.05; done; }
${act}
[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","interfaces":[]}'
exit 0
`,
  config: { cniVersion: "1.0.0", name: "third", plugins: [{ type: "keeps" }, { type: "refuses" }] },
};
/**
 * When the agent is killed while the plugin that keeps something runs, and how often that one's DEL is called at least: when its ADD
 * has made that, or as its DEL begins or ends. A moment that comes again is hit in the next call; `first, last` are of the same call,
 * while which two agents end.
 */
const foreignMoments = [
  [["first"], 2],
  [["last"], 2],
  [["made"], 2],
  [["first", "first"], 3],
  [["last", "last"], 3],
  [["first", "last"], 2],
  [["made", "first"], 3],
  [["made", "made", "last"], 4],
] as const;
/** Those that a second ADD of a sandbox comes to: then it sees that there is one. */
const secondPoints = addPoints.slice(0, addPoints.indexOf("ADD select:before")).concat("ADD link:before");
const multusConf = JSON.stringify({
  cniVersion: "1.0.0",
  name: "multus-cni-network",
  type: "multus",
  clusterNetwork: "ovs-conf",
});
/** In the shell: the processes of a Pod's ADD that is under way, and whether one of them has got through to an agent. */
const calling = String.raw`
adding() { grep -lszE "K8S_POD_NAME=$1(;|\$)" $(grep -lszxF CNI_COMMAND=ADD /proc/[0-9]*/environ) /dev/null | cut -d/ -f3; }
asking() {
  for pid in $(adding "$1"); do
    for socket in $(ls -l /proc/$pid/fd | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p'); do
      grep -qE " 03 +$socket( |$)" /proc/$pid/net/unix && return
    done
  done
  false
}`;
const readyMsMax = 120_000;
/** What is left over is taken down in the background, a port after two looks. */
const leftMsMax = 180_000;
/** One crash at a time on each; the points are shared out among them. */
const nodes = ["node1", "node2", "node3", "node4"];

/**
 * The agent is killed at every point of ADD and DEL, with everything there and with the API server or Open vSwitch away, and at
 * every step of undoing an ADD; it starts again, and the Pod must run or be gone, with nothing left. A new stage of `stages` is a new
 * point here; a new fault is one more row of `outages`.
 */
describe("an agent that is killed", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  let clean: readonly string[];
  before(async () => {
    lab = await launchProductLab({ nodes: nodes.length, bridges: true, agentEnv: { SPIDERPOOL_CRASH_POINTS: "true" } });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    client = createLabClient({ baseUrl: lab.url });
    await Promise.all(nodes.map((node) => lab.run({ node, argv: ["sh", "-c", card] })));
    await stage.kubectl("apply", "-f", `${manifests}/pool.yaml`);
    const apply = (kind: string, name: string, spec: object) => {
      const metadata = { name, namespace: "kube-system" };
      const object = { apiVersion: "spiderpool.spidernet.io/v2beta1", kind, metadata, spec };
      return stage.input(JSON.stringify(object), "apply", "-f", "-");
    };
    const made = await Promise.all([
      apply("SpiderIPPool", "second", second.pool),
      apply("SpiderMultusConfig", "second", second.network),
      apply("SpiderMultusConfig", "ovs-conf", first),
    ]);
    for (const { ok, stderr } of made) assert.ok(ok, stderr);
    const nad = {
      ...{ apiVersion: "k8s.cni.cncf.io/v1", kind: "NetworkAttachmentDefinition" },
      metadata: { name: "third", namespace: "kube-system" },
      spec: { config: JSON.stringify(third.config) },
    };
    await client.create("k8s.cni.cncf.io/v1/network-attachment-definitions", nad);
    for (const [name, act] of Object.entries(third.plugins)) {
      const script = `cat >/opt/cni/bin/${name} && chmod +x /opt/cni/bin/${name}`;
      const put = (node: string) => lab.run({ node, argv: ["sh", "-c", script], input: third.script(act) });
      await Promise.all(nodes.map(put));
    }
    for (const name of ["ovs-conf", "second"]) {
      const nad = `network-attachment-definition/${name}`;
      await stage.kubectl("wait", nad, "-n", "kube-system", "--for=jsonpath={.spec.config}", "--timeout=120s");
    }
    assert.deepEqual(stage.failures, []);
    // The first Pod of a node brings rules that stay.
    await Promise.all(nodes.map((node) => live(node, `first-${node}`)));
    clean = await Promise.all(nodes.map(settled));
  });
  after(() => lab.stop());

  for (const outage of Object.keys(outages) as Outage[]) {
    it(`at any point of an ADD or a DEL, with ${outage} away, loses no address, gives none twice and leaves nothing`, async () => {
      const points = [...addPoints, ...delPoints];
      const hit: string[] = [];
      const faults: string[] = [];
      await Promise.all(
        nodes.map(async (node, turn) => {
          for (let at = turn; at < points.length; at += nodes.length) {
            const point = points[at] ?? "";
            const pod = `crash-${Object.keys(outages).indexOf(outage)}-${at}`;
            await crash(node, point, pod, outage).then(
              () => hit.push(point),
              async (error: Error) =>
                faults.push(`${point}: ${error.message}; ${(await eventsOf(pod)).slice(-2).join("; ")}`),
            );
          }
        }),
      );
      assert.deepEqual(faults, []);
      assert.deepEqual(hit.sort(), points.sort(), "every point is hit");
      await nothingLeft();
    });
  }

  it("at any point of a second ADD of a running sandbox leaves it as it runs", async () => {
    await Promise.all(
      nodes.map(async (node, turn) => {
        for (let at = turn; at < secondPoints.length; at += nodes.length) {
          const point = secondPoints[at] ?? "";
          await live(node, `second-${at}`, () => again(node, point, `second-${at}`));
        }
      }),
    );
    await nothingLeft();
  });

  it("while a plugin that is not ours runs has its DEL called again, and leaves nothing", async () => {
    await Promise.all(
      nodes.map(async (node, turn) => {
        for (let at = turn; at < foreignMoments.length; at += nodes.length) {
          const [moments, dels] = foreignMoments[at] ?? [[], 0];
          await killAt(node, moments, dels, `foreign-${at}`);
        }
      }),
    );
    await nothingLeft();
  });

  it("at any step of undoing an ADD that failed loses no address and leaves nothing", async () => {
    const steps = { before: ":undo", after: ":undone" };
    const counts = await Promise.all(
      sides.flatMap((side) =>
        [1, 2].map(async (from) => {
          const node = nodes[2 * sides.indexOf(side) + from - 1] ?? "";
          let count = from;
          while (await undo(node, `${steps[side]} ${count}`, `undo-${side}-${count}`)) count += 2;
          return count;
        }),
      ),
    );
    // The record; for each of the three networks what it made, for two their claims; and more.
    for (const count of counts) assert.ok(count > 7, counts.join(", "));
    await nothingLeft();
  });

  /**
   * The last plugin refuses, and the agent is killed at the step of undoing. The Pod runs once nothing is refused any more. Returns
   * false if the undoing has no such step.
   */
  async function undo(node: string, point: string, pod: string): Promise<boolean> {
    await lab.run({
      node,
      argv: ["sh", "-c", 'touch /run/refuse; printf %s "$0" >/run/spiderpool/crash-at', `ADD ${point}`],
    });
    await client.create("v1/pods", podOn(node, pod, "kube-system/second,kube-system/third"));
    const isOver = async () => {
      const left = await lab.run({ node, argv: ["sh", "-c", "cat /run/spiderpool/crash-at 2>/dev/null || true"] });
      return left === ""
        ? "hit"
        : (await eventsOf(pod)).some((line) => line.includes("refused"))
          ? "missed"
          : undefined;
    };
    let end = await isOver();
    for (; end === undefined; end = await isOver()) await delay(100);
    await lab.run({ node, argv: ["rm", "-f", "/run/refuse", "/run/spiderpool/crash-at"] });
    await liveOn(node, pod);
    return end === "hit";
  }

  /** A Pod with the third network comes and goes, and the agent is killed while the plugin is held at each of the moments. */
  async function killAt(node: string, moments: readonly string[], dels: number, pod: string): Promise<void> {
    const sh = (script: string) => lab.run({ node, argv: ["sh", "-c", script] });
    const kills = async () => {
      for (const [at, moment] of moments.entries()) {
        await until(node, "[ -e /run/held ]");
        await lab.kill({ node, program: "agent", signal: "SIGKILL" });
        // The plugin still runs for the call that was cut off, until the next moment is prepared.
        const next = moments[at + 1];
        await sh(next === undefined ? "rm /run/held" : `touch /run/hold-${next}; rm /run/held`);
        assert.doesNotMatch((await eventsOf(pod)).join("; "), /Failed(CreatePodSandBox|KillPod)/, moment);
      }
    };
    await sh(`: >/run/counted; touch /run/hold-${moments[0]}`);
    await client.create("v1/pods", podOn(node, pod, "kube-system/second,kube-system/third"));
    await Promise.all([liveOn(node, pod), kills()]);
    await until(node, '[ -z "$(ls /var/lib/spiderpool/sandboxes)" ]');
    const counted = (await sh("cat /run/counted; rm /run/counted")).trim().split("\n");
    const said = `${moments.join(", ")}: ${counted.join(" ")}`;
    const made = moments.filter((moment) => moment === "made").length;
    assert.equal(counted.filter((verb) => verb === "ADD").length, made + 1, said);
    // What a killed ADD made is taken down before it is made again; a killed DEL is not taken for done.
    assert.ok(counted.filter((verb) => verb === "DEL").length >= dels, said);
  }

  /** The runtime calls ADD once more for a sandbox that runs, and the agent is killed at the point. */
  async function again(node: string, point: string, pod: string): Promise<void> {
    const { containerId, netns, uid } = await sandboxOf(node, pod);
    const call = (verb: string) => {
      const env = [
        ...[`CNI_COMMAND=${verb}`, `CNI_CONTAINERID=${containerId}`, `CNI_NETNS=${netns}`, "CNI_IFNAME=eth0"],
        ...["CNI_PATH=/opt/cni/bin", `CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=${uid}`],
      ];
      return lab.run({ node, argv: ["env", ...env, "sh", "-c", "/opt/cni/bin/multus || true"], input: multusConf });
    };
    await lab.run({ node, argv: ["sh", "-c", 'printf %s "$0" >/run/spiderpool/crash-at', point] });
    assert.match(await call("ADD"), /the container already has an interface of this name/, point);
    await until(node, "! [ -e /run/spiderpool/crash-at ]");
    assert.equal(await call("CHECK"), "", point);
    assert.match(await call("ADD"), /the container already has an interface of this name/, point);
    const page = await lab.run({ node, argv: ["busybox", "wget", "-qO-", `http://${await ipOf(pod)}/`] });
    assert.equal(page.trim(), pod, point);
    assert.equal(await call("CHECK"), "", point);
  }

  /** The Pod's sandbox, as the runtime has it on record. */
  async function sandboxOf(node: string, name: string) {
    type Sandbox = { containerId: string; netns: string; pod: { name: string; uid: string } };
    const script = 'for file in /var/lib/kubelet/sandboxes/*; do cat "$file"; echo; done';
    const lines = (await lab.run({ node, argv: ["sh", "-c", script] })).trim().split("\n");
    const found = lines.map((line) => JSON.parse(line) as Sandbox).find(({ pod }) => pod.name === name);
    assert.ok(found, `${name} has a sandbox`);
    return { ...found, uid: found.pod.uid };
  }

  async function ipOf(pod: string): Promise<string> {
    return textAt((await client.get("v1/pods", { namespace: "default", name: pod })) ?? {}, "status", "podIP");
  }

  async function crash(node: string, point: string, pod: string, outage: Outage): Promise<void> {
    const away = outages[outage];
    const next = `${pod}-next`;
    let crashed: Promise<unknown> | undefined;
    const arm = async () => {
      const stageName = point.replace(/^ADD |:.*/g, "");
      const at = away === undefined && repeated.includes(stageName) ? `${point} 2` : point;
      await lab.run({ node, argv: ["sh", "-c", 'printf %s "$0" >/run/spiderpool/crash-at', at] });
      // The file goes at the crash.
      const gone = until(node, "! [ -e /run/spiderpool/crash-at ]").catch(() =>
        assert.fail("the point was not reached"),
      );
      crashed = away === undefined ? gone : gone.then(() => restart(node, away, next));
      crashed.catch(() => {}); // It is looked at below, where nothing else failed before.
    };
    if (point.startsWith("ADD")) await arm();
    await live(node, pod, async () => {
      if (point.startsWith("DEL")) await arm();
    });
    // The DEL may come after the Pod's object is gone.
    await crashed;
    if (away !== undefined) return liveOn(node, next);
    // The shim says the call again to the next agent: the runtime never hears of the crash.
    assert.doesNotMatch((await eventsOf(pod)).join("; "), /Failed(CreatePodSandBox|KillPod)/, point);
  }

  /** Starts the agent that has ended where something is away, until it has the ADD of a Pod that was on its way before. */
  async function restart(node: string, { off, on }: { off: string; on: string }, pod: string): Promise<void> {
    try {
      await lab.hold({ node, program: "agent", held: true });
      await client.create("v1/pods", podOn(node, pod));
      await until(node, `[ "$(adding ${pod})" ]`);
      await lab.run({ node, argv: ["sh", "-c", off] });
      await lab.hold({ node, program: "agent", held: false });
      await until(node, `asking ${pod}`);
    } finally {
      // Also where this fails: the other points of the node come after it.
      await lab.hold({ node, program: "agent", held: false });
      await lab.run({ node, argv: ["sh", "-c", on] });
    }
  }

  /** Waits until the condition holds on the node. */
  async function until(node: string, condition: string): Promise<void> {
    const script = `${calling}\nuntil ${condition}; do sleep 0.02; done`;
    await lab.run({ node, argv: ["timeout", "120", "sh", "-c", script] });
  }

  /** A Pod comes, answers and goes. */
  async function live(node: string, pod: string, running?: () => Promise<void>): Promise<void> {
    await client.create("v1/pods", podOn(node, pod));
    await liveOn(node, pod, running);
  }

  async function liveOn(node: string, pod: string, running: () => Promise<void> = async () => {}): Promise<void> {
    const ip = await untilPod(pod, (object) => (ready(object) ? textAt(object, "status", "podIP") : undefined));
    assert.match(ip, /^172\.18\.30\./);
    // A Pod without probes is Ready a moment before its server listens.
    const fetch = 'until busybox wget -qO- "http://$0/" 2>/dev/null; do sleep 0.05; done';
    const page = await lab.run({ node, argv: ["timeout", "120", "sh", "-c", fetch, ip] });
    assert.equal(page.trim(), pod);
    await running();
    await client.delete("v1/pods", { namespace: "default", name: pod });
    await untilPod(pod, (object) => (object === undefined ? "gone" : undefined));
  }

  async function eventsOf(pod: string): Promise<readonly string[]> {
    const selector = `involvedObject.name=${pod}`;
    const columns = "custom-columns=R:.reason,M:.message";
    const { stdout } = await stage.quiet("get", "events", "--no-headers", "--field-selector", selector, "-o", columns);
    return stdout.trim().split("\n");
  }

  /** The inventory, when two looks in a row are the same. */
  async function settled(node: string): Promise<string> {
    for (let last = ""; ; ) {
      const now = await inventory(node);
      if (now === last) return now;
      last = now;
      await delay(1_000);
    }
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

  /** What a Pod has on its node: ports, mirrors, links, routes, rules, addresses that answer, records. */
  async function inventory(node: string): Promise<string> {
    const script = `ovs-vsctl list-ports br1; ovs-vsctl --bare --columns=name list mirror; ls /var/lib/spiderpool/sandboxes
ip -o link | grep -o 'veth[^@:]*'
ip rule; ip -6 rule; ip route show table all; ip netns list; ls /run | grep ^kept; true`;
    return (await lab.run({ node, argv: ["sh", "-c", script] })).split("\n").sort().join("\n");
  }

  async function nothingLeft(): Promise<void> {
    const empty = "--for=jsonpath={.status.allocatedIPCount}=0";
    const drained = await stage.quiet("wait", "spiderippool", "--all", empty, "--timeout=120s");
    const claims = (await stage.quiet("get", "sia", "-o", "name")).stdout;
    assert.ok(drained.ok, claims);
    assert.equal(claims, "");
    // Hints of claims stay for a minute after a crash: until it is certain that no create is still on its way.
    const untilMs = performance.now() + leftMsMax;
    for (const [at, node] of nodes.entries()) {
      // Not at once: a look is a dozen programs, and there is half a minute of them.
      for (let now = await inventory(node); now !== clean[at]; now = await inventory(node)) {
        if (performance.now() > untilMs) assert.equal(now, clean[at], node);
        await delay(1_000);
      }
    }
  }
});

function ready(pod: object | undefined): boolean {
  const conditions = (pod as { status?: { conditions?: { type: string; status: string }[] } } | undefined)?.status
    ?.conditions;
  return conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

function podOn(nodeName: string, name: string, networks = "kube-system/second"): object {
  const command = ["sh", "-c", "mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www"];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "default",
      annotations: {
        "v1.multus-cni.io/default-network": "kube-system/ovs-conf",
        "k8s.v1.cni.cncf.io/networks": networks,
      },
    },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "app", image: "none", command, ports: [{ containerPort: 80 }] }],
    },
  };
}
