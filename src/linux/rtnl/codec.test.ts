import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { hasCode } from "#base";
import { parseIp, parsePrefix } from "#ip";
import { addAddressOperation, decodeAddress } from "./address.ts";
import { decodeLink, encodeVeth, setLinkOperations } from "./link.ts";
import { decodeNeighbour, setNeighbourOperation } from "./neighbour.ts";
import { decodeNetconf } from "./netconf.ts";
import { addRouteOperation, decodeRoute, deleteRouteOperation } from "./route.ts";
import { addRuleOperation, decodeRule } from "./rule.ts";

const encoding = { indexOf: () => 3 };
const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");

const route = {
  dst: parsePrefix("10.96.0.0/12"),
  gw: parseIp("10.6.0.1"),
  dev: "eth0",
  src: parseIp("10.6.0.10"),
  table: 1000,
};
const rule = { family: 4, from: parsePrefix("10.6.0.10/32"), fwmark: 1, fwmask: 1, table: 100, pref: 1000 } as const;

describe("requests have the kernel's layout", () => {
  test("of an address without duplicate address detection", () => {
    const { body } = addAddressOperation("eth0", parsePrefix("10.6.0.10/16"), { nodad: true }, encoding);
    const attributes = "080002000a06000a" + "080001000a06000a" + "0800080002000000";
    assert.equal(hex(body), `0210000003000000${attributes}`);
  });

  test("of a route, and of its deletion, which matches any scope, protocol and type", () => {
    const attributes = [
      "08000f00e8030000", // table
      "080001000a600000",
      "080005000a060001",
      "0800040003000000",
      "080007000a06000a",
    ].join("");
    assert.equal(hex(addRouteOperation(route, {}, encoding).body), `020c0000000300010000${"0000"}${attributes}`);
    assert.equal(hex(deleteRouteOperation(route, {}, encoding).body), `020c00000000ff000000${"0000"}${attributes}`);
  });

  test("of a rule", () => {
    const attributes =
      "08000f0064000000" + "080002000a06000a" + "08000a0001000000" + "0800100001000000" + "08000600e8030000";
    assert.equal(hex(addRuleOperation(rule, {}).body), `0200200064000001${"00000000"}${attributes}`);
  });

  test("of a neighbour", () => {
    const { body } = setNeighbourOperation("eth0", parseIp("10.6.0.1"), "02:00:00:00:00:01", {}, encoding);
    assert.equal(
      hex(body),
      "02000000" + "03000000" + "80000000" + "080001000a060001" + "0a000200020000000001" + "0000",
    );
  });

  test("of a veth whose ends have one queue each", () => {
    const body = encodeVeth({
      name: "va",
      mac: "02:00:00:00:00:01",
      peer: { name: "vb" },
      peerMac: "02:00:00:00:00:02",
    });
    const header = "00".repeat(16);
    const queues = "08001f00010000000800200001000000";
    const expected = [
      header,
      "0700030076610000", // name
      "0a0001000200000000010000", // MAC
      queues,
      "4c0012800900010076657468", // link info: kind "veth"
      "000000003c00028038000180", // … and its data: the peer
      header,
      "0700030076620000",
      "0a0001000200000000020000",
      queues,
    ];
    assert.equal(hex(body), expected.join(""));
  });

  test("of a change that turns address generation off before the link goes up", () => {
    const bodies = setLinkOperations(3, { up: true, addrGenModeNone: true }, encoding, {}).map(({ body }) => hex(body));
    assert.deepEqual(bodies, [
      `${"00000000"}03000000${"0000000000000000"}10001a800c000a800500080001000000`,
      `${"00000000"}03000000${"0100000001000000"}`,
    ]);
  });
});

describe("what was encoded is read back", () => {
  test("for addresses, routes, rules and neighbours", () => {
    const address = parsePrefix("fd00:6::10/64");
    assert.deepEqual(decodeAddress(addAddressOperation(3, address, {}, encoding).body)?.address, address);
    const { dst, gw, src, table, dev } = decodeRoute(addRouteOperation(route, {}, encoding).body) ?? {};
    assert.deepEqual({ dst, gw, src, table, dev }, { ...route, dev: 3 });
    const { from, fwmark, fwmask, pref } = decodeRule(addRuleOperation(rule, {}).body) ?? {};
    assert.deepEqual([from, fwmark, fwmask, pref], [rule.from, 1, 1, 1000]);
    const mac = "02:00:00:00:00:01";
    const neighbour = decodeNeighbour(setNeighbourOperation(3, parseIp("fd00:6::1"), mac, {}, encoding).body);
    assert.deepEqual(neighbour, { ip: parseIp("fd00:6::1"), mac, dev: 3, state: 0x80, permanent: true });
  });
});

test("no decoder fails but with NETLINK_MALFORMED, whatever the bytes and wherever they are cut off", () => {
  const decoders = [decodeLink, decodeAddress, decodeRoute, decodeRule, decodeNeighbour, decodeNetconf];
  const check = (bytes: Uint8Array) => {
    for (const decode of decoders) {
      try {
        decode(bytes);
      } catch (error) {
        assert.ok(hasCode(error, "NETLINK_MALFORMED"), `${decode.name}: ${error}`);
      }
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100, size: "max" }), (bytes) => {
      check(bytes);
      check(Uint8Array.of(2, ...bytes)); // more often of a family that is read
    }),
  );
  const wholes = [addRouteOperation(route, {}, encoding).body, addRuleOperation(rule, {}).body];
  for (const whole of wholes) for (let length = 0; length < whole.length; length++) check(whole.subarray(0, length));
});

test("a gateway or prefix of the other family is refused before the kernel sees it", () => {
  const gw = parseIp("fd00:6::1");
  assert.throws(() => addRouteOperation({ dst: route.dst, gw }, {}, encoding), RangeError);
  assert.throws(() => addRuleOperation({ family: 6, from: rule.from, table: 1 }, {}), RangeError);
});
