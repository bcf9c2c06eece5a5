import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { hintMark } from "#cni";
import { createLabClient, type KubeObject, type LabClient, textAt } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { takenForSuccess } from "../../src/cni/testing/answers.ts";
import { startStage } from "../stage.ts";

const node = "node1";
const ippool = "ipam.spidernet.io/ippool";
const defaultNetwork = "v1.multus-cni.io/default-network";
const ovsConf = { [defaultNetwork]: "kube-system/ovs-conf" };
const nads = "k8s.cni.cncf.io/v1/network-attachment-definitions";

/** What a user did wrong is said once, where it is met first, with object, field, value and remedy; nothing is left behind. */
describe("bad input", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  before(async () => {
    stage = await startStage({ apply: ["pool", "network"] });
    ({ lab } = stage);
    client = createLabClient({ baseUrl: lab.url });
    await client.create(
      "spiderpool.spidernet.io/v2beta1/spiderippools",
      pool("six", { subnet: "fd00:9::/64", ips: ["fd00:9::1-fd00:9::9"] }),
    );
    const any = pool("any", { subnet: "10.7.0.0/16", ips: ["10.7.0.1-10.7.0.9"] });
    await client.create("spiderpool.spidernet.io/v2beta1/spiderippools", any);
    for (const [name, config] of Object.entries(networks)) await client.create(nads, networkOf(name, config));
  });
  after(() => lab.stop());

  const networks = {
    "not-json": "{",
    "no-bridge": '{"cniVersion":"0.3.1","type":"ovs","bridge":"br9","ipam":{"type":"spiderpool"}}',
    "no-plugin": '{"cniVersion":"0.3.1","type":"teleport"}',
  };

  const pods: readonly (readonly [string, Record<string, string>, RegExp])[] = [
    [
      "an annotation that is not JSON",
      { ...ovsConf, [ippool]: "{" },
      /InvalidAnnotation.*ipam\.spidernet\.io\/ippool.*What to do/s,
    ],
    ["an unknown pool", { ...ovsConf, [ippool]: '{"ipv4":["none"]}' }, /NoIPPool.*"none" not found.*What to do/s],
    [
      "a pool of the other family",
      { ...ovsConf, [ippool]: '{"ipv4":["six"]}' },
      /NoIPPool.*expect an IPv4 IPPool.*six is IPv6.*What to do/s,
    ],
    ["an empty annotation", { ...ovsConf, [ippool]: "{}" }, /NoIPPool.*names no IPPool for NIC eth0.*What to do/s],
    [
      "an annotation of 100 KB",
      { ...ovsConf, [ippool]: `{"ipv4":["${"x".repeat(100_000)}"]}` },
      /InvalidAnnotation.*ipam\.spidernet\.io\/ippool.*100013.*65536.*What to do/s,
    ],
    [
      "a missing network",
      { [defaultNetwork]: "kube-system/none" },
      /NoNetworkFound.*\(none\) in namespace \(kube-system\).*What to do.*v1\.multus-cni\.io\/default-network/s,
    ],
    [
      "a network that is not JSON",
      { [defaultNetwork]: "kube-system/not-json" },
      /NetworkFailed.*kube-system\/not-json.*JSON.*What to do: correct spec\.config/s,
    ],
    [
      "a bridge that the node has not",
      { [defaultNetwork]: "kube-system/no-bridge", [ippool]: '{"ipv4":["any"]}' },
      /NetworkFailed.*no such Open vSwitch bridge.*br9.*br1.*What to do/s,
    ],
    [
      "a plugin that does not exist",
      { [defaultNetwork]: "kube-system/no-plugin" },
      /NetworkFailed.*failed to find plugin "teleport".*What to do: install it there/s,
    ],
  ];
  for (const [what, annotations, expected] of pods) {
    it(`of a Pod: ${what}`, async () => {
      const name = `bad-${what.replace(/[^a-z]+/gi, "-").toLowerCase()}`.slice(0, 60).replace(/-$/, "");
      await client.create("v1/pods", podOf(name, annotations));
      const event = await warningOn(name);
      const message = textAt(event, "message");
      assert.match(`${textAt(event, "reason")}: ${message}`, expected);
      assert.ok(message.length < 1_024, "what an Event may have at most");
      assert.equal(message.split("What to do").length, 2, "advice is given once");
      const shown = textAt(await warningOn(name, "kubelet"), "message");
      // A runtime puts a semicolon between msg and details.
      const words = (text: string) => text.replaceAll(/[.;] /g, " ");
      const [said = ""] = message.split(hintMark);
      assert.ok(words(shown).endsWith(words(said)), `kubelet's Event says the same: ${shown}`);
      await client.delete("v1/pods", { namespace: "default", name }, { gracePeriodSeconds: 0 });
      await nothingLeft();
    });
  }

  const specs: readonly (readonly [string, object, RegExp])[] = [
    ["a missing subnet", { subnet: undefined }, /spec\.subnet: Required value/],
    ["host bits", { subnet: "10.9.0.1/16" }, /10\.9\.0\.1\/16, please change it to 10\.9\.0\.0\/16/],
    ["a reversed range", { ips: ["10.9.0.9-10.9.0.1"] }, /spec\.ips\[0\].*10\.9\.0\.9-10\.9\.0\.1/s],
    ["a range outside its subnet", { ips: ["10.8.0.1-10.8.0.9"] }, /spec\.ips\[0\].*10\.8\.0\.1-10\.8\.0\.9/s],
    ["mixed families", { ips: ["10.9.0.1", "fd00::1"] }, /spec\.ips\[1\].*fd00::1/s],
    [
      "its gateway among its addresses",
      { ips: ["10.9.0.1-10.9.0.9"], gateway: "10.9.0.1" },
      /10\.9\.0\.1.*spec\.excludeIPs/s,
    ],
  ];
  for (const [what, spec, expected] of specs) {
    it(`of a pool: ${what} is refused at kubectl apply`, async () => {
      const text = JSON.stringify(pool("bad-pool", { subnet: "10.9.0.0/16", ...spec }));
      await lab.run({ argv: ["sh", "-c", 'cat >"$0"', `${lab.directory}/bad.json`], input: text });
      const outcome = await stage.quiet("apply", "-f", `${lab.directory}/bad.json`);
      assert.equal(outcome.ok, false);
      assert.match(outcome.stderr, expected);
      assert.match(outcome.stderr, /SpiderIPPool(\.spiderpool\.spidernet\.io)? "bad-pool" is invalid|"bad-pool"/);
      assert.equal((await stage.quiet("get", "sp", "bad-pool")).ok, false);
    });
  }

  const good = '{"cniVersion":"1.0.0","name":"n","type":"multus","clusterNetwork":"ovs-conf"}';
  const env = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/var/run/netns/x",
    CNI_IFNAME: "eth0",
    CNI_PATH: "/opt/cni/bin",
  };
  const calls: readonly (readonly [string, Record<string, string>, string, RegExp])[] = [
    [
      "without its variables",
      { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "" },
      good,
      /"code": 4,[\s\S]*required env variables \[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\] missing/,
    ],
    ...["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"].map(
      (name) =>
        [`without ${name}`, { [name]: "" }, good, new RegExp(`"code": 4,[^]*variables \\[${name}\\] missing`)] as const,
    ),
    [
      "with an interface name of 16 bytes",
      { CNI_IFNAME: "abcdefghijklmnop" },
      good,
      /"code": 4,[\s\S]*interface name is too long/,
    ],
    [
      "with a slash in the interface name",
      { CNI_IFNAME: "a/b" },
      good,
      /"code": 4,[\s\S]*contains \/ or : or whitespace/,
    ],
    [
      "of an unknown version",
      {},
      good.replace("1.0.0", "9.9.9"),
      /"code": 1,[\s\S]*incompatible CNI versions[\s\S]*9\.9\.9/,
    ],
    ["without a configuration", {}, "", /"code": 6,/],
    ["with a configuration that is not JSON", {}, "{", /"code": 6,/],
    ["with 10 MB of configuration", {}, `{"x":"${"y".repeat(10_000_000)}"}`, /"code": 5,[\s\S]*too large/],
    ["with a namespace that is none", { CNI_NETNS: "/etc/hostname" }, good, /"code": (8|999),/],
  ];
  for (const [what, changes, stdin, expected] of calls) {
    it(`of a CNI call: ${what}`, async () => {
      const variables = Object.entries({ ...env, ...changes }).map(([key, value]) => `${key}='${value}'`);
      const answer = await onNode(`${variables.join(" ")} /opt/cni/bin/multus || true`, stdin);
      assert.match(answer, expected);
      assert.doesNotThrow(() => JSON.parse(answer), "exactly one JSON document");
      await nothingLeft();
    });
  }

  const delWithoutNetns = "CNI_COMMAND=DEL CNI_CONTAINERID=c9 CNI_NETNS= CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin";

  it("an agent that is away: ADD answers error 11 naming the socket, VERSION still works, and the Pod starts afterwards", async () => {
    await lab.hold({ node, program: "agent", held: true });
    await onNode(
      "printf '%s\\n300 300 100 1000\\n' \"$(head -1 /opt/cni/bin/.spiderpool-socket)\" >/run/s && cp /run/s /opt/cni/bin/.spiderpool-socket",
    );
    const call = Object.entries(env)
      .map(([key, value]) => `${key}=${value}`)
      .join(" ");
    const answer = await onNode(`${call} /opt/cni/bin/multus || true`, good);
    assert.match(answer, /"code": 11,[\s\S]*\/var\/run\/spidernet\/cni\.sock[\s\S]*spiderpool-agent/);
    assert.match(await onNode("CNI_COMMAND=VERSION /opt/cni/bin/multus"), /"supportedVersions"/);
    const refused = await onNode(`${delWithoutNetns} /opt/cni/bin/multus || true`, good);
    assert.match(refused, /"code": 11,[\s\S]*spiderpool-agent/);
    assert.doesNotMatch(refused, takenForSuccess);
    await client.create("v1/pods", podOf("later", { ...ovsConf, [ippool]: '{"ipv4":["ippool-test"]}' }));
    assert.match(textAt(await warningOn("later", "kubelet"), "message"), /spiderpool-agent is not reachable; socket/);
    await lab.hold({ node, program: "agent", held: false });
    assert.equal((await stage.quiet("wait", "pod/later", "--for=condition=Ready", "--timeout=120s")).ok, true);
    await stage.quiet("delete", "pod", "later");
    await nothingLeft();
  });

  it("an API server that is cut off: ADD says which server, DEL succeeds, and the release is finished later", async () => {
    const annotations = { ...ovsConf, [ippool]: '{"ipv4":["ippool-test"]}' };
    await client.create("v1/pods", podOf("held", annotations));
    assert.equal((await stage.quiet("wait", "pod/held", "--for=condition=Ready", "--timeout=120s")).ok, true);
    await lab.hold({ node, program: "kubelet", held: true });
    await client.delete("v1/pods", { namespace: "default", name: "held" }, { gracePeriodSeconds: 0 });
    await stage.quiet("wait", "pod/held", "--for=delete", "--timeout=120s");
    await client.create("v1/pods", podOf("cut-off", annotations));
    await onNode("ip netns add cut-off && ip link set mgmt0 down");
    const [file = ""] = (await onNode("ls /var/lib/spiderpool/sandboxes")).trim().split("\n");
    const [container = ""] = file.split("@");
    const conf = good.replace('"n"', '"multus-cni-network"');
    const del = `CNI_COMMAND=DEL CNI_CONTAINERID=${container} CNI_NETNS= CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin /opt/cni/bin/multus`;
    assert.equal(await onNode(del, conf), "");
    const args = "CNI_ARGS='K8S_POD_NAMESPACE=default;K8S_POD_NAME=cut-off'";
    const add = `CNI_COMMAND=ADD CNI_CONTAINERID=c2 CNI_NETNS=/var/run/netns/cut-off CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin ${args} /opt/cni/bin/multus || true`;
    assert.match(await onNode(add, conf), /http:\/\/10\.222\.0\.1:6443/);
    await onNode("ip link set mgmt0 up && ip netns delete cut-off");
    const drained = ["spiderippool/ippool-test", "--for=jsonpath={.status.allocatedIPCount}=0", "--timeout=120s"];
    assert.equal((await stage.quiet("wait", ...drained)).ok, true);
    await client.delete("v1/pods", { namespace: "default", name: "cut-off" }, { gracePeriodSeconds: 0 });
    await lab.hold({ node, program: "kubelet", held: false });
    await nothingLeft();
  });

  it("Open vSwitch that is stopped: the Pod is told which socket and what to do, and starts by itself afterwards", async () => {
    await onNode("kill $(cat /run/openvswitch/ovs-vswitchd.pid /run/openvswitch/ovsdb-server.pid)");
    await client.create("v1/pods", podOf("without-ovs", { ...ovsConf, [ippool]: '{"ipv4":["ippool-test"]}' }));
    const event = await warningOn("without-ovs");
    const sentence = /cannot reach Open vSwitch.*\/var\/run\/openvswitch\/db\.sock.*What to do: .*systemctl/s;
    assert.match(textAt(event, "message"), sentence);
    const ovs = '{"cniVersion":"1.0.0","name":"n","type":"ovs","bridge":"br1"}';
    const refused = await onNode(`${delWithoutNetns} /opt/cni/bin/ovs || true`, ovs);
    assert.match(refused, /"code": 11,[\s\S]*db\.sock/);
    assert.doesNotMatch(refused, takenForSuccess);
    await onNode(`common="--detach --no-chdir --verbose=console:off --pidfile"
      ovsdb-server $common --remote=punix:/run/openvswitch/db.sock /etc/openvswitch/conf.db
      ovs-vswitchd $common unix:/run/openvswitch/db.sock`);
    const started = await stage.quiet("wait", "pod/without-ovs", "--for=condition=Ready", "--timeout=120s");
    assert.equal(started.ok, true, started.stderr);
    await stage.quiet("delete", "pod", "without-ovs");
    await nothingLeft();
  });

  const onNode = (script: string, input = "") => lab.run({ node, argv: ["sh", "-c", script], input });

  async function nothingLeft(): Promise<void> {
    const found = `ovs-vsctl list-ports br1; ls -A /var/lib/spiderpool/sandboxes; ls -A /run/spiderpool/intent; ip -o link | grep -o 'veth[^@:]*'`;
    const script = `until [ "$(${found})" = eth0 ]; do sleep 0.1; done`;
    await lab
      .run({ node, argv: ["timeout", "120", "sh", "-c", script] })
      .catch(async () => assert.fail(await onNode(`${found}; true`)));
    // A release goes on after the DEL; its hint goes when it is done.
    assert.equal((await stage.quiet("get", "sia", "-o", "name")).stdout, "", "no claim");
  }

  /** The first Warning about a Pod. */
  async function warningOn(pod: string, component = "spiderpool-agent"): Promise<KubeObject> {
    const found = Promise.withResolvers<KubeObject>();
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(120_000)]);
    signal.addEventListener("abort", () => found.reject(new Error(`no Event on ${pod}`)), { once: true });
    const { done } = client.watch("v1/events", { namespace: "default", signal }, ({ object }) => {
      const ours = textAt(object, "source", "component") === component && textAt(object, "type") === "Warning";
      if (ours && textAt(object, "involvedObject", "name") === pod) found.resolve(object);
    });
    try {
      return await found.promise;
    } finally {
      stop.abort();
      await done.catch(() => {});
    }
  }
});

function pool(name: string, spec: object): object {
  return { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderIPPool", metadata: { name }, spec };
}

function networkOf(name: string, config: string): object {
  return {
    apiVersion: "k8s.cni.cncf.io/v1",
    kind: "NetworkAttachmentDefinition",
    metadata: { name, namespace: "kube-system" },
    spec: { config },
  };
}

function podOf(name: string, annotations: Record<string, string>): object {
  const containers = [{ name: "app", image: "none", command: ["sleep", "1000"] }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", annotations },
    spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers },
  };
}
