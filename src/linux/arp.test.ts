import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ipFromValue, parseIp } from "#ip";
import { type ArpPacket, decodeArp, encodeArp, gratuitousArp } from "./arp.ts";
import { formatMac } from "./mac.ts";

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac);
const ip = fc.integer({ min: 0, max: 0xffff_ffff }).map((value) => ipFromValue(4, BigInt(value)));
const packet: fc.Arbitrary<ArpPacket> = fc.record(
  { operation: fc.constantFrom("request", "reply"), senderMac: mac, senderIp: ip, targetMac: mac, targetIp: ip },
  { noNullPrototype: true },
);

describe("an ARP packet", () => {
  test("has the bytes of RFC 826", () => {
    const bytes = encodeArp(gratuitousArp("02:00:00:00:00:01", parseIp("10.6.0.10")));
    assert.equal(
      Buffer.from(bytes).toString("hex"),
      "0001080006040001" + "020000000001" + "0a06000a" + "ffffffffffff" + "0a06000a",
    );
  });

  test("comes back as it was encoded, also with padding behind it", () => {
    fc.assert(
      fc.property(packet, fc.nat(18), (value, padding) => {
        assert.deepEqual(decodeArp(Buffer.concat([encodeArp(value), Buffer.alloc(padding)])), value);
      }),
    );
  });

  test("that is cut off anywhere, or of another protocol, is none", () => {
    const bytes = encodeArp(gratuitousArp("02:00:00:00:00:01", parseIp("10.6.0.10")));
    for (let length = 0; length < bytes.length; length++) assert.equal(decodeArp(bytes.subarray(0, length)), undefined);
    for (const at of [0, 1, 2, 3, 4, 5, 6, 7]) assert.equal(decodeArp(bytes.with(at, 0x77)), undefined);
  });
});
