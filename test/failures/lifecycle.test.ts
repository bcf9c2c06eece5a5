import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createLabClient, type KubeObject, type LabClient, textAt } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { manifests, startStage } from "../stage.ts";

const node = "node1";
const waitMsMax = 120_000;
/** One address of the network of the examples. */
const onlyOne = {
  apiVersion: "spiderpool.spidernet.io/v2beta1",
  kind: "SpiderIPPool",
  metadata: { name: "only-one" },
  spec: { subnet: "172.18.0.0/16", ips: ["172.18.40.1"], gateway: "172.18.0.1" },
};
/** What the agent tells the runtime to call. */
const configuration = '{"cniVersion":"1.1.0","name":"multus-cni-network","type":"multus","clusterNetwork":"ovs-conf"}';
/** Ends when an agent answers that ADD can work. */
const untilServing = `until printf %s '${configuration}' |
CNI_COMMAND=STATUS CNI_PATH=/opt/cni/bin /opt/cni/bin/multus >/dev/null
do sleep 0.05; done`;

/** What a Pod's network goes through between its first ADD and its last DEL, on one node. */
describe("the life of a Pod's network", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  before(async () => {
    stage = await startStage({ apply: ["pool"] });
    ({ lab } = stage);
    client = createLabClient({ baseUrl: lab.url });
    await client.create("spiderpool.spidernet.io/v2beta1/spiderippools", onlyOne);
  });
  after(() => lab.stop());

  const onNode = (script: string, input = "") => lab.run({ node, argv: ["sh", "-c", script], input });

  it("begins when the empty default network is filled; until then an Event says what is missing", async () => {
    await client.create("v1/pods", podOf("early", "only-one"));
    const { reason, message } = await warningOn("early");
    assert.equal(reason, "NetworkFailed");
    assert.match(message, /kube-system\/ovs-conf is empty/);
    assert.match(message, /create a SpiderMultusConfig/);
    assert.equal(message.split("is empty").length, 2, "it is said once");
    await stage.quiet("apply", "-f", `${manifests}/network.yaml`);
    assert.equal(await runningIp("early"), "172.18.40.1");
    await remove("early");
    await nothingLeft();
  });

  it("two Pods want the last address: one gets it, and the other when it is released", async () => {
    await Promise.all(["left", "right"].map((name) => client.create("v1/pods", podOf(name, "only-one"))));
    const { name: waiting, reason, message } = await warningOn("left", "right");
    const winner = waiting === "left" ? "right" : "left";
    assert.equal(reason, "IPPoolExhausted");
    assert.match(message, /all IP addresses used out.*only-one.*What to do: /);
    assert.equal(await runningIp(winner), "172.18.40.1");
    await remove(winner);
    assert.equal(await runningIp(waiting), "172.18.40.1");
    await remove(waiting);
    await nothingLeft();
  });

  it("outlives its agent: address and traffic stay while it is killed and starts again; a deletion then releases", async () => {
    await client.create("v1/pods", podOf("steady", "only-one"));
    const ip = await runningIp("steady");
    const held = await claims();
    const pings = async () =>
      (await stage.quiet("exec", "steady", "--", "ping", "-c1", "-i0.2", "-w60", "172.18.0.1")).ok;
    await lab.kill({ node, program: "agent", signal: "SIGKILL" });
    assert.ok(await pings(), "while the agent is away");
    await lab.run({ node, argv: ["timeout", "120", "sh", "-c", untilServing] });
    assert.ok(await pings(), "when it is back");
    assert.equal(await runningIp("steady"), ip);
    assert.deepEqual(await claims(), held);
    await remove("steady");
    await nothingLeft();
  });

  /** Here this test is the runtime: no kubelet runs, so that a Pod of the API has the sandboxes that are made here. */
  describe("in the hands of a runtime", () => {
    before(() => lab.hold({ node, program: "kubelet", held: true }));
    after(() => lab.hold({ node, program: "kubelet", held: false }));

    it("keeps the address when the sandbox is made anew, though others ask in between", async () => {
      const uid = await createPod("anew");
      const first = await add("anew", uid, "sandbox-1");
      const held = await claims();
      assert.equal(await del("anew", uid, "sandbox-1"), "");
      await onNode("ip netns delete sandbox-1");
      assert.deepEqual(await claims(), held, "the Pod lives, and so does its claim");
      const otherUid = await createPod("other");
      assert.notEqual(await add("other", otherUid, "sandbox-other"), first);
      assert.equal(await add("anew", uid, "sandbox-2"), first);
      await onNode("ip netns exec sandbox-2 ping -c1 -i0.2 -w60 172.18.0.1");
      assert.equal(await del("anew", uid, "sandbox-2"), "");
      assert.equal(await del("other", otherUid, "sandbox-other"), "");
      await onNode("ip netns delete sandbox-2; ip netns delete sandbox-other");
      await Promise.all(["anew", "other"].map(erasePod));
      await nothingLeft();
    });

    const endings: readonly (readonly [string, (uid: string) => Promise<unknown>])[] = [
      ["that comes twice", async (uid) => assert.equal(await del("ending", uid, "ending-1"), "")],
      ["whose namespace has vanished", () => onNode("ip netns delete ending-1")],
      ["that names no namespace", async (uid) => assert.equal(await del("ending", uid, "ending-1", ""), "")],
      ["that comes after the Pod's object is gone", () => erasePod("ending")],
    ];
    for (const [what, first] of endings) {
      it(`ends with a DEL ${what}`, async () => {
        const uid = await createPod("ending");
        await add("ending", uid, "ending-1");
        await first(uid);
        assert.equal(await del("ending", uid, "ending-1"), "");
        await onNode("ip netns delete ending-1 2>/dev/null || true");
        await erasePod("ending");
        await nothingLeft();
      });
    }

    async function createPod(name: string): Promise<string> {
      return (await client.create("v1/pods", podOf(name, "ippool-test"))).metadata.uid;
    }

    async function erasePod(name: string): Promise<void> {
      await client.delete("v1/pods", { namespace: "default", name }, { gracePeriodSeconds: 0 });
    }

    /** Makes the namespace and calls ADD in it; answers the address. */
    async function add(pod: string, uid: string, container: string): Promise<string> {
      const netns = `/var/run/netns/${container}`;
      await onNode(`ip netns add ${container} && ip -netns ${container} link set lo up`);
      const answer = await call({ verb: "ADD", pod, uid, container, netns });
      const { ips } = JSON.parse(answer) as { readonly ips?: readonly { readonly address: string }[] };
      assert.ok(ips?.[0], answer);
      return ips[0].address;
    }

    /** What DEL printed: nothing, where it succeeded. */
    function del(pod: string, uid: string, container: string, netns = `/var/run/netns/${container}`): Promise<string> {
      return call({ verb: "DEL", pod, uid, container, netns });
    }

    function call(request: { verb: string; pod: string; uid: string; container: string; netns: string }) {
      const { verb, pod, uid, container, netns } = request;
      const variables = {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: container,
        CNI_NETNS: netns,
        CNI_IFNAME: "eth0",
        CNI_PATH: "/opt/cni/bin",
        CNI_ARGS: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=${uid}`,
      };
      const env = Object.entries(variables).map(([name, value]) => `${name}='${value}'`);
      return onNode(`${env.join(" ")} /opt/cni/bin/multus || true`, configuration);
    }
  });

  /** Names and UIDs of the ledger's objects. */
  async function claims(): Promise<string> {
    const columns = "custom-columns=NAME:.metadata.name,UID:.metadata.uid";
    return (await stage.quiet("get", "sia", "--no-headers", "-o", columns)).stdout;
  }

  /** The agent's first Warning about one of these Pods. */
  async function warningOn(...names: readonly string[]) {
    const found = Promise.withResolvers<{ name: string; reason: string; message: string }>();
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(waitMsMax)]);
    signal.addEventListener("abort", () => found.reject(new Error(`no Event on ${names}`)), { once: true });
    const { done } = client.watch<KubeObject>("v1/events", { namespace: "default", signal }, ({ object }) => {
      const name = textAt(object, "involvedObject", "name");
      const ours = textAt(object, "source", "component") === "spiderpool-agent" && textAt(object, "type") === "Warning";
      if (ours && names.includes(name))
        found.resolve({ name, reason: textAt(object, "reason"), message: textAt(object, "message") });
    });
    try {
      return await found.promise;
    } finally {
      stop.abort();
      await done.catch(() => {});
    }
  }

  async function runningIp(name: string): Promise<string> {
    const ready = await stage.quiet("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=120s");
    assert.ok(ready.ok, ready.stderr);
    return (await stage.quiet("get", "pod", name, "-o", "jsonpath={.status.podIP}")).stdout;
  }

  async function remove(name: string): Promise<void> {
    const deleted = await stage.quiet("delete", "pod", name, "--wait=true", "--timeout=120s");
    assert.ok(deleted.ok, deleted.stderr);
  }

  /** No claim, no port, no link, no record, no hint; the last of them may go a moment after the Pod. */
  async function nothingLeft(): Promise<void> {
    const released = await stage.quiet("wait", "sia", "--all", "--for=delete", "--timeout=120s");
    assert.ok(released.ok || /no matching resources/.test(released.stderr), released.stderr);
    const found = `ovs-vsctl list-ports br1; ip -o link | grep -o 'veth[^@:]*'
      ls -A /var/lib/spiderpool/sandboxes; ls -A /run/spiderpool/intent`;
    const script = `until [ "$(${found})" = eth0 ]; do sleep 0.05; done`;
    await lab
      .run({ node, argv: ["timeout", "120", "sh", "-c", script] })
      .catch(async () => assert.fail(await onNode(`${found}; true`)));
  }
});

function podOf(name: string, pool: string): object {
  const containers = [{ name: "app", image: "none", command: ["sleep", "1000"] }];
  const annotations = { "ipam.spidernet.io/ippool": JSON.stringify({ ipv4: [pool] }) };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", annotations },
    spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers },
  };
}
