import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatIp, type Ip, IpSet, ipFromValue, parseIp, parseIpSet, parsePrefix, prefixRange } from "#ip";
import { type Choice, Chooser, metMax, metMsMax } from "./choice.ts";

const none = IpSet.empty(4);
const base = 0x0a000000n;

function ipAt(index: number): Ip {
  return ipFromValue(4, base + BigInt(index));
}

function setOf(indexes: Iterable<number>): IpSet {
  return IpSet.ofIps(4, Array.from(indexes, ipAt));
}

function upTo(count: number): IpSet {
  return setOf(Array.from({ length: count }, (_, at) => at));
}

function text(choice: Choice): string {
  return choice.kind === "address" ? formatIp(choice.ip) : "exhausted";
}

describe("Chooser", () => {
  it("takes the lowest free address first where it is alone, and the next one after each, its first met one too", () => {
    const pool = { set: parseIpSet(["172.18.30.130-172.18.30.135"], 4), reserved: parseIpSet(["172.18.30.130"], 4) };
    const chooser = new Chooser(pool, { spot: 0.6 });
    assert.equal(text(chooser.next(0)), "172.18.30.131");
    chooser.meet(parseIp("172.18.30.131"), 0);
    assert.deepEqual([text(chooser.next(0)), text(chooser.next(0))], ["172.18.30.132", "172.18.30.133"]);
  });

  it("goes on elsewhere once two addresses were met as taken, and comes round", () => {
    const chooser = new Chooser({ set: upTo(8), reserved: none }, { spot: 0.6 });
    const offered = Array.from({ length: 8 }, () => {
      const choice = chooser.next(0);
      if (choice.kind === "address" && [0, 1].some((at) => formatIp(ipAt(at)) === formatIp(choice.ip)))
        chooser.meet(choice.ip, 0);
      return text(choice);
    });
    assert.deepEqual(
      offered,
      [0, 1, 4, 5, 6, 7, 2, 3].map((at) => `10.0.0.${at}`),
    );
    assert.equal(text(chooser.next(0)), "exhausted");
  });

  it("takes what is granted to its node first, then what is granted to nobody, and other nodes' addresses last", () => {
    const chooser = new Chooser({ set: upTo(6), reserved: none });
    chooser.setUsage({ used: setOf([0]), cooling: setOf([1]), granted: { own: setOf([0, 4]), others: setOf([1, 2]) } });
    const offered = Array.from({ length: 6 }, () => text(chooser.next(0)));
    assert.deepEqual(offered, [...[4, 3, 5, 2, 1].map((at) => `10.0.0.${at}`), "exhausted"]);
  });

  it("goes on elsewhere at the first one in a large pool", () => {
    const chooser = new Chooser({ set: upTo(128), reserved: none }, { spot: 0.5 });
    chooser.meet(ipAt(0), 0);
    assert.equal(text(chooser.next(0)), "10.0.0.64");
  });

  it("goes on elsewhere each time it meets somebody after that", () => {
    const chooser = new Chooser({ set: upTo(100), reserved: none }, { spot: 0.5 });
    const met = Array.from({ length: 4 }, () => {
      const choice = chooser.next(0);
      if (choice.kind === "address") chooser.meet(choice.ip, 0);
      return text(choice);
    });
    assert.deepEqual(met, ["10.0.0.0", "10.0.0.50", "10.0.0.11", "10.0.0.73"]);
    chooser.setUsage({ used: setOf([0]), cooling: none, share: { rank: 1, ranks: 3 } });
    assert.equal(text(chooser.next(0)), "10.0.0.34");
  });

  it("begins elsewhere in a large pool where several ask at once and no share is known", () => {
    const begun = (size: number, share?: { rank: number; ranks: number }) => {
      const chooser = new Chooser({ set: upTo(size), reserved: none }, { spot: 0.5 });
      chooser.setUsage({ used: none, cooling: none, share });
      chooser.crowd();
      return text(chooser.next(0));
    };
    assert.equal(begun(128), "10.0.0.64");
    assert.equal(begun(64), "10.0.0.0");
    assert.equal(begun(128, { rank: 1, ranks: 4 }), "10.0.0.32");
  });

  it("stays elsewhere when a snapshot comes, until one tells its share", () => {
    const chooser = new Chooser({ set: upTo(8), reserved: none }, { spot: 0.6 });
    chooser.meet(ipAt(0), 0);
    chooser.setUsage({ used: setOf([0]), cooling: none });
    chooser.meet(ipAt(1), 0);
    chooser.setUsage({ used: setOf([0, 1]), cooling: none });
    assert.equal(text(chooser.next(0)), "10.0.0.5");
    chooser.setUsage({ used: setOf([0, 1]), cooling: none, share: { rank: 0, ranks: 2 } });
    chooser.setUsage({ used: setOf([0, 1]), cooling: none });
    assert.equal(text(chooser.next(0)), "10.0.0.2");
  });

  it("begins at the lowest again when it has met nobody for long", () => {
    const chooser = new Chooser({ set: upTo(8), reserved: none }, { spot: 0.6 });
    for (const at of [0, 1]) chooser.meet(ipAt(at), 0);
    assert.equal(text(chooser.next(metMsMax - 1)), "10.0.0.4");
    chooser.setUsage({ used: setOf([0, 1, 4]), cooling: none });
    assert.equal(text(chooser.next(metMsMax)), "10.0.0.2");
  });

  it("starts at the node's share of what is free, and comes round", () => {
    const chooser = new Chooser({ set: upTo(8), reserved: none });
    chooser.setUsage({ used: setOf([0, 1, 4, 5]), cooling: none, share: { rank: 1, ranks: 2 } });
    assert.deepEqual(
      Array.from({ length: 5 }, () => text(chooser.next(0))),
      ["10.0.0.6", "10.0.0.7", "10.0.0.2", "10.0.0.3", "exhausted"],
    );
  });

  it("hands out cooling addresses last, and its own released ones like them", () => {
    const chooser = new Chooser({ set: upTo(4), reserved: none });
    chooser.setUsage({ used: none, cooling: setOf([0]) });
    assert.equal(text(chooser.next(0)), "10.0.0.1");
    chooser.release(ipAt(1));
    assert.deepEqual(
      Array.from({ length: 5 }, () => chooser.next(0)).map((choice) => [
        text(choice),
        choice.kind === "address" && choice.cooling,
      ]),
      [
        ["10.0.0.2", false],
        ["10.0.0.3", false],
        ["10.0.0.0", true],
        ["10.0.0.1", true],
        ["exhausted", false],
      ],
    );
  });

  it("forgets what it met as taken at a newer snapshot or after 30 s, and its own never", () => {
    const chooser = new Chooser({ set: upTo(2), reserved: none });
    chooser.next(0);
    chooser.next(0);
    chooser.meet(ipAt(1), 1000);
    assert.equal(text(chooser.next(1000 + metMsMax - 1)), "exhausted");
    assert.equal(text(chooser.next(1000 + metMsMax)), "10.0.0.1");
    chooser.meet(ipAt(1), 50_000);
    chooser.setUsage({ used: none, cooling: none });
    assert.deepEqual([text(chooser.next(50_000)), text(chooser.next(50_000))], ["10.0.0.1", "exhausted"]);
  });

  it("says what the word exhausted rests on", () => {
    const chooser = new Chooser({ set: upTo(5), reserved: setOf([4]) });
    chooser.setUsage({ used: setOf([0, 1]), cooling: none });
    chooser.next(0);
    chooser.next(0);
    chooser.meet(ipAt(3), 0);
    assert.deepEqual(chooser.next(0), {
      kind: "exhausted",
      evidence: { allowed: 4n, freeByUsage: 2n, own: 1n, met: 1n },
    });
    chooser.setUsage({ used: upTo(5), cooling: none });
    assert.deepEqual(chooser.next(0), {
      kind: "exhausted",
      evidence: { allowed: 4n, freeByUsage: 0n, own: 0n, met: 0n },
    });
  });

  it("follows the pool and the reserved addresses when they change", () => {
    const chooser = new Chooser({ set: upTo(1), reserved: none });
    assert.deepEqual([text(chooser.next(0)), text(chooser.next(0))], ["10.0.0.0", "exhausted"]);
    chooser.setAllowed({ set: upTo(4), reserved: setOf([1]) });
    assert.deepEqual(
      [text(chooser.next(0)), text(chooser.next(0)), text(chooser.next(0))],
      ["10.0.0.2", "10.0.0.3", "exhausted"],
    );
  });

  it("adopts claims of before", () => {
    const chooser = new Chooser({ set: upTo(3), reserved: none });
    chooser.meet(ipAt(0), 0);
    chooser.adopt(ipAt(0));
    chooser.adopt(ipAt(1));
    assert.equal(text(chooser.next(metMsMax)), "10.0.0.2");
  });

  it("remembers only so many addresses met, the newest", () => {
    const chooser = new Chooser({ set: upTo(metMax + 1), reserved: none });
    for (let at = 0; at <= metMax; at++) chooser.meet(ipAt(at), 0);
    assert.deepEqual([text(chooser.next(0)), text(chooser.next(0))], ["10.0.0.0", "exhausted"]);
  });

  it("chooses from a /10 that is in use up to its last address, and from a /64", () => {
    const all = IpSet.of(4, [prefixRange(parsePrefix("10.64.0.0/10"))]);
    const chooser = new Chooser({ set: all, reserved: none });
    chooser.setUsage({ used: all.remove(parseIp("10.127.255.255")), cooling: none });
    assert.deepEqual([text(chooser.next(0)), text(chooser.next(0))], ["10.127.255.255", "exhausted"]);
    const wide = new Chooser({ set: IpSet.of(6, [prefixRange(parsePrefix("fd00::/64"))]), reserved: IpSet.empty(6) });
    wide.setUsage({ used: IpSet.empty(6), cooling: IpSet.empty(6), share: { rank: 1, ranks: 2 } });
    assert.equal(text(wide.next(0)), "fd00::8000:0:0:0");
  });

  it("finds every free address once, whatever is used, cooling, reserved or met on the way", () => {
    const size = 24;
    const some = fc.uniqueArray(fc.nat(size - 1));
    const share = fc.option(fc.record({ rank: fc.nat(4), ranks: fc.integer({ min: 5, max: 9 }) }), { nil: undefined });
    fc.assert(
      fc.property(some, some, some, some, share, (reserved, used, cooling, taken, share) => {
        const chooser = new Chooser({ set: upTo(size), reserved: setOf(reserved) });
        chooser.setUsage({ used: setOf(used), cooling: setOf(cooling), share });
        const free = upTo(size).subtract(setOf(reserved)).subtract(setOf(used));
        let found = none;
        for (let round = 0n; round < free.size; round++) {
          const choice = chooser.next(0);
          assert.ok(choice.kind === "address");
          assert.ok(free.contains(choice.ip) && !found.contains(choice.ip), formatIp(choice.ip));
          assert.equal(choice.cooling, setOf(cooling).contains(choice.ip));
          if (choice.cooling)
            assert.ok(free.subtract(setOf(cooling)).subtract(found).isEmpty, "a cooling one came too early");
          found = found.add(choice.ip);
          if (setOf(taken).contains(choice.ip)) chooser.meet(choice.ip, 0);
        }
        assert.equal(chooser.next(0).kind, "exhausted");
      }),
    );
  });

  it("never offers an address of its own or one met less than 30 s ago, through any history", () => {
    const size = 12;
    const step = fc.oneof(
      fc.record({ do: fc.constant("next" as const), met: fc.boolean() }),
      fc.record({ do: fc.constant("release" as const), at: fc.nat(size - 1) }),
      fc.record({ do: fc.constant("usage" as const), used: fc.uniqueArray(fc.nat(size - 1)) }),
      fc.record({ do: fc.constant("wait" as const), ms: fc.nat(metMsMax) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const chooser = new Chooser({ set: upTo(size), reserved: none });
        const own = new Set<string>();
        const met = new Map<string, number>();
        let used = none;
        let nowMs = 0;
        for (const now of steps) {
          if (now.do === "wait") nowMs += now.ms;
          else if (now.do === "release") {
            chooser.release(ipAt(now.at));
            own.delete(formatIp(ipAt(now.at)));
          } else if (now.do === "usage") {
            used = setOf(now.used);
            chooser.setUsage({ used, cooling: none });
            met.clear();
          } else {
            const known = (name: string) => own.has(name) || nowMs - (met.get(name) ?? -Infinity) < metMsMax;
            const choice = chooser.next(nowMs);
            const open = upTo(size).subtract(used).ranges.length > 0;
            if (choice.kind === "exhausted") {
              for (let at = 0; at < size; at++)
                assert.ok(used.contains(ipAt(at)) || known(formatIp(ipAt(at))), `${at} was free`);
              continue;
            }
            const name = formatIp(choice.ip);
            assert.ok(open && !used.contains(choice.ip) && !known(name), `${name} was not free`);
            own.add(name);
            if (!now.met) continue;
            chooser.meet(choice.ip, nowMs);
            own.delete(name);
            met.set(name, nowMs);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
