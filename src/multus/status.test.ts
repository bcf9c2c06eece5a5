import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeResult } from "#cni";
import { formatIp } from "#ip";
import { type Attached, addressesOfStatus, formatNetworkStatus } from "./status.ts";

const attached = (displayName: string, result: object, more: Partial<Attached> = {}): Attached => ({
  displayName,
  master: false,
  result: decodeResult({ cniVersion: "1.1.0", ...result }),
  ...more,
});
const entries = (one: Attached): readonly Record<string, unknown>[] => JSON.parse(formatNetworkStatus([one]));

const sandbox = "/var/run/netns/x";
const host = { name: "veth0", mac: "0a:00:00:00:00:01" };
const eth0 = { name: "eth0", mac: "0a:00:00:00:00:02", sandbox };
const net1 = { name: "net1", sandbox };

describe("formatNetworkStatus()", () => {
  it("has this text", () => {
    const calico = attached(
      "kube-system/calico",
      {
        interfaces: [{ ...eth0, mac: "da:54:00:00:00:01" }],
        ips: [{ address: "10.233.1.5/32", interface: 0 }],
        routes: [
          { dst: "0.0.0.0/0", gw: "169.254.1.1" },
          { dst: "10.0.0.0/8", gw: "169.254.1.2" },
        ],
      },
      { master: true },
    );
    const ovs = attached("default/ovs10", { interfaces: [{ ...net1, mtu: 1500 }], dns: { nameservers: ["10.0.0.2"] } });
    assert.equal(
      formatNetworkStatus([calico, ovs]),
      `[{
    "name": "kube-system/calico",
    "interface": "eth0",
    "ips": [
        "10.233.1.5"
    ],
    "mac": "da:54:00:00:00:01",
    "default": true,
    "dns": {},
    "gateway": [
        "169.254.1.1"
    ]
},{
    "name": "default/ovs10",
    "interface": "net1",
    "mtu": 1500,
    "dns": {
        "nameservers": [
            "10.0.0.2"
        ]
    }
}]`,
    );
  });

  it("has no entry for a result without interfaces", () => {
    assert.equal(formatNetworkStatus([attached("n", { ips: [{ address: "10.0.0.1/8" }] })]), "[]");
  });

  it("says nothing of a lone interface on the host but its addresses", () => {
    const one = attached("n", { interfaces: [host], ips: [{ address: "10.0.0.1/8" }] }, { master: true });
    assert.deepEqual(entries(one), [{ name: "n", ips: ["10.0.0.1"], default: true, dns: {} }]);
  });

  it("leaves the host's end of a pair out, and addresses on it", () => {
    const ips = [
      { address: "10.0.0.1/8", interface: 0 },
      { address: "10.0.0.2/8", interface: 1 },
    ];
    assert.deepEqual(entries(attached("n", { interfaces: [host, eth0], ips }, { master: true })), [
      { name: "n", interface: "eth0", ips: ["10.0.0.2"], mac: eth0.mac, default: true, dns: {} },
    ]);
  });

  it("has an entry for each of several interfaces: the default on that of the first address with a gateway", () => {
    const ips = [
      { address: "10.0.0.1/8", interface: 0 },
      { address: "fd00::1/64", gateway: "fd00::9", interface: 1 },
      { address: "10.0.0.3/8" },
    ];
    const routes = [{ dst: "::/0", gw: "fd00::9" }, { dst: "0.0.0.0/0" }];
    const deviceInfo = { type: "pci" };
    const shared = { dns: {}, "device-info": deviceInfo, gateway: ["fd00::9", "<nil>"] };
    assert.deepEqual(entries(attached("n", { interfaces: [eth0, net1], ips, routes }, { master: true, deviceInfo })), [
      { name: "n", interface: "eth0", ips: ["10.0.0.1"], mac: eth0.mac, ...shared },
      { name: "n", interface: "net1", ips: ["fd00::1", "10.0.0.3"], default: true, ...shared },
    ]);
  });

  it("has the default on the first interface in the Pod where no address has a gateway there", () => {
    const ips = [{ address: "10.0.0.1/8", gateway: "10.0.0.9", interface: 0 }];
    const found = entries(attached("n", { interfaces: [host, eth0, net1], ips }, { master: true }));
    assert.deepEqual(
      found.map((one) => one["default"]),
      [true, undefined],
    );
    assert.deepEqual(
      entries(attached("n", { interfaces: [host, eth0, net1], ips })).map((one) => one["default"]),
      [undefined, undefined],
    );
  });
});

describe("addressesOfStatus()", () => {
  const read = (text: string | undefined, nic: string) => addressesOfStatus(text, nic).map(formatIp);

  it("reads what formatNetworkStatus() wrote, for one interface", () => {
    const first = attached("a", { interfaces: [eth0], ips: [{ address: "10.6.0.1/16" }, { address: "fd00::1/64" }] });
    const second = attached("b", { interfaces: [net1], ips: [{ address: "10.7.0.1/16" }] });
    const text = formatNetworkStatus([first, second]);
    assert.deepEqual(
      ["eth0", "net1", "net2"].map((nic) => read(text, nic)),
      [["10.6.0.1", "fd00::1"], ["10.7.0.1"], []],
    );
  });

  it("finds nothing in what somebody else may have written", () => {
    const texts = [undefined, "", "{", "7", "{}", "[7,null]", '[{"interface":"eth0","ips":"10.6.0.1"}]'];
    for (const text of texts) assert.deepEqual(read(text, "eth0"), [], text);
    assert.deepEqual(read('[{"interface":"eth0","ips":["x",7,"10.6.0.1"]}]', "eth0"), ["10.6.0.1"]);
  });
});
