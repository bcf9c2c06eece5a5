import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { annotations as keys } from "#api";
import { type JsonObject, SpiderError } from "#base";
import { decodeCall, type PluginConfig, sentenceOf } from "#cni";
import { parseIppoolAnnotation, parseIppoolsAnnotation, parseRoutesAnnotation } from "../../src/ipam/annotations.ts";
import { parseSubnetAnnotations } from "../../src/ipam/subnet-annotations.ts";
import { parseDefaultNetwork, parseNetworks } from "../../src/multus/selection.ts";
import { decodeSettings } from "../../src/multus/settings.ts";
import { addressesOfStatus } from "../../src/multus/status.ts";
import { decodeCoordinatorConfig } from "../../src/plugins/coordinator/config.ts";
import { wantedOf } from "../../src/plugins/ifacer/config.ts";
import { decodeOvsConfig } from "../../src/plugins/ovs/config.ts";
import { decodeMirrorConfig } from "../../src/plugins/ovs-mirror/config.ts";
import { decodeIpvlan, decodeMacvlan, decodeVlan } from "../../src/plugins/sub-interface/config.ts";

/**
 * What a Pod, an annotation or a runtime may send in place of any value, as JSON text: `JSON.parse` makes own `__proto__` keys.
 */
const values: readonly string[] = [
  ...["null", "true", "0", "-1", "-0.5", "1e308", "1e999", "9007199254740993", '""', '" "', '"\\u0000"', "[]", "{}"],
  ...['"../../etc/passwd"', '"a\\nlevel=error msg=forged"', '"\\u001b]0;owned\\u0007"', '"\\ud800"', '"ａ\u202e０"'],
  ...[
    '{"__proto__":{"mode":"x"},"constructor":{"prototype":1}}',
    '["__proto__",{"__proto__":[]}]',
    "[[[[[[[[[[1]]]]]]]]]]",
  ],
  ...[`"${"x".repeat(256 * 1024)}"`, `[${"1,".repeat(5_000)}1]`, `${"[".repeat(60)}${"]".repeat(60)}`],
];
/** Whole texts that are not even JSON, for annotations. */
const texts: readonly string[] = [
  "{",
  "[".repeat(200_000),
  `{"a":${"[".repeat(100_000)}`,
  "\u0000",
  "a@",
  "/",
  "a/b/c",
  ",",
];

/** Each JSON text that differs from `valid` in one member, which is one of {@link values} or gone, or has one more. */
function* spoiled(valid: unknown): Generator<string> {
  for (const value of values) yield value;
  if (Array.isArray(valid)) {
    for (const [at, member] of valid.entries()) {
      for (const text of spoiled(member))
        yield `[${valid.map((one, i) => (i === at ? text : JSON.stringify(one))).join()}]`;
    }
  } else if (typeof valid === "object" && valid !== null) {
    const members = Object.entries(valid);
    const write = (all: readonly (readonly [string, string])[]) =>
      `{${all.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join()}}`;
    const written = members.map(([key, member]) => [key, JSON.stringify(member)] as const);
    for (const [at, [key, member]] of members.entries()) {
      yield write(written.toSpliced(at, 1));
      for (const text of spoiled(member)) yield write(written.with(at, [key, text]));
    }
    for (const value of values) yield write([...written, ["__proto__", value]]);
  }
}

/** Fails where anything but an answer or a refusal of ours comes of a text. */
function holds(decode: (text: string) => unknown, sent: Iterable<string>): void {
  for (const text of sent) {
    try {
      decode(text);
    } catch (error) {
      if (!(error instanceof SpiderError)) throw new Error(text.slice(0, 300), { cause: error });
      // Whatever the value, the refusal is a sentence, and not what was sent.
      const { length } = sentenceOf(error).message;
      assert.ok(length < 10_000, `${text.slice(0, 100)}: a sentence of ${length} characters`);
    }
  }
  assert.ok(isDeepStrictEqual(Object.keys({}), []) && !("mode" in {}), "no prototype was changed");
}

const configOf = (text: string): PluginConfig => ({
  cniVersion: "1.0.0",
  name: "n",
  type: "t",
  raw: JSON.parse(text) as JsonObject,
});
const isObject = (text: string) => text.startsWith("{");

describe("hostile values: each member of a valid input replaced by each of them", () => {
  const selections = [{ name: "a", namespace: "b", interface: "net1", ips: ["10.0.0.1/24"], mac: "02:00:00:00:00:01" }];
  const pools = [{ interface: "eth0", ipv4: ["p4"], ipv6: ["p6"], cleangateway: false }];
  const status = [{ name: "a", interface: "net1", ips: ["10.0.0.1"], default: true, "device-info": { type: "pci" } }];
  const annotations: readonly (readonly [string, unknown, (text: string) => unknown])[] = [
    ["the networks of a Pod", selections, (text) => parseNetworks(text, "default")],
    ["its default network", selections, (text) => parseDefaultNetwork(text, "kube-system")],
    ["its network-status", status, (text) => addressesOfStatus(text, "net1")],
    [keys.ippool, { ipv4: ["a"], ipv6: ["b"] }, (text) => parseIppoolAnnotation({ [keys.ippool]: text })],
    [keys.ippools, pools, (text) => parseIppoolsAnnotation({ [keys.ippools]: text })],
    [keys.routes, [{ dst: "10.0.0.0/16", gw: "10.1.0.1" }], (text) => parseRoutesAnnotation({ [keys.routes]: text })],
    [keys.subnet, { ipv4: ["a"] }, (text) => parseSubnetAnnotations({ [keys.subnet]: text })],
    [keys.subnets, pools, (text) => parseSubnetAnnotations({ [keys.subnets]: text })],
    [keys.poolIpNumber, 1, (text) => parseSubnetAnnotations({ [keys.subnet]: "{}", [keys.poolIpNumber]: text })],
  ];
  for (const [what, valid, decode] of annotations) {
    it(`are taken or refused in ${what}`, () => holds(decode, [...spoiled(valid), ...texts]));
  }

  const configs: readonly (readonly [string, JsonObject, (config: PluginConfig) => unknown])[] = [
    [
      "ovs",
      { bridge: "b", vlan: 5, trunk: [{ id: 1, minID: 1, maxID: 2 }], mtu: 1500, socket_file: "s" },
      decodeOvsConfig,
    ],
    ["ovs-mirror", { bridge: "b", mirrors: [{ name: "m", ingress: true }] }, (c) => decodeMirrorConfig("producer", c)],
    [
      "macvlan",
      { master: "eth0", mode: "bridge", mtu: 1500, runtimeConfig: { mac: "02:00:00:00:00:01" } },
      decodeMacvlan,
    ],
    ["ipvlan", { master: "eth0", mode: "l2" }, decodeIpvlan],
    ["vlan", { master: "eth0", vlanId: 5 }, decodeVlan],
    [
      "ifacer",
      { interfaces: ["a"], vlanID: 5, bond: { name: "b", mode: 1, options: "miimon=1" } },
      (config) => wantedOf({ config }),
    ],
    [
      "coordinator",
      { mode: "auto", hijackCIDR: ["10.0.0.0/8"], tunePodRoutes: true, hostRuleTable: 500 },
      decodeCoordinatorConfig,
    ],
    [
      "multus",
      { clusterNetwork: "a", delegates: [{ type: "b" }], systemNamespaces: ["c"] },
      ({ raw }) => decodeSettings(raw),
    ],
  ];
  for (const [what, valid, decode] of configs) {
    it(`are taken or refused in a configuration of ${what}`, () =>
      holds((text) => decode(configOf(text)), [...spoiled(valid)].filter(isObject)));
  }

  it("are taken or refused on stdin and in every variable of a CNI call", () => {
    const env = {
      CNI_COMMAND: "ADD",
      CNI_CONTAINERID: "c",
      CNI_NETNS: "/n",
      CNI_IFNAME: "eth0",
      CNI_PATH: "/p",
      CNI_ARGS: "K=v",
    };
    const call = (stdin: string, more = {}) => ({
      executable: "ovs",
      env: { ...env, ...more },
      stdin: Buffer.from(stdin),
    });
    const config = {
      cniVersion: "1.0.0",
      name: "n",
      type: "ovs",
      prevResult: { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1/24" }] },
    };
    holds((text) => decodeCall(call(text)), [...spoiled(config), ...texts, "x".repeat(10_000_000)]);
    for (const name of Object.keys(env)) {
      holds(
        (text) => decodeCall(call(JSON.stringify(config), { [name]: text })),
        [...values, ...texts, "..", "a/../b"],
      );
    }
  });
});
