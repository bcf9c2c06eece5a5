import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatIp, ipFromBytes, parseIp } from "#ip";
import { formatMac } from "./mac.ts";
import { decodeNdp, encodeNdp, multicastMac, type NdpPacket, solicitedNode, unsolicitedAdvertisement } from "./ndp.ts";

const ip = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipFromBytes);
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac);
const packet: fc.Arbitrary<NdpPacket> = fc
  .record({
    kind: fc.constantFrom("solicitation", "advertisement"),
    source: ip,
    destination: ip,
    target: ip,
    mac: fc.option(mac, { nil: undefined }),
    solicited: fc.boolean(),
    override: fc.boolean(),
  })
  .map((value) => ({ ...value, ...(value.kind === "solicitation" && { solicited: false, override: false }) }));

const announcement = encodeNdp(unsolicitedAdvertisement("02:00:00:00:00:01", parseIp("fd00:6::10")));

describe("a neighbour discovery packet", () => {
  test("has the bytes of RFC 4861, checksum included", () => {
    const expected = [
      "60000000" + "0020" + "3a" + "ff",
      "fd000006000000000000000000000010",
      "ff020000000000000000000000000001",
      "88" + "00" + "5a71" + "20000000",
      "fd000006000000000000000000000010",
      "0201" + "020000000001",
    ];
    assert.equal(Buffer.from(announcement).toString("hex"), expected.join(""));
  });

  test("comes back as it was encoded, also with padding behind it", () => {
    fc.assert(
      fc.property(packet, fc.nat(20), (value, padding) => {
        assert.deepEqual(decodeNdp(Buffer.concat([encodeNdp(value), Buffer.alloc(padding)])), value);
      }),
    );
  });

  test("that is cut off anywhere, changed in any byte that counts, or forwarded, is none", () => {
    for (let length = 0; length < announcement.length; length++) {
      assert.equal(decodeNdp(announcement.subarray(0, length)), undefined);
    }
    const uncounted = [0, 1, 2, 3]; // version, traffic class and flow label are not part of the checksum
    for (let at = 0; at < announcement.length; at++) {
      if (uncounted.includes(at)) continue;
      assert.equal(decodeNdp(announcement.with(at, (announcement[at] ?? 0) ^ 0x10)), undefined, `byte ${at}`);
    }
  });

  test("never makes the reader throw, whatever the bytes", () => {
    const options = fc.uint8Array({ maxLength: 120, size: "max" });
    fc.assert(fc.property(options, (bytes) => void decodeNdp(Buffer.concat([announcement.subarray(0, 64), bytes]))));
    fc.assert(fc.property(options, (bytes) => void decodeNdp(bytes)));
  });
});

test("an address has a solicited-node group, and a group has an Ethernet address", () => {
  const group = solicitedNode(parseIp("2001:db8::1:abcd:ef01"));
  assert.equal(formatIp(group), "ff02::1:ffcd:ef01");
  assert.equal(multicastMac(group), "33:33:ff:cd:ef:01");
});
