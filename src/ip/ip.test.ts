import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { IpParseError } from "./errors.ts";
import {
  compareIp,
  formatIp,
  type Ip,
  ipFromBytes,
  ipFromValue,
  ipToBytes,
  parseIp,
  sameIp,
  tryParseIp,
} from "./ip.ts";

const ipv4 = fc.integer({ min: 0, max: 0xffffffff }).map((value): Ip => ({ family: 4, value }));
/** Many zero groups, so that every place of "::" occurs; mapped addresses can't be written and are left out. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n))
  .filter((value) => value >> 32n !== 0xffffn)
  .map((value): Ip => ({ family: 6, value }));
const ip = fc.oneof(ipv4, ipv6);

describe("parseIp()", () => {
  it("reads what formatIp() writes", () => {
    fc.assert(fc.property(ip, (value) => assert.deepEqual(parseIp(formatIp(value)), value)));
  });

  it("agrees with ipaddr.js on every spelling of an IPv6 address", () => {
    fc.assert(
      fc.property(ipv6, (value) => {
        const oracle = ipaddr.IPv6.parse(formatIp(value));
        for (const text of [oracle.toNormalizedString(), oracle.toString().toUpperCase()]) {
          assert.deepEqual(parseIp(text), value, text);
        }
      }),
    );
  });

  it("accepts exactly the IPv6 texts that URLs accept, mapped ones aside, and writes them alike", () => {
    const piece = fc.constantFrom(":", "::", "0", "1", "ff", "fd00", "12345", "g", ".", "1.2.3.4", "1.2.3");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join("");
        if (!text.includes(":") || text.length > 45) return;
        const found = tryParseIp(text);
        const host = URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1);
        const want = host?.startsWith("::ffff:") && host.split(":").length === 5 ? undefined : host;
        assert.equal(found && formatIp(found), want, text);
      }),
      { numRuns: 3000 },
    );
  });

  it("writes IPv6 as RFC 5952 has it", () => {
    const canonical: Record<string, string> = {
      "2001:DB8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
      "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
      "0:0:0:0:0:0:0:0": "::",
      "::1": "::1",
      "1::": "1::",
      "2001:0:0:1:0:0:0:1": "2001:0:0:1::1",
      "64:ff9b::192.0.2.33": "64:ff9b::c000:221",
    };
    for (const [text, want] of Object.entries(canonical)) assert.equal(formatIp(parseIp(text)), want);
  });

  it("refuses what is no address, saying which text and why", () => {
    const bad = [
      "",
      " 1.2.3.4",
      "1.2.3",
      "1.2.3.4.5",
      "01.2.3.4",
      "1.2.3.00",
      "256.1.1.1",
      "1..2.3",
      "0x1.2.3.4",
      "1.2.3.4/8",
    ];
    const bad6 = [
      ":",
      ":::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1::2::3",
      "1:2:3:4:5:6:7::8:9",
      "12345::",
      "fe80::1%eth0",
    ];
    const tails = [
      "1.2.3.4:1::",
      "::1.2.3.04",
      "::1.2.3.4.5",
      "1:2:3:4:5:6:7:1.2.3.4",
      "::ffff:1.2.3.4",
      "::ffff:102:304",
    ];
    for (const text of [...bad, ...bad6, ...tails, "1".repeat(1_000_000)]) {
      assert.throws(() => parseIp(text), IpParseError, text);
      assert.equal(tryParseIp(text), undefined, text);
    }
    assert.throws(
      () => parseIp("01.2.3.4", 4),
      /^IpParseError: invalid IP format in IPv4 '01\.2\.3\.4': want four decimal/,
    );
    assert.throws(() => parseIp("fd00::1", 4), /invalid IP format in IPv4 'fd00::1': it is an IPv6 address/);
    assert.throws(
      () => parseIp("9".repeat(1000)),
      (error: Error) => error.message.length < 160,
    );
    assert.equal(tryParseIp("fd00::1", 4), undefined);
  });
});

describe("ipToBytes()", () => {
  it("is undone by ipFromBytes() and agrees with ipaddr.js", () => {
    fc.assert(
      fc.property(ip, (value) => {
        assert.deepEqual(ipFromBytes(ipToBytes(value)), value);
        assert.deepEqual([...ipToBytes(value)], ipaddr.parse(formatIp(value)).toByteArray());
      }),
    );
    assert.throws(() => ipFromBytes(new Uint8Array(5)), RangeError);
  });

  it("reads from the middle of a larger buffer", () => {
    assert.equal(formatIp(ipFromBytes(new Uint8Array([9, 10, 0, 0, 1, 9]).subarray(1, 5))), "10.0.0.1");
  });
});

describe("compareIp()", () => {
  it("orders as the bytes do, IPv4 first", () => {
    fc.assert(
      fc.property(ip, ip, (a, b) => {
        const byBytes = a.family - b.family || Buffer.compare(ipToBytes(a), ipToBytes(b));
        assert.equal(Math.sign(compareIp(a, b)), Math.sign(byBytes));
        assert.equal(sameIp(a, b), compareIp(a, b) === 0);
      }),
    );
  });
});

describe("ipFromValue()", () => {
  it("refuses integers that are no address of the family", () => {
    assert.throws(() => ipFromValue(4, 1n << 32n), /current value is 4294967296/);
    assert.throws(() => ipFromValue(6, -1n), RangeError);
  });
});
