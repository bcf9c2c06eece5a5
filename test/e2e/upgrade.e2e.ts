import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { installNamespace } from "../../scripts/common/product-lab.ts";
import { chart, installed, walkthroughFlags } from "../cluster/product.ts";
import { settled } from "./audit.ts";
import { type KubeObject, manifests, type Suite, startBareSuite } from "./suite.ts";
import { until } from "./until.ts";
import { pod } from "./workloads.ts";

const nodes = ["node1", "node2"];
const lanesOfNode = 2;
const network = "/etc/cni/net.d/00-multus.conf";

interface EventLike extends KubeObject {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly name: string };
}

/** What a user has of his release from its installation to its end, by Helm on a real cluster. */
describe("a release", () => {
  let suite: Suite;
  let stage: Stage;
  let untouched: Readonly<Record<string, string>>;
  before(async () => {
    suite = await startBareSuite("upgrade", { bridges: true });
    ({ stage } = suite);
    untouched = await stateOfNodes();
    await stage.helm("install", "spiderpool", chart, ...walkthroughFlags);
    await installed(stage);
    await stage.kubectl("apply", "-f", `${manifests}/pool.yaml`, "-f", `${manifests}/network.yaml`);
    const nad = ["net-attach-def/ovs-conf", "-n", installNamespace];
    await stage.kubectl("wait", ...nad, "--for=jsonpath={.spec.config}", "--timeout=300s");
    assert.deepEqual(stage.failures, []);
  });
  after(() => suite?.[Symbol.asyncDispose]());

  const onNode = (node: string, script: string) => suite.onNode(node, script);
  const list = async <T extends KubeObject>(...what: readonly string[]): Promise<readonly T[]> =>
    JSON.parse((await stage.quiet("get", ...what, "-o", "json")).stdout).items;
  const ok = async (...argv: readonly string[]) => {
    const { ok, stderr, stdout } = await stage.quiet(...argv);
    assert.ok(ok, `kubectl ${argv.join(" ")}: ${stderr}`);
    return stdout;
  };

  /** The files of CNI and the kernel's settings, on each node. */
  async function stateOfNodes(): Promise<Readonly<Record<string, string>>> {
    const settings = "sysctl -a 2>/dev/null | grep -E 'conf.all.(arp_notify|forwarding|rp_filter)|default.gc_thresh3'";
    const script = `ls -A /opt/cni/bin; cd /etc/cni/net.d && sha256sum *; ${settings}`;
    return Object.fromEntries(await Promise.all(nodes.map(async (node) => [node, await onNode(node, script)])));
  }

  let next = 0;
  let count = 0;
  /** Pods come and go on every node while `act` runs; no call of the runtime may fail, and the network is never missing. */
  async function underLoad(act: () => Promise<void>): Promise<void> {
    let over = false;
    const stop = `/run/over-${next}`;
    const watching = nodes.map((node) =>
      onNode(node, `until [ -e ${stop} ]; do [ -e ${network} ] || echo missing; sleep 0.02; done`),
    );
    const lane = async (node: string) => {
      while (!over) {
        const name = `load-${next++}`;
        const { ok: created, stderr } = await stage.input(JSON.stringify(pod(name, { node })), "apply", "-f", "-");
        assert.ok(created, stderr);
        await ok("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=300s");
        count += 1;
        await ok("delete", "pod", name, "--wait=true", "--timeout=300s");
      }
    };
    const load = Promise.all(nodes.flatMap((node) => Array.from({ length: lanesOfNode }, () => lane(node))));
    try {
      await Promise.race([act(), load]);
    } finally {
      over = true;
      await load;
      await Promise.all(nodes.map((node) => onNode(node, `touch ${stop}`)));
    }
    assert.deepEqual(await Promise.all(watching), ["", ""]);
    const failed = (await list<EventLike>("events", "-A")).filter(({ reason }) =>
      ["FailedCreatePodSandBox", "FailedKillPod"].includes(reason),
    );
    assert.deepEqual(
      failed.map(({ reason, message, involvedObject }) => `${reason} ${involvedObject.name}: ${message}`),
      [],
    );
  }

  const added = async (more: number) => {
    const goal = count + more;
    await until(`${more} further Pods are Ready`, async () => (count >= goal ? true : undefined));
  };

  it("rolls its agents under load without one failed ADD or DEL", async (t) => {
    await underLoad(async () => {
      await added(2);
      await ok("rollout", "restart", "daemonset/spiderpool-agent", "-n", installNamespace);
      await ok("rollout", "status", "daemonset/spiderpool-agent", "-n", installNamespace, "--timeout=300s");
      await added(4);
    });
    t.diagnostic(`${count} Pods`);
  });

  it("is upgraded and rolled back under load without one failed ADD or DEL", async () => {
    await underLoad(async () => {
      const flags = ["--reuse-values", "--set", "ipam.enableGatewayDetection=false", "--set", "ipam.gc.enabled=false"];
      await stage.helm("upgrade", "spiderpool", chart, "--namespace", installNamespace, ...flags);
      await installed(stage);
      await added(2);
      await stage.helm("rollback", "spiderpool", "1", "--namespace", installNamespace);
      await installed(stage);
      await added(2);
    });
    assert.deepEqual(stage.failures, []);
  });

  it("restores its files on a node, and says in an Event who changed them", async () => {
    await onNode("node1", `mv ${network} ${network}.cilium_bak; rm /opt/cni/bin/ovs`);
    await onNode("node1", `timeout 60 sh -c 'until [ -e ${network} ] && [ -x /opt/cni/bin/ovs ]; do sleep 0.05; done'`);
    await onNode("node1", `rm ${network}.cilium_bak`);
    const seen = await until("the Events", async () => {
      const events = await list<EventLike>("events", "-n", "default", "--field-selector=involvedObject.kind=Node");
      const messages = events.filter(({ type }) => type === "Warning").map(({ message }) => message);
      return messages.some((one) => one.includes("Cilium")) && messages.some((one) => /bin.*: ovs/.test(one))
        ? messages
        : undefined;
    });
    assert.ok(seen.length >= 2);
  });

  it("starts Pods while its controller, and with it every webhook, is away", async () => {
    const deployment = ["deployment/spiderpool-controller", "-n", installNamespace];
    await ok("scale", ...deployment, "--replicas=0");
    await ok(
      "wait",
      "pod",
      "-n",
      installNamespace,
      "-l",
      "app.kubernetes.io/component=spiderpool-controller",
      "--for=delete",
    );
    assert.equal((await stage.input(JSON.stringify(pod("alone", { node: "node1" })), "apply", "-f", "-")).ok, true);
    await ok("wait", "pod/alone", "--for=condition=Ready", "--timeout=300s");
    await ok("delete", "pod", "alone", "--wait=true", "--timeout=300s");
    await ok("scale", ...deployment, "--replicas=1");
    await installed(stage);
  });

  it("never needs a right that it does not have", async () => {
    for (const what of ["daemonset/spiderpool-agent", "deployment/spiderpool-controller"]) {
      const logs = await ok("logs", "-n", installNamespace, what, "--tail=-1");
      assert.doesNotMatch(logs, /forbidden/i, what);
    }
  });

  it("leaves nothing when it is removed: nodes are as they were, and Pods start on the node's former network", async () => {
    await settled(suite);
    assert.equal((await stage.helm("uninstall", "spiderpool", "--namespace", installNamespace, "--wait")).ok, true);
    await until("the agents are gone", async () => {
      const agents = await list("pods", "-n", installNamespace, "-l", "app.kubernetes.io/name=spiderpool");
      return agents.length === 0 ? true : undefined;
    });
    assert.deepEqual(await stateOfNodes(), untouched);
    for (const { metadata, status } of await list<
      KubeObject & { readonly metadata: { readonly annotations?: object } }
    >("nodes"))
      assert.doesNotMatch(JSON.stringify([metadata.annotations, status?.["capacity"]]), /spidernet|ovs-cni/);
    const kinds = "crd,clusterrole,clusterrolebinding,role,rolebinding,serviceaccount,secret,configmap,job,deployment";
    const more = "daemonset,validatingadmissionpolicy,validatingadmissionpolicybinding,mutatingwebhookconfiguration";
    const found = await list(`${kinds},${more},validatingwebhookconfiguration,flowschema`, "-A");
    assert.deepEqual(
      found.map(({ metadata }) => metadata.name).filter((name) => name.includes("spider")),
      [],
    );
    const { metadata, spec } = pod("afterwards", { node: "node1", annotations: {} }) as unknown as KubeObject;
    const plain = JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec });
    assert.equal((await stage.input(plain, "apply", "-f", "-")).ok, true);
    await ok("wait", "pod/afterwards", "--for=condition=Ready", "--timeout=300s");
  });
});
