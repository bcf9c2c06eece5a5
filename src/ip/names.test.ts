import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { clampCount } from "./count.ts";
import { IpParseError } from "./errors.ts";
import { formatIp, ipFromValue, parseIp } from "./ip.ts";
import { cidrLabel, claimAddress, claimName, parseClaimName, tryParseClaimName } from "./names.ts";

const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

describe("claimName()", () => {
  it("is a DNS subdomain that parseClaimName() reads back", () => {
    const ip = fc.oneof(
      fc.bigInt(0n, 0xffffffffn).map((value) => ipFromValue(4, value)),
      fc.bigInt(1n << 64n, (1n << 128n) - 1n).map((value) => ipFromValue(6, value)),
    );
    fc.assert(
      fc.property(ip, (value) => {
        assert.match(claimName(value), dnsSubdomain);
        assert.deepEqual(parseClaimName(claimName(value)), value);
        assert.deepEqual(parseIp(claimAddress(value)), value);
      }),
    );
  });

  it("writes IPv6 out in full", () => {
    assert.equal(claimName(parseIp("fd00::1")), "fd00-0000-0000-0000-0000-0000-0000-0001");
    assert.equal(claimAddress(parseIp("fd00::1")), "fd00:0000:0000:0000:0000:0000:0000:0001");
    assert.equal(claimName(parseIp("172.18.30.131")), "172.18.30.131");
  });

  it("has no second spelling", () => {
    for (const name of [
      "fd00--1",
      "fd00:0000:0000:0000:0000:0000:0000:0001",
      "FD00-0000-0000-0000-0000-0000-0000-0001",
      "web-0",
      "",
    ]) {
      assert.equal(tryParseClaimName(name), undefined, name);
      assert.throws(() => parseClaimName(name), IpParseError);
    }
  });
});

describe("cidrLabel()", () => {
  it("gives the label values that users know, and a valid one where they had an invalid one", () => {
    assert.equal(cidrLabel("172.18.40.0/24"), "172-18-40-0-24");
    assert.equal(cidrLabel("fc00:f853:ccd:e790::/64"), "fc00-f853-ccd-e790---64");
    assert.equal(cidrLabel("::/64"), "0---64");
  });
});

describe("clampCount()", () => {
  it("never exceeds an int64", () => {
    assert.equal(clampCount(1n << 64n), 9223372036854775807n);
    assert.equal(clampCount(11n), 11n);
  });
});

describe("IpParseError", () => {
  it("keeps the whole text but cuts it in the message", () => {
    const error = new IpParseError("invalid x", "a".repeat(100), "why");
    assert.equal(error.text.length, 100);
    assert.equal(error.message, `invalid x '${"a".repeat(80)}…': why`);
    assert.equal(formatIp(parseIp("0.0.0.0")), "0.0.0.0");
  });
});
