import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CniError } from "#cni";
import { parseIp } from "#ip";
import { parseDefaultNetwork, parseNetworks } from "./selection.ts";

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof CniError, String(error));
    assert.equal(error.cniCode, 7);
    return error.text;
  }
  assert.fail("accepted");
}
const refused = (text: string) => refusal(() => parseNetworks(text, "pod-ns"));

describe("parseNetworks() of a comma list", () => {
  it("takes namespace, name and interface, with blanks around each", () => {
    assert.deepEqual(parseNetworks(" a , ns1/b@eth1,c @ eth2, ns2 / d ", "pod-ns"), [
      { namespace: "pod-ns", name: "a" },
      { namespace: "ns1", name: "b", interface: "eth1" },
      { namespace: "pod-ns", name: "c", interface: "eth2" },
      { namespace: "ns2", name: "d" },
    ]);
    assert.deepEqual(parseNetworks("/a", "pod-ns"), [{ namespace: "pod-ns", name: "a" }]);
    assert.deepEqual(parseNetworks("  ", "pod-ns"), []);
  });

  it("refuses what can't be a name, a namespace or an interface", () => {
    assert.match(refused("a,b.c"), /^item 2, field name, found b\.c, .*a name with dots needs the JSON form/);
    assert.match(refused("a,"), /^item 2, field name, found "",/);
    assert.match(refused("Ns/a"), /^item 1, field namespace, found Ns,/);
    assert.match(refused("a/b/c"), /found a\/b\/c, allowed at most one \//);
    assert.match(refused("a@b@c"), /found a@b@c, allowed at most one @/);
    assert.match(refused(`a@${"i".repeat(16)}`), /field interface, .*is too long$/);
    assert.match(refused("a@"), /field interface, found "", .*is empty$/);
    assert.match(refused("a@e 1"), /field interface, found e 1,/);
  });

  it("refuses an annotation of 1 MB and one of a hundred networks without quoting them", () => {
    assert.equal(refused("a,".repeat(1 << 19)), "found 1048576 characters, allowed at most 262144");
    assert.equal(refused(Array(100).fill("a").join(",")), "found 100 networks, allowed at most 64");
    assert.ok(refused(JSON.stringify([{ name: "a", mac: "x".repeat(100_000) }])).length < 500);
  });
});

describe("parseNetworks() of JSON", () => {
  it("takes every field", () => {
    const text = `[{
      "name": "with.dots", "namespace": "ns", "interface": "net9",
      "ips": ["10.0.0.5", "fd00::5/64"], "mac": "0a:58:0a:00:00:05", "infiniband-guid": "c2:11:22:33:44:55:66:77",
      "portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp", "hostIP": "10.0.0.1"}],
      "bandwidth": {"ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4},
      "deviceID": "0000:00:1f.6", "cni-args": {"k": [1]}, "default-route": ["10.0.0.1", "fd00::1"],
      "ipam-claim-reference": "claim", "unknown": true
    }]`;
    assert.deepEqual(parseNetworks(text, "pod-ns"), [
      {
        namespace: "ns",
        name: "with.dots",
        interface: "net9",
        ips: ["10.0.0.5", "fd00::5/64"],
        mac: "0a:58:0a:00:00:05",
        infinibandGuid: "c2:11:22:33:44:55:66:77",
        portMappings: [{ hostPort: 80, containerPort: 8080, protocol: "tcp", hostIP: "10.0.0.1" }],
        bandwidth: { ingressRate: 1, ingressBurst: 2, egressRate: 3, egressBurst: 4 },
        deviceId: "0000:00:1f.6",
        cniArgs: { k: [1] },
        defaultRoute: [parseIp("10.0.0.1"), parseIp("fd00::1")],
        ipamClaimReference: "claim",
      },
    ]);
  });

  it("takes the old name of `interface`, an empty list and null for nothing", () => {
    const text =
      '[{"name":"a","interfaceRequest":"x1","ips":null,"default-route":[]},{"name":"b","interface":"y","interfaceRequest":"z"}]';
    assert.deepEqual(parseNetworks(text, "pod-ns"), [
      { namespace: "pod-ns", name: "a", interface: "x1", defaultRoute: [] },
      { namespace: "pod-ns", name: "b", interface: "y" },
    ]);
    assert.deepEqual(parseNetworks("[]", "pod-ns"), []);
  });

  it("says which field of which item is wrong", () => {
    const item = (json: string) => refused(`[{"name":"a"},{"name":"b",${json}}]`);
    assert.match(refused("[{]"), /^allowed a JSON array or .*, failed to decode the JSON form; /);
    assert.equal(refused('{"name":"a"}'), "found JSON of another kind, allowed a JSON array");
    assert.match(refused('["a"]'), /^item 1, field network, found a, allowed an object$/);
    assert.match(refused("[{}]"), /^item 1, field name/);
    assert.match(refused('[{"name":"ns/net"}]'), /^item 1, field name, found ns\/net, .* "namespace" says in which/);
    assert.match(
      item('"ips":["10.0.0.300"]'),
      /^item 2, field ips, found 10\.0\.0\.300, allowed an address or a CIDR$/,
    );
    assert.match(item('"ips":"10.0.0.1"'), /field ips, .*allowed an array of strings/);
    assert.match(item('"mac":"zz"'), /field mac, found zz/);
    assert.match(item('"infiniband-guid":"0a:58:0a:00:00:05"'), /field infiniband-guid, .*8 bytes$/);
    assert.match(item('"portMappings":[{"hostPort":70000}]'), /field portMappings\.hostPort, found 70000/);
    assert.match(item('"bandwidth":{"egressRate":-1}'), /field bandwidth\.egressRate, found -1/);
    assert.match(item('"cni-args":[]'), /field cni-args, .*allowed an object/);
    assert.match(item('"default-route":["x"]'), /field default-route, found x, allowed an address/);
    assert.match(item('"interface":"a/b"'), /field interface, found a\/b/);
  });

  it("never throws anything but a CniError, whatever the text", () => {
    const words = fc.array(
      fc.constantFrom("[", "{", "}", "]", '"name"', '"a"', ":", ",", "ips", "1", "@", "/", "null"),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          words.map((some) => some.join("")),
        ),
        (text) => {
          try {
            parseNetworks(text, "pod-ns");
          } catch (error) {
            assert.ok(error instanceof CniError, String(error));
          }
        },
      ),
    );
  });
});

describe("parseDefaultNetwork()", () => {
  it("takes exactly one network, of the cluster's namespace unless it names another", () => {
    assert.deepEqual(parseDefaultNetwork("ovs-conf", "kube-system"), { namespace: "kube-system", name: "ovs-conf" });
    assert.deepEqual(parseDefaultNetwork('[{"name":"a","namespace":"n"}]', "kube-system"), {
      namespace: "n",
      name: "a",
    });
    assert.equal(
      refusal(() => parseDefaultNetwork("a,b", "kube-system")),
      "found 2 networks, allowed exactly one",
    );
    assert.equal(
      refusal(() => parseDefaultNetwork("[]", "kube-system")),
      "found 0 networks, allowed exactly one",
    );
  });
});
