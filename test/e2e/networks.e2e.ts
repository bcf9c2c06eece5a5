import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { ledgerIsEmpty, nothingLeft, settled } from "./audit.ts";
import { type KubeObject, manifests, type StoredPod, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod, pool } from "./workloads.ts";

interface PodEvent {
  readonly message: string;
  readonly involvedObject: { readonly name: string };
}

const stopOvs = "kill $(cat /run/openvswitch/ovs-vswitchd.pid /run/openvswitch/ovsdb-server.pid)";
/** What the distribution's package does on a node that never had it. */
const installOvs = `mkdir -p /var/log/openvswitch /run/openvswitch
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema`;
const startOvs = `common="--detach --no-chdir --verbose=console:off --pidfile"
ovsdb-server $common --remote=punix:/run/openvswitch/db.sock /etc/openvswitch/conf.db
ovs-vswitchd $common unix:/run/openvswitch/db.sock
ovs-vsctl --no-wait init`;

describe("networks", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("networks", { openVswitch: false });
    await suite.apply(deployment("plain", 2, { annotations: {} }));
  });
  afterEach(() => suite.stage.quiet("delete", "deploy,sts,pods", "-l", "app!=plain", "--wait=true"));
  after(() => suite?.[Symbol.asyncDispose]());

  const ready = (what: string, seconds = 300) =>
    suite.kubectl("wait", what, "--for=condition=Ready", `--timeout=${seconds}s`);
  const get = async (name: string) => JSON.parse(await suite.kubectl("get", "pod", name, "-o", "json")) as StoredPod;
  const addressesOf = async (app: string) => (await suite.podsOf(app)).map(({ status }) => status.podIP ?? "").sort();
  /** Pods of no network of ours are made anew; all are Ready, with such addresses. */
  const plainRestarts = async (address: RegExp) => {
    await suite.kubectl("rollout", "restart", "deployment/plain");
    await suite.kubectl("rollout", "status", "deployment/plain", "--timeout=300s");
    await until("the old Pods are gone", async () => ((await addressesOf("plain")).length === 2 ? true : undefined));
    for (const ip of await addressesOf("plain")) assert.match(ip, address);
  };
  const warning = (name: string) =>
    until(`an Event on ${name}`, async () => {
      const fields = `involvedObject.name=${name},type=Warning`;
      const events = await suite.list<{ readonly reason: string; readonly message: string }>("events", { fields });
      return events.find(({ reason }) => reason !== "FailedScheduling");
    });

  it("without Open vSwitch: Pods with macvlan on the nodes' interface reach each other, and both nodes reach them", async () => {
    const example = fileURLToPath(new URL("../../examples/macvlan", import.meta.url));
    await suite.kubectl("apply", "-f", example);
    await suite.kubectl("rollout", "status", "deployment/macvlan-app", "--timeout=300s");
    const pods = await suite.podsOf("macvlan-app");
    const [one = assert.fail(), two = assert.fail()] = pods;
    for (const { status } of pods) assert.match(status.podIP ?? "", /^172\.18\.41\./);
    const from = { pod: one.metadata.name };
    assert.equal(await suite.fetch(from, `http://${two.status.podIP}/`), two.metadata.name);
    for (const node of ["node1", "node2"])
      assert.equal(await suite.fetch({ node }, `http://${two.status.podIP}/`), two.metadata.name, node);
    await suite.kubectl("delete", "-f", example, "--wait=false");
    await ledgerIsEmpty(suite);
    await settled(suite);
  });

  it("Open vSwitch is not installed: agents are Ready, Pod and node are told, and Pods start when it is", async () => {
    const network = { cniType: "ovs", ovs: { bridge: "br1" } };
    await suite.apply({
      apiVersion: "spiderpool.spidernet.io/v2beta1",
      kind: "SpiderMultusConfig",
      metadata: { name: "early", namespace: "kube-system" },
      spec: network,
    });
    await suite.apply(
      pool("early", "172.18.61.1-172.18.61.9"),
      ...["1", "2"].map((n) => pod(`early-${n}`, { network: "early", pools: { ipv4: ["early"] }, node: `node${n}` })),
    );
    for (const name of ["early-1", "early-2"])
      assert.match((await warning(name)).message, /cannot reach Open vSwitch.*What to do: /s);
    const rows = await suite.kubectl("get", "pods", "--no-headers");
    assert.match(rows, /^early-1 +0\/1 +ContainerCreating +0 .*\nearly-2 +0\/1 +ContainerCreating +0 /);
    const agents = await suite.kubectl("get", "daemonset/spiderpool-agent", "-n", "kube-system", "--no-headers");
    assert.match(agents, /^spiderpool-agent +2 +2 +2 +2 +2 /);
    const fields = "involvedObject.kind=Node,reason=DoctorOvsSocket";
    const told = await until(
      "an Event on each node",
      async () => {
        const events = await suite.list<PodEvent>("events", { fields });
        return new Set(events.map(({ involvedObject }) => involvedObject.name)).size === 2 ? events : undefined;
      },
      300,
    );
    assert.match(told[0]?.message ?? "", /does not answer.* Fix: systemctl start openvswitch/);

    await plainRestarts(/^10\.244\./);
    for (const { name } of suite.cluster.nodes) {
      await suite.onNode(name, `${installOvs}\n${startOvs}`);
      await suite.cluster.createBridges({ node: name });
    }
    await Promise.all([ready("pod/early-1", 300), ready("pod/early-2", 300)]);
    const { status } = await get("early-2");
    assert.equal(await suite.fetch({ pod: "early-1" }, `http://${status.podIP}/`), "early-2");
    await suite.kubectl("delete", "pods", "early-1", "early-2", "--wait=true");
    await suite.kubectl("delete", "smc/early", "sp/early", "-n", "kube-system", "--wait=false");
    await ledgerIsEmpty(suite);
    await settled(suite);
  });

  it("un-annotated Pods start after every step of the walk-through: on the node's former network until ours is filled", async () => {
    await plainRestarts(/^10\.244\./);
    await suite.kubectl("apply", "-f", `${manifests}/pool.yaml`);
    await plainRestarts(/^10\.244\./);
    const before = await addressesOf("plain");
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    const nad = ["net-attach-def/ovs-conf", "-n", "kube-system"];
    await suite.kubectl("wait", ...nad, "--for=jsonpath={.spec.config}", "--timeout=300s");
    assert.deepEqual(await addressesOf("plain"), before, "running Pods stay as they are");
    await suite.kubectl("rollout", "restart", "deployment/plain");
    const refusal = await until("an Event that says that there is no pool for them", async () => {
      const events = await suite.list<PodEvent>("events", { fields: "type=Warning" });
      return events.find(({ involvedObject, message }) => /^plain-/.test(involvedObject.name) && /pool/.test(message));
    });
    assert.match(refusal.message, /What to do: .*default/s);
    await suite.kubectl("patch", "sp/ippool-test", "--type=merge", "-p", '{"spec":{"default":true}}');
    await suite.kubectl("rollout", "status", "deployment/plain", "--timeout=300s");
    await plainRestarts(/^172\.18\.30\./);
    await suite.kubectl("apply", "-f", `${manifests}/app.yaml`);
    await suite.kubectl("rollout", "status", "deployment/test-app", "--timeout=300s");
    await plainRestarts(/^172\.18\.30\./);
    await nothingLeft(suite);
  });

  it("a Pod has addresses of both families", async () => {
    await suite.apply({
      apiVersion: "spiderpool.spidernet.io/v2beta1",
      kind: "SpiderIPPool",
      metadata: { name: "six" },
      spec: { subnet: "fd00:172:18::/64", ips: ["fd00:172:18::a0-fd00:172:18::af"], gateway: "fd00:172:18::1" },
    });
    const pools = { ipv4: ["ippool-test"], ipv6: ["six"] };
    await suite.apply(pod("dual-1", { pools, node: "node1" }), pod("dual-2", { pools, node: "node2" }));
    await Promise.all([ready("pod/dual-1"), ready("pod/dual-2")]);
    const ips = (await get("dual-2")).status.podIPs?.map(({ ip }) => ip) ?? [];
    assert.match(ips[0] ?? "", /^172\.18\.30\./);
    assert.match(ips[1] ?? "", /^fd00:172:18::a/);
    assert.equal(await suite.fetch({ pod: "dual-1" }, `http://[${ips[1]}]/`), "dual-2");
    await nothingLeft(suite);
    await suite.kubectl("delete", "sp/six", "--wait=false"); // two minutes, until nobody can claim of it any more
  });

  it("a Pod has a NIC of the overlay and one of the underlay, and both carry traffic", async () => {
    const annotations = {
      "k8s.v1.cni.cncf.io/networks": "kube-system/ovs-conf",
      "v1.multus-cni.io/default-network": "kube-system/kubenet",
      "ipam.spidernet.io/ippools": JSON.stringify([{ interface: "net1", ipv4: ["ippool-test"] }]),
    };
    await suite.apply({
      apiVersion: "k8s.cni.cncf.io/v1",
      kind: "NetworkAttachmentDefinition",
      metadata: { name: "kubenet", namespace: "kube-system" },
    });
    await suite.apply(pod("two-1", { annotations, node: "node1" }), pod("two-2", { annotations, node: "node2" }));
    await Promise.all([ready("pod/two-1"), ready("pod/two-2")]);
    const { status } = await get("two-2");
    assert.match(status.podIP ?? "", /^10\.244\./);
    const [claim] = (
      await suite.list<KubeObject & { readonly spec: { readonly address: string; readonly podName: string } }>(
        "spideripaddresses",
      )
    ).filter(({ spec }) => spec.podName === "two-2");
    for (const address of [status.podIP, claim?.spec.address]) {
      assert.equal(await suite.fetch({ pod: "two-1" }, `http://${address}/`), "two-2", address);
    }
    await nothingLeft(suite);
  });

  it("Open vSwitch stopped: the Pod is told what to do, and starts by itself when it runs again", async () => {
    await suite.onNode("node1", stopOvs);
    await suite.apply(pod("waiting", { node: "node1" }));
    const { message } = await warning("waiting");
    assert.match(message, /cannot reach Open vSwitch.*What to do: /s);
    await suite.onNode("node1", startOvs);
    await ready("pod/waiting", 300);
    await nothingLeft(suite);
  });

  it("Open vSwitch restarted under running Pods: they serve as before", async () => {
    await suite.apply(deployment("steady", 4));
    await suite.kubectl("rollout", "status", "deployment/steady", "--timeout=300s");
    for (const { name } of suite.cluster.nodes) await suite.onNode(name, `${stopOvs}; sleep 1; ${startOvs}`);
    const pods = await suite.podsOf("steady");
    await until("HTTP from one Pod to all", async () => {
      const pod = pods[0]?.metadata.name ?? "";
      for (const { status } of pods) {
        const answered = await suite.fetch({ pod }, `http://${status.podIP}/`).catch(() => undefined);
        if (answered === undefined) return undefined;
      }
      return true;
    });
    await nothingLeft(suite);
  });

  it("a bridge that is not there: the Pod is told which, and starts when it is made", async () => {
    await suite.apply(pool("second", "172.18.60.1-172.18.60.9"), {
      apiVersion: "spiderpool.spidernet.io/v2beta1",
      kind: "SpiderMultusConfig",
      metadata: { name: "late", namespace: "kube-system" },
      spec: { cniType: "ovs", ovs: { bridge: "br2" } },
    });
    await suite.apply(pod("late", { network: "late", pools: { ipv4: ["second"] }, node: "node2" }));
    assert.match((await warning("late")).message, /br2/);
    await suite.onNode("node2", "ovs-vsctl add-br br2 -- set bridge br2 datapath_type=netdev");
    await ready("pod/late", 300);
    await suite.kubectl("delete", "pod/late", "--wait=true");
    await suite.onNode("node2", "ovs-vsctl del-br br2");
    await suite.kubectl("delete", "sp/second", "smc/late", "-n", "kube-system", "--wait=false");
    await nothingLeft(suite);
  });
});
