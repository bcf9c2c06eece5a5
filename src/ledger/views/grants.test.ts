import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatIpSet, type Ip, IpSet, ipFromValue, parseIp, parseIpSet } from "#ip";
import { type Grants, grantsOf, ungranted } from "./grants.ts";

const none: Grants = new Map();
const set = (...texts: readonly string[]) => parseIpSet(texts, 4);
const node = (name: string, waiting: number, last: string) => ({ node: name, waiting, last: parseIp(last) });
const texts = (grants: Grants) => Object.fromEntries([...grants].map(([name, ips]) => [name, formatIpSet(ips)]));

describe("grantsOf()", () => {
  const free = set("10.0.0.2-10.0.0.4", "10.0.0.6-10.0.0.20");

  it("gives each node as many addresses as Pods wait on it, first of all the next one after that which it claimed last", () => {
    const grants = grantsOf(free, none, [
      node("a", 4, "10.0.0.1"),
      node("b", 2, "10.0.0.5"),
      node("c", 1, "10.0.0.21"),
    ]);
    assert.deepEqual(texts(grants), {
      a: ["10.0.0.2", "10.0.0.4", "10.0.0.7-10.0.0.8"],
      b: ["10.0.0.6", "10.0.0.9"],
      c: ["10.0.0.3"],
    });
  });

  it("leaves what a node was given its own, until no Pod waits there", () => {
    const before = new Map([
      ["a", set("10.0.0.15-10.0.0.16")],
      ["b", set("10.0.0.1-10.0.0.4")],
    ]);
    assert.deepEqual(texts(grantsOf(free, before, [node("c", 2, "10.0.0.1"), node("b", 4, "10.0.0.1")])), {
      c: ["10.0.0.6-10.0.0.7"],
      b: ["10.0.0.2-10.0.0.4", "10.0.0.8"],
    });
    assert.deepEqual(texts(grantsOf(free, before, [])), {});
  });

  it("never gives one address twice, nor one that is not free, and all that there are if that is too few", () => {
    const some = fc.array(fc.nat(60), { maxLength: 60 });
    const nodes = fc.array(fc.record({ waiting: fc.integer({ min: 1, max: 20 }), last: fc.nat(60) }), { maxLength: 8 });
    const ip = (value: number): Ip => ipFromValue(4, BigInt(value));
    fc.assert(
      fc.property(some, some, nodes, nodes, (open, taken, first, second) => {
        const named = (list: typeof first) =>
          list.map(({ waiting, last }, at) => ({ node: `n${at}`, waiting, last: ip(last) }));
        const start = IpSet.ofIps(4, open.map(ip));
        const left = start.subtract(IpSet.ofIps(4, taken.map(ip)));
        const grants = grantsOf(left, grantsOf(start, none, named(first)), named(second));
        const all = [...grants.values()];
        const union = all.reduce((sum, of) => sum.union(of), IpSet.empty(4));
        assert.equal(
          all.reduce((sum, { size }) => sum + size, 0n),
          union.size,
        );
        assert.ok(union.subtract(left).isEmpty);
        const missing = ungranted(grants, named(second), IpSet.empty(4));
        assert.ok(missing === 0 || union.equals(left));
      }),
    );
  });
});

describe("ungranted()", () => {
  it("counts Pods whose node has no granted address that is still free for them", () => {
    const grants = new Map([["a", set("10.0.0.2-10.0.0.4")]]);
    const waiting = [node("a", 3, "10.0.0.1"), node("b", 2, "10.0.0.9")];
    assert.equal(ungranted(grants, waiting, set("10.0.0.3")), 3);
  });
});
