import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { IpParseError } from "./errors.ts";
import { formatIp, type Ip, ipFromValue, parseIp } from "./ip.ts";
import {
  formatPrefix,
  isCanonicalPrefix,
  networkOf,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixRange,
  tryParsePrefix,
} from "./prefix.ts";
import { formatRange } from "./range.ts";

const prefix4 = fc
  .record({ value: fc.bigInt(0n, 0xffffffffn), bits: fc.nat(32) })
  .map(({ value, bits }): Prefix => ({ ip: ipFromValue(4, value), bits }));
const prefix6 = fc
  .record({ value: fc.bigInt(0xfd00n << 112n, (0xfd01n << 112n) - 1n), bits: fc.nat(128) })
  .map(({ value, bits }): Prefix => ({ ip: ipFromValue(6, value), bits }));
const prefix = fc.oneof(prefix4, prefix6);

function oracleContains(a: Prefix, ip: Ip): boolean {
  const [left, right] = [ipaddr.parse(formatIp(a.ip)), ipaddr.parse(formatIp(ip))];
  return left.kind() === right.kind() && right.match(left, a.bits);
}

describe("parsePrefix()", () => {
  it("reads what formatPrefix() writes", () => {
    fc.assert(fc.property(prefix, (value) => assert.deepEqual(parsePrefix(formatPrefix(value)), value)));
  });

  it("refuses what is no CIDR of the family", () => {
    for (const text of [
      "10.0.0.0",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/08",
      "10.0.0.0/-1",
      "10.0.0.0/8/8",
      "fd00::/129",
      "/8",
      "",
    ]) {
      assert.throws(() => parsePrefix(text), IpParseError, text);
    }
    assert.throws(() => parsePrefix("fd00::/64", 4), /invalid CIDR format in IPv4 'fd00::\/64'/);
    assert.equal(tryParsePrefix("10.0.0.0/8", 6), undefined);
  });
});

describe("prefix arithmetic", () => {
  it("agrees with ipaddr.js on networks and membership", () => {
    fc.assert(
      fc.property(prefix, prefix, (a, b) => {
        const family = a.ip.family === 4 ? ipaddr.IPv4 : ipaddr.IPv6;
        assert.equal(formatIp(networkOf(a).ip), family.networkAddressFromCIDR(formatPrefix(a)).toString());
        assert.equal(prefixContains(a, b.ip), oracleContains(a, b.ip));
      }),
    );
  });

  it("gives the first and last address of the network", () => {
    assert.equal(formatRange(prefixRange(parsePrefix("10.6.1.2/16"))), "10.6.0.0-10.6.255.255");
    assert.equal(formatRange(prefixRange(parsePrefix("::/0"))), "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert.equal(formatRange(prefixRange(parsePrefix("10.0.0.1/32"))), "10.0.0.1");
  });

  it("keeps the families apart", () => {
    assert.equal(prefixContains(parsePrefix("::/0"), parseIp("10.0.0.1")), false);
  });
});

describe("isCanonicalPrefix()", () => {
  it("holds for zero host bits in canonical text only", () => {
    for (const text of ["10.6.0.0/16", "fd00::/64", "0.0.0.0/0", "10.0.0.1/32"])
      assert.equal(isCanonicalPrefix(text), true, text);
    for (const text of ["10.6.0.1/16", "FD00::/64", "fd00:0::/64", "fd00::1/64", "10.6.0.0", ""])
      assert.equal(isCanonicalPrefix(text), false, text);
  });
});
