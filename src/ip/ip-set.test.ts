import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Family, formatIp, type Ip, ipFromValue, ipValue, parseIp } from "./ip.ts";
import { formatIpSet, IpSet, parseIpSet } from "./ip-set.ts";
import { parsePrefix, prefixRange } from "./prefix.ts";
import { formatRange, parseRange, rangeSize, tryParseRange } from "./range.ts";

/** A universe small enough for a naive model; its ends are the ends of the address space, where arithmetic could overflow. */
const universe = 24n;

function ipAt(family: Family, index: bigint): Ip {
  const top = family === 4 ? 0xffffffffn : (1n << 128n) - 1n;
  return ipFromValue(family, index < universe / 2n ? index : top - (universe - 1n - index));
}

const model = fc.uniqueArray(fc.bigInt(0n, universe - 1n));
const family = fc.constantFrom<Family>(4, 6);

function setOf(f: Family, members: readonly bigint[]): IpSet {
  return IpSet.ofIps(
    f,
    members.map((index) => ipAt(f, index)),
  );
}

describe("IpSet", () => {
  it("does the algebra of sets of addresses", () => {
    fc.assert(
      fc.property(family, model, model, (f, a, b) => {
        const [left, right] = [setOf(f, a), setOf(f, b)];
        const inB = new Set(b);
        assert.deepEqual(left.union(right).toJSON(), setOf(f, [...a, ...b]).toJSON());
        assert.deepEqual(
          left.subtract(right).toJSON(),
          setOf(
            f,
            a.filter((x) => !inB.has(x)),
          ).toJSON(),
        );
        assert.deepEqual(
          left.intersect(right).toJSON(),
          setOf(
            f,
            a.filter((x) => inB.has(x)),
          ).toJSON(),
        );
        assert.equal(
          left.overlaps(right),
          a.some((x) => inB.has(x)),
        );
        assert.equal(left.equals(right), a.length === b.length && a.every((x) => inB.has(x)));
      }),
    );
  });

  it("answers questions about one address as a sorted list would", () => {
    fc.assert(
      fc.property(family, model, fc.bigInt(0n, universe - 1n), (f, members, asked) => {
        const set = setOf(f, members);
        const sorted = members.toSorted((a, b) => Number(a - b));
        const ip = ipAt(f, asked);
        assert.equal(set.size, BigInt(sorted.length));
        assert.equal(set.isEmpty, sorted.length === 0);
        assert.equal(set.contains(ip), sorted.includes(asked));
        assert.equal(set.rank(ip), BigInt(sorted.filter((x) => x < asked).length));
        const after = sorted.find((x) => x >= asked);
        assert.deepEqual(set.atOrAfter(ip), after === undefined ? undefined : ipAt(f, after));
        assert.equal(set.rangeOf(ip) !== undefined, sorted.includes(asked));
        for (const [index, member] of sorted.entries()) assert.deepEqual(set.nth(BigInt(index)), ipAt(f, member));
        assert.equal(set.nth(BigInt(sorted.length)), undefined);
        assert.equal(set.nth(-1n), undefined);
        assert.deepEqual([set.first, set.last], [set.nth(0n), set.nth(set.size - 1n)]);
      }),
    );
  });

  it("adds and removes one address as union and subtract do, leaving the old set as it was", () => {
    fc.assert(
      fc.property(family, model, fc.bigInt(0n, universe - 1n), (f, members, which) => {
        const set = setOf(f, members);
        const before = set.toJSON();
        const one = setOf(f, [which]);
        assert.ok(set.add(ipAt(f, which)).equals(set.union(one)));
        assert.ok(set.remove(ipAt(f, which)).equals(set.subtract(one)));
        assert.deepEqual(set.toJSON(), before);
      }),
    );
  });

  it("is read back from its normal form", () => {
    fc.assert(
      fc.property(model, (members) => {
        const set = setOf(4, members);
        assert.ok(parseIpSet(formatIpSet(set), 4).equals(set));
        assert.equal(
          set.ranges.reduce((sum, range) => sum + rangeSize(range), 0n),
          set.size,
        );
        assert.equal(set.ranges.length, set.intervalCount);
      }),
    );
  });

  it("costs nothing for a /10, a /64 or all of IPv6", () => {
    for (const cidr of ["10.64.0.0/10", "fd00::/64", "::/0"]) {
      const prefix = parsePrefix(cidr);
      const f = prefix.ip.family;
      const all = IpSet.of(f, [prefixRange(prefix)]);
      const middle = all.nth(all.size / 2n);
      assert.ok(middle);
      const without = all.remove(middle);
      assert.equal(without.size, all.size - 1n);
      assert.equal(without.intervalCount, 2);
      assert.ok(without.union(IpSet.ofIps(f, [middle])).equals(all));
      assert.equal(all.rank(middle), all.size / 2n);
      assert.equal(ipValue(all.last ?? middle) - ipValue(all.first ?? middle) + 1n, all.size);
    }
  });

  it("refuses to mix families, and ranges made the wrong way round", () => {
    const v4 = parseIpSet(["10.0.0.1"], 4);
    const v6 = parseIpSet(["fd00::1"], 6);
    assert.throws(() => v4.union(v6), TypeError);
    assert.throws(() => v4.rank(parseIp("fd00::1")), TypeError);
    assert.throws(() => IpSet.ofIps(4, [parseIp("fd00::1")]), TypeError);
    assert.throws(() => IpSet.of(4, [{ first: parseIp("10.0.0.2"), last: parseIp("10.0.0.1") }]), RangeError);
    assert.equal(v4.contains(parseIp("fd00::1")), false);
    assert.equal(v4.equals(v6), false);
  });
});

describe("parseIpSet()", () => {
  it("gives the normal form of a list", () => {
    const table: readonly [readonly string[], Family, readonly string[]][] = [
      [["172.18.40.1-172.18.40.3", "172.18.40.2-172.18.40.5"], 4, ["172.18.40.1-172.18.40.5"]],
      [["10.0.0.7", "10.0.0.5", "10.0.0.4"], 4, ["10.0.0.4-10.0.0.5", "10.0.0.7"]],
      [["FD00::0001", "fd00::2"], 6, ["fd00::1-fd00::2"]],
      [["10.0.0.1-10.0.0.1", "10.0.0.9"], 4, ["10.0.0.1", "10.0.0.9"]],
      [[], 4, []],
    ];
    for (const [texts, f, want] of table) assert.deepEqual(formatIpSet(parseIpSet(texts, f)), want);
  });

  it("counts what is left after the excludes", () => {
    const ips = parseIpSet(["172.31.199.180-172.31.199.189", "172.31.199.205-172.31.199.209"], 4);
    const excluded = parseIpSet(["172.31.199.186-172.31.199.188", "172.31.199.207"], 4);
    assert.equal(ips.subtract(excluded).size, 11n);
  });
});

describe("parseRange()", () => {
  it("refuses reversed, spaced, mixed, mapped and CIDR elements with the text at fault", () => {
    const refused: readonly [string, RegExp][] = [
      [
        "10.0.0.9-10.0.0.1",
        /invalid IP range format in IPv4 '10\.0\.0\.9-10\.0\.0\.1': its first address is above its last/,
      ],
      ["10.0.0.1 - 10.0.0.2", /invalid IP range format in IPv4/],
      ["10.0.0.1-10.0.0.2-10.0.0.3", /invalid IP range format in IPv4/],
      ["10.0.0.1-fd00::1", /invalid IP range format in IPv4/],
      ["10.0.0.0/24", /a CIDR is not accepted here, write first-last/],
      ["10.0.0.01", /invalid IP format in IPv4 '10\.0\.0\.01'/],
      ["fd00::1", /invalid IP format in IPv4 'fd00::1'/],
      ["-", /invalid IP range format in IPv4 '-'/],
      ["", /invalid IP format in IPv4 ''/],
    ];
    for (const [text, message] of refused) {
      assert.throws(() => parseRange(text, 4), message);
      assert.equal(tryParseRange(text, 4), undefined);
    }
    assert.throws(() => parseRange("10.0.0.1-fd00::1"), /its ends are of two families/);
    assert.throws(() => parseRange("::ffff:1.2.3.4", 6), /IPv4-mapped/);
  });

  it("reads what formatRange() writes", () => {
    for (const text of ["10.0.0.1", "10.0.0.1-10.0.0.9", "fd00::1-fd00::ff"])
      assert.equal(formatRange(parseRange(text)), text);
    assert.equal(formatIp(parseRange("10.0.0.1-10.0.0.1").last), "10.0.0.1");
  });
});
