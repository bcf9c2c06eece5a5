import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { JsonObject } from "#base";
import { CniError, decodeResult, pluginInput } from "#cni";
import { assignDevices, planDelegates } from "./delegates.ts";
import { addedInterfaceMessage, addFailure, addressNotGivenMessage, capabilityArgs, delegateArgs } from "./execute.ts";
import { networkNotFound } from "./resolve.ts";
import { defaultNetworkAnnotation, networksAnnotation } from "./selection.ts";
import { decodeSettings } from "./settings.ts";
import type { ConfigSource, Delegate, Nad } from "./types.ts";

/** A cluster of NADs by `namespace/name`, and a node of files by path. A NAD may be its configuration's text. */
function source(
  nads: Readonly<Record<string, string | Nad>>,
  files: Readonly<Record<string, string>> = {},
): ConfigSource {
  return {
    nad: (namespace, name) => {
      const found = nads[`${namespace}/${name}`];
      return typeof found === "string" ? { metadata: { namespace, name }, spec: { config: found } } : found;
    },
    directory: (path) => {
      const prefix = `${path.replace(/\/+$/, "")}/`;
      const inside = Object.keys(files).filter((file) => file.startsWith(prefix));
      if (inside.length === 0) return undefined;
      return inside.map((file) => file.slice(prefix.length)).filter((name) => !name.includes("/"));
    },
    file: (path) => files[path],
  };
}

const macvlan = '{"cniVersion":"0.3.1","type":"macvlan"}';
const defaults = {
  "kube-system/default": macvlan,
  "pod-ns/a": macvlan,
  "pod-ns/b": macvlan,
  "default/shared": macvlan,
  "other/x": macvlan,
};

interface Case {
  readonly settings?: JsonObject;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly nads?: Readonly<Record<string, string | Nad>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly namespace?: string;
}

function plan({
  settings = {},
  annotations = {},
  nads = defaults,
  files = {},
  namespace = "pod-ns",
}: Case): readonly Delegate[] {
  return planDelegates({
    settings: decodeSettings({ cniVersion: "0.3.1", clusterNetwork: "default", ...settings }),
    source: source(nads, files),
    ifName: "eth0",
    pod: { namespace, annotations },
  });
}

const summary = (delegates: readonly Delegate[]) => delegates.map((one) => `${one.ifName} ${one.displayName}`);

function refusal(some: Case): string {
  try {
    plan(some);
  } catch (error) {
    assert.ok(error instanceof CniError, String(error));
    return `${error.message}${error.text && `; ${error.text}`}`;
  }
  assert.fail("accepted");
}

describe("planDelegates()", () => {
  it("attaches the default network alone where nothing else is asked for", () => {
    const [master, ...more] = plan({});
    assert.deepEqual(summary(master ? [master] : []), ["eth0 kube-system/default"]);
    assert.deepEqual([master?.master, master?.network.name, more.length], [true, "default", 0]);
  });

  it("numbers interfaces by their place among all delegates, and takes the names asked for", () => {
    const settings = { defaultNetworks: ["default"] };
    const annotations = { [networksAnnotation]: "a,b@data0,default/shared" };
    assert.deepEqual(summary(plan({ annotations })), [
      "eth0 kube-system/default",
      "net1 pod-ns/a",
      "data0 pod-ns/b",
      "net3 default/shared",
    ]);
    assert.deepEqual(summary(plan({ settings, annotations })).slice(1, 3), [
      "net1 kube-system/default",
      "net2 pod-ns/a",
    ]);
  });

  it("leaves defaultNetworks out in system namespaces", () => {
    assert.equal(plan({ settings: { defaultNetworks: ["default"] }, namespace: "kube-system" }).length, 1);
  });

  it("refuses two networks on one interface", () => {
    const annotations = { [networksAnnotation]: "a@net2,b" };
    assert.equal(
      refusal({ annotations }),
      'two networks of the Pod have the same interface name; interface net2, networks ["pod-ns/a","pod-ns/b"]. What to do: give them different interfaces in annotation k8s.v1.cni.cncf.io/networks, or leave the names out: they are net1, net2, … by their places',
    );
  });

  it("refuses a default route on an interface that none of several networks has", () => {
    const wish = (nic: string, networks: string) => ({
      annotations: { [networksAnnotation]: networks, "ipam.spidernet.io/default-route-nic": nic },
    });
    assert.equal(plan(wish("net1", "a")).length, 2);
    assert.equal(plan(wish("net7", "")).length, 1, "there is nothing to choose");
    assert.throws(
      () => plan(wish("net7", "a,b@data")),
      ({ code, text }: CniError) => {
        assert.equal(code, "NETWORK_ANNOTATION");
        assert.equal(text, "found net7, allowed an interface of the Pod's networks: eth0, net1, data");
        return true;
      },
    );
  });

  it("replaces the default network by the annotation's", () => {
    const annotations = { [defaultNetworkAnnotation]: "other/x@eth5", [networksAnnotation]: "a" };
    assert.deepEqual(summary(plan({ annotations })), ["eth5 other/x", "net1 pod-ns/a"]);
    // The annotation works although the cluster's own default network does not.
    assert.equal(plan({ annotations, settings: { clusterNetwork: "missing" } }).length, 2);
  });

  it("attaches all inline delegates, of which an annotation replaces the first", () => {
    const inline = (name: string) => ({ name, type: "bridge" });
    const settings = { clusterNetwork: "", delegates: [inline("one"), inline("two")] };
    assert.deepEqual(summary(plan({ settings })), ["eth0 one", "net1 two"]);
    assert.deepEqual(summary(plan({ settings, annotations: { [defaultNetworkAnnotation]: "default" } })), [
      "eth0 kube-system/default",
      "net1 two",
    ]);
    assert.throws(() => decodeSettings({}), /at least one delegate\/clusterNetwork must be specified/);
  });

  it("names a missing NAD in the words that users know", () => {
    const some = { annotations: { [networksAnnotation]: "nope" } };
    assert.match(refusal(some), /^cannot find a network-attachment-definition \(nope\) in namespace \(pod-ns\): /);
    assert.throws(() => plan(some), { code: networkNotFound });
  });

  it("permits foreign namespaces under isolation only where they are global, and any default network", () => {
    const isolated = (networks: string, more: JsonObject = {}) => ({
      settings: { namespaceIsolation: true, ...more },
      annotations: { [networksAnnotation]: networks, [defaultNetworkAnnotation]: "other/x" },
    });
    assert.equal(plan(isolated("a,default/shared")).length, 3);
    assert.match(
      refusal(isolated("other/x")),
      /^namespace isolation enabled, annotation violates permission; network other\/x/,
    );
    assert.equal(plan(isolated("other/x", { globalNamespaces: "foo, other" })).length, 2);
    assert.match(refusal(isolated("default/shared", { globalNamespaces: "foo" })), /violates permission/);
  });

  it("merges cni-args into args.cni of every plugin", () => {
    const nads = {
      ...defaults,
      "pod-ns/l": '{"name":"l","plugins":[{"type":"a","args":{"x":1,"cni":{"k":1,"own":2}}},{"type":"b"}]}',
    };
    const [, delegate] = plan({ nads, annotations: { [networksAnnotation]: '[{"name":"l","cni-args":{"k":"new"}}]' } });
    assert.deepEqual(
      delegate?.network.plugins.map(({ raw }) => raw["args"]),
      [{ x: 1, cni: { k: "new", own: 2 } }, { cni: { k: "new" } }],
    );
  });
});

describe("resolving a NAD", () => {
  const only = (config: string | Nad, files: Readonly<Record<string, string>> = {}): Case => ({
    nads: { "kube-system/default": config },
    files,
  });
  const confDir = "/etc/cni/multus/net.d";

  it("gives its name and our version to a configuration that has none", () => {
    const [delegate] = plan(only('{"plugins":[{"type":"x"}]}'));
    assert.deepEqual([delegate?.network.name, delegate?.network.cniVersion], ["default", "0.3.1"]);
  });

  it("takes the file of its name where its spec is empty", () => {
    const files = {
      [`${confDir}/10-x.conf`]: '{"name":"x","type":"x"}',
      [`${confDir}/20.conflist`]: '{"name":"default","plugins":[{"type":"y"}]}',
    };
    for (const nad of ["", { metadata: { name: "default", namespace: "kube-system" } }]) {
      const [delegate] = plan(only(nad, files));
      assert.deepEqual([delegate?.displayName, delegate?.network.plugins[0]?.type], ["kube-system/default", "y"]);
    }
    const broken = { ...files, [`${confDir}/00.conf`]: "{" };
    assert.match(
      refusal({ ...only("", broken), annotations: { [defaultNetworkAnnotation]: "default" } }),
      /^\/etc\/cni\/multus\/net\.d\/00\.conf: failed to decode/,
    );
  });

  it("says what is wrong with one that is empty, no JSON, or without plugins", () => {
    const asked = (config: string) =>
      refusal({ ...only(config), annotations: { [defaultNetworkAnnotation]: "default" } });
    assert.match(
      asked(""),
      /^NetworkAttachmentDefinition kube-system\/default is empty; searched .*What to do: create a SpiderMultusConfig default/,
    );
    assert.match(
      asked("no"),
      /^NetworkAttachmentDefinition kube-system\/default: failed to decode network configuration; Unexpected token.*\. What to do: correct spec\.config/,
    );
    assert.match(
      asked("{}"),
      /^NetworkAttachmentDefinition kube-system\/default: invalid network configuration; .*field plugins/,
    );
  });

  it("notes the resource that it wants a device of", () => {
    const annotations = { "k8s.v1.cni.cncf.io/resourceName": "ovs-cni.network.kubevirt.io/br1" };
    const [delegate] = plan(
      only({ metadata: { name: "default", namespace: "kube-system", annotations }, spec: { config: macvlan } }),
    );
    assert.equal(delegate?.resourceName, "ovs-cni.network.kubevirt.io/br1");
  });
});

describe("resolving clusterNetwork", () => {
  const confDir = "/etc/cni/multus/net.d";
  const list = '{"name":"l","loadOnlyInlinedPlugins":false,"plugins":[{"type":"one"}]}';
  const files = {
    [`${confDir}/a.conf`]: '{"name":"byname","type":"n"}',
    "/net.d/10-l.conflist": list,
    "/net.d/20-b.conf": '{"name":"b","type":"bridge"}',
    "/net.d/00-ignored.json": "{",
    "/net.d/l/20.conf": '{"type":"three"}',
    "/net.d/l/10.conf": '{"type":"two"}',
    "/json/x.json": "{}",
  };
  const types = (clusterNetwork: string, more: JsonObject = {}, nads = {}) => {
    const [delegate] = plan({ settings: { clusterNetwork, ...more }, nads, files });
    return `${delegate?.displayName}: ${delegate?.network.plugins.map(({ type }) => type).join(" ")}`;
  };

  it("prefers a NAD, and takes a file of that name where the NAD is missing or broken", () => {
    assert.equal(types("byname", {}, { "kube-system/byname": macvlan }), "kube-system/byname: macvlan");
    assert.equal(types("byname"), "byname: n");
    assert.equal(types("byname", {}, { "kube-system/byname": "{" }), "byname: n");
  });

  it("takes anything with a slash for a path: a list with its plugin files, a plugin, or a directory's first file", () => {
    assert.equal(types("/net.d/10-l.conflist"), "l: one two three");
    assert.equal(types("/net.d/20-b.conf"), "b: bridge");
    assert.equal(types("/net.d/"), "l: one two three");
    assert.match(
      refusal({ settings: { clusterNetwork: "kube-system/default" } }),
      /^failed to get clusterNetwork kube-system\/default in namespace kube-system; there is no such path on the node$/,
    );
    assert.match(
      refusal({ settings: { clusterNetwork: "/json" }, files }),
      /^failed to get clusterNetwork \/json .*no \.conf and no \.conflist/,
    );
    assert.match(
      refusal({ settings: { clusterNetwork: "/json/x.json" }, files }),
      /^\/json\/x\.json: a single plugin must have a type/,
    );
  });

  it("has the auxiliary chain last, where files beside the default network's make one", () => {
    const files = {
      "/etc/cni/net.d/05-main.conflist": '{"name":"main","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}',
      "/etc/cni/net.d/aux/20-b.conf": '{"type":"b"}',
      "/etc/cni/net.d/aux/10-a.conf": '{"type":"a"}',
      "/etc/cni/net.d/aux/ignored.txt": "",
    };
    const planned = (more: JsonObject) =>
      planDelegates({
        settings: decodeSettings({ clusterNetwork: "/etc/cni/net.d/05-main.conflist", ...more }),
        source: source({}, files),
        ifName: "eth0",
      }).map(({ displayName, ifName, network }) => [displayName, ifName, ...network.plugins.map(({ type }) => type)]);
    const main = ["main", "eth0", "bridge"];
    assert.deepEqual(planned({ auxiliaryCNIChainName: "aux" }), [main, ["aux", "net1", "passthru", "a", "b"]]);
    assert.deepEqual(planned({ auxiliaryCNIChainName: "none" }), [main]);
    assert.deepEqual(planned({}), [main]);
  });

  it("names what it did not find, and why a NAD could not serve", () => {
    assert.match(
      refusal({ settings: { clusterNetwork: "nope" } }),
      /^failed to get clusterNetwork nope in namespace kube-system; searched \/etc\/cni\/multus\/net\.d\. What to do: create a SpiderMultusConfig nope in namespace kube-system, or/,
    );
    assert.match(
      refusal({ settings: { clusterNetwork: "bad" }, nads: { "kube-system/bad": "{" } }),
      /namespace kube-system; NetworkAttachmentDefinition kube-system\/bad: failed to decode/,
    );
  });

  it("falls back to the node's former configuration while the NAD exists and is empty", () => {
    const fallback = { fallbackNetwork: "/net.d/20-b.conf" };
    assert.equal(types("new", fallback, { "kube-system/new": "" }), "b: bridge");
    assert.equal(types("new", fallback, { "kube-system/new": macvlan }), "kube-system/new: macvlan");
    assert.match(
      refusal({ settings: { clusterNetwork: "new", ...fallback }, nads: {}, files }),
      /^failed to get clusterNetwork new/,
    );
  });
});

describe("what a delegate is called with", () => {
  const annotation =
    '[{"name":"a","ips":["10.0.0.5","fd00::5"],"mac":"0a:00:00:00:00:01","bandwidth":{"ingressRate":1},"deviceID":"d"}]';
  const [master, second] = plan({
    annotations: {
      [networksAnnotation]: annotation,
      [defaultNetworkAnnotation]: annotation.replace('"a"', '"default"'),
    },
  });
  assert.ok(master && second);
  const pod = { namespace: "pod-ns", name: "web-0", uid: "u1" };

  it("is CNI_ARGS with Kubernetes' keys, the runtime's and the annotation's, each once", () => {
    const received = new Map([
      ["K8S_POD_UID", "theirs"],
      ["X", "1"],
    ]);
    assert.deepEqual(
      [...delegateArgs(second, { containerId: "c", pod, args: received })],
      [
        ["IgnoreUnknown", "true"],
        ["K8S_POD_NAMESPACE", "pod-ns"],
        ["K8S_POD_NAME", "web-0"],
        ["K8S_POD_INFRA_CONTAINER_ID", "c"],
        ["K8S_POD_UID", "theirs"],
        ["X", "1"],
        ["MAC", "0a:00:00:00:00:01"],
        ["IP", "10.0.0.5,fd00::5"],
      ],
    );
  });

  it("is the runtime's capability values, with the annotation's for all but the master", () => {
    const received = { portMappings: [], bandwidth: {} };
    assert.deepEqual(capabilityArgs(master, received), received);
    assert.deepEqual(capabilityArgs(second, received), {
      portMappings: [],
      bandwidth: { ingressRate: 1 },
      ips: ["10.0.0.5", "fd00::5"],
      mac: "0a:00:00:00:00:01",
      deviceID: "d",
    });
  });

  it("is told to the user when it fails, with the number of the cause", () => {
    const error = addFailure(pod, second, new CniError(11, "pool is full", { text: "wait" }));
    assert.deepEqual([error.cniCode, error.text], [11, "wait"]);
    assert.equal(
      error.message,
      '[pod-ns/web-0/u1:pod-ns/a]: error adding container to network "pod-ns/a": pool is full',
    );
  });

  it("is told to the user when it succeeds with something to see", () => {
    const result = decodeResult({ cniVersion: "1.0.0", ips: [{ address: "10.0.0.5/8" }, { address: "fd00::5/64" }] });
    assert.equal(addedInterfaceMessage(second, result), "Add net1 [10.0.0.5/8 fd00::5/64] from pod-ns/a");
    assert.equal(addedInterfaceMessage(second, decodeResult({ cniVersion: "1.0.0" })), undefined);
  });

  it("is told to the user when it gives other addresses than were asked for", () => {
    const given = (...ips: readonly string[]) =>
      addressNotGivenMessage(second, decodeResult({ cniVersion: "1.0.0", ips: ips.map((address) => ({ address })) }));
    assert.equal(given("10.0.0.5/8", "fd00:0::5/64", "10.0.0.6/8"), undefined);
    assert.match(given("10.0.0.6/8", "fd00::5/64") ?? "", /^net1 does not have 10\.0\.0\.5, which "ips" of/);
    assert.match(given() ?? "", /^net1 does not have 10\.0\.0\.5, fd00::5, /);
    const { selection: _, ...unselected } = second;
    assert.equal(addressNotGivenMessage(unselected, decodeResult({ cniVersion: "1.0.0" })), undefined);
  });
});

describe("assignDevices()", () => {
  const nad = (name: string, config = macvlan): Nad => ({
    metadata: { namespace: "pod-ns", name, annotations: { "k8s.v1.cni.cncf.io/resourceName": "r" } },
    spec: { config },
  });

  it("gives different devices of one resource, sorted, also to a default network of the annotation", () => {
    const nads = {
      "kube-system/default": nad("default"),
      "pod-ns/a": nad("a", '{"plugins":[{"type":"x"},{"type":"y"}]}'),
      "pod-ns/b": nad("b"),
    };
    const annotations = {
      [defaultNetworkAnnotation]: "default",
      [networksAnnotation]: '[{"name":"a","deviceID":"ignored"},{"name":"b"}]',
    };
    const delegates = assignDevices(plan({ nads, annotations }), new Map([["r", ["d2", "d1"]]]), "c1");
    assert.deepEqual(
      delegates.map(({ deviceId }) => deviceId),
      ["d1", "d2", undefined],
    );
    const [, second] = delegates;
    assert.ok(second);
    for (const plugin of second.network.plugins) {
      const input = pluginInput(second.network, plugin);
      assert.deepEqual([input["deviceID"], input["pciBusID"]], ["d2", "d2"]);
    }
    assert.deepEqual(capabilityArgs(second, {}), {
      deviceID: "d2",
      CNIDeviceInfoFile: "/var/run/k8s.cni.cncf.io/devinfo/cni/pod-ns-a-c1_net1",
    });
    assert.deepEqual(
      delegates.map(({ deviceInfoFile }) => deviceInfoFile !== undefined),
      [false, true, false],
    );
  });
});
