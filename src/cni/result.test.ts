import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseIp, parsePrefix } from "#ip";
import { CniError } from "./errors.ts";
import { formatJson } from "./json.ts";
import { decodeResult, emptyResult, encodeResult } from "./result.ts";
import { cniResult } from "./testing/arbitraries.ts";
import type { CniResult } from "./types.ts";
import { supportedVersions } from "./versions.ts";

const dualStack: CniResult = {
  interfaces: [
    { name: "veth1", mac: "0a:00:00:00:00:01" },
    { name: "eth0", mac: "0a:00:00:00:00:02", mtuBytes: 1500, sandbox: "/var/run/netns/x", pciId: "0000:00:1f.6" },
  ],
  ips: [
    { address: parsePrefix("10.1.0.5/16"), gateway: parseIp("10.1.0.1"), interface: 1 },
    { address: parsePrefix("fd00::5/64"), interface: 1 },
  ],
  routes: [
    { dst: parsePrefix("0.0.0.0/0"), gw: parseIp("10.1.0.1"), priority: 100 },
    { dst: parsePrefix("fd01::/64") },
  ],
  dns: { nameservers: ["10.1.0.2"] },
};

/** What versions before 1.1.0 have no words for. */
function withoutNewFields(result: CniResult): CniResult {
  return {
    ...result,
    interfaces: result.interfaces.map(({ mtuBytes: _m, socketPath: _s, pciId: _p, ...one }) => one),
  };
}

function decodeFailure(json: unknown): string {
  try {
    decodeResult(json);
  } catch (error) {
    assert.ok(error instanceof CniError);
    return `${error.cniCode} ${error.text}`;
  }
  assert.fail("decoded");
}

describe("encodeResult()", () => {
  it("prints 0.3.1 with an IP version, without new fields, and dns last", () => {
    assert.equal(
      formatJson(encodeResult(dualStack, "0.3.1")),
      `{
    "cniVersion": "0.3.1",
    "interfaces": [
        {
            "name": "veth1",
            "mac": "0a:00:00:00:00:01"
        },
        {
            "name": "eth0",
            "mac": "0a:00:00:00:00:02",
            "sandbox": "/var/run/netns/x"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 1,
            "address": "10.1.0.5/16",
            "gateway": "10.1.0.1"
        },
        {
            "version": "6",
            "interface": 1,
            "address": "fd00::5/64"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1",
            "priority": 100
        },
        {
            "dst": "fd01::/64"
        }
    ],
    "dns": {
        "nameservers": [
            "10.1.0.2"
        ]
    }
}`,
    );
  });

  it("prints 1.1.0 with sorted keys and every field", () => {
    assert.equal(
      JSON.stringify(encodeResult(dualStack, "1.1.0")),
      '{"cniVersion":"1.1.0","dns":{"nameservers":["10.1.0.2"]},"interfaces":[{"name":"veth1","mac":"0a:00:00:00:00:01"},' +
        '{"name":"eth0","mac":"0a:00:00:00:00:02","mtu":1500,"sandbox":"/var/run/netns/x","pciID":"0000:00:1f.6"}],' +
        '"ips":[{"interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"},{"interface":1,"address":"fd00::5/64"}],' +
        '"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","priority":100},{"dst":"fd01::/64"}]}',
    );
  });

  it("prints an empty result with dns up to 0.4.0 and without from 1.0.0", () => {
    for (const version of supportedVersions) {
      const expected = version.startsWith("0") ? { cniVersion: version, dns: {} } : { cniVersion: version };
      assert.deepEqual(encodeResult(emptyResult, version), expected);
    }
  });

  it("keeps the first address of each family in 0.2.0, with the routes of that family", () => {
    const more = { ...dualStack, ips: [...dualStack.ips, { address: parsePrefix("10.9.0.1/16") }] };
    assert.deepEqual(encodeResult(more, "0.2.0"), {
      cniVersion: "0.2.0",
      ip4: { ip: "10.1.0.5/16", gateway: "10.1.0.1", routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }] },
      ip6: { ip: "fd00::5/64", routes: [{ dst: "fd01::/64" }] },
      dns: { nameservers: ["10.1.0.2"] },
    });
    assert.throws(() => encodeResult(emptyResult, "0.2.0"), /cannot convert: no valid IP addresses/);
  });

  it("refuses versions that nobody defined", () => {
    assert.throws(() => encodeResult(emptyResult, "9.9.9"), { cniCode: 1 });
  });

  it("loses nothing on the way through any version from 0.3.0, but for the fields of 1.1.0", () => {
    fc.assert(
      fc.property(cniResult, fc.constantFrom(...supportedVersions), (result, version) => {
        const json: unknown = JSON.parse(JSON.stringify(encodeResult(result, version)));
        assert.deepEqual(decodeResult(json), version.startsWith("0") ? withoutNewFields(result) : result);
      }),
    );
  });

  it("prints the same JSON again after any number of conversions to the same version", () => {
    fc.assert(
      fc.property(cniResult, fc.array(fc.constantFrom(...supportedVersions)), (result, versions) => {
        const through = versions.reduce((at, version) => decodeResult(encodeResult(at, version)), result);
        assert.deepEqual(encodeResult(through, "0.3.0"), encodeResult(result, "0.3.0"));
      }),
    );
  });
});

describe("decodeResult()", () => {
  it("reads what plugins of 0.2.0 print", () => {
    const json = {
      cniVersion: "0.2.0",
      ip4: { ip: "10.1.0.5/16", gateway: "10.1.0.1", routes: [{ dst: "0.0.0.0/0" }] },
      ip6: { ip: "fd00::5/64", routes: [{ dst: "::/0", gw: "fd00::1" }] },
      dns: {},
    };
    assert.deepEqual(decodeResult(json), {
      interfaces: [],
      ips: [
        { address: parsePrefix("10.1.0.5/16"), gateway: parseIp("10.1.0.1") },
        { address: parsePrefix("fd00::5/64") },
      ],
      routes: [{ dst: parsePrefix("0.0.0.0/0") }, { dst: parsePrefix("::/0"), gw: parseIp("fd00::1") }],
    });
  });

  it("takes null, empty texts and unknown keys for nothing, and the configuration's version for a missing one", () => {
    const json = { ips: null, interfaces: [{ name: "eth0", mac: "", more: 1 }], routes: [], dns: null, extra: true };
    assert.deepEqual(decodeResult(json, "1.0.0"), { ...emptyResult, interfaces: [{ name: "eth0" }] });
  });

  it("names the field that is wrong", () => {
    const ips = (ip: unknown) => ({ cniVersion: "1.0.0", ips: [ip] });
    assert.equal(
      decodeFailure(ips({ address: "10.0.0.1" })),
      '6 ips[0].address: expected an address with prefix length, found "10.0.0.1"',
    );
    assert.equal(
      decodeFailure(ips({ address: "10.0.0.1/24", gateway: "x" })),
      '6 ips[0].gateway: expected an address, found "x"',
    );
    assert.equal(
      decodeFailure(ips({ address: "10.0.0.1/24", interface: -1 })),
      "6 ips[0].interface: expected a whole number ≥ 0, found -1",
    );
    assert.equal(decodeFailure(ips(7)), "6 ips[0]: expected an object, found 7");
    assert.equal(
      decodeFailure({ cniVersion: "1.0.0", interfaces: [{}] }),
      "6 interfaces[0].name: expected a name, found nothing",
    );
    assert.equal(
      decodeFailure({ cniVersion: "0.2.0", ip4: { ip: "1.2.3.4/8", routes: [{}] } }),
      "6 ip4.routes[0].dst: expected an address with prefix length, found nothing",
    );
    assert.equal(decodeFailure([]), "6 expected an object, found an array");
    assert.match(decodeFailure({ cniVersion: "2.0.0" }), /^1 found 2\.0\.0/);
  });
});
