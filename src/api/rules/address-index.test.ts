import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { IpSet, networkOf, type Prefix, parsePrefix, prefixContains, samePrefix, tryParsePrefix } from "#ip";
import { validatePool } from "../ippool/rules.ts";
import type { SpiderIPPool } from "../ippool/types.ts";
import { pool } from "../testing/objects.ts";
import { AddressIndex, type Neighbours } from "./address-index.ts";
import { effectiveSet } from "./addresses.ts";

const networks = [
  "10.0.0.0/8",
  "10.1.0.0/16",
  "10.1.2.0/24",
  "10.1.2.9/24",
  "10.2.0.0/16",
  "fd00::/64",
  "fd00::/120",
  "none",
];
const spec = fc.constantFrom(...networks).chain((subnet) => {
  const prefix = subnet.startsWith("fd") ? "fd00::" : "10.1.2.";
  const element = fc
    .tuple(fc.integer({ min: 1, max: 9 }), fc.nat(3))
    .map(([first, more]) =>
      more === 0 ? `${prefix}${first}` : `${prefix}${first}-${prefix}${Math.min(9, first + more)}`,
    );
  const list = fc.array(fc.oneof({ weight: 30, arbitrary: element }, fc.constant("wrong")), { maxLength: 4 });
  return fc.record({ subnet: fc.constant(subnet), ips: list, excludeIPs: list });
});
const named = fc.record({ name: fc.constantFrom(..."abcdefgh"), spec });

/** The same, by a look at every object. */
function naive(objects: readonly SpiderIPPool[]): Neighbours<SpiderIPPool> {
  const where = (matches: (theirs: Prefix, one: SpiderIPPool) => boolean) =>
    objects.filter((one) => {
      const theirs = tryParsePrefix(one.spec.subnet);
      return theirs !== undefined && matches(theirs, one);
    });
  const same = (a: Prefix, b: Prefix) => samePrefix(networkOf(a), networkOf(b));
  const overlaps = (a: Prefix, b: Prefix) => prefixContains(a, b.ip) || prefixContains(b, a.ip);
  return {
    get: (name) => objects.find(({ metadata }) => metadata.name === name),
    within: (network) => where((theirs) => same(theirs, network)),
    around: (network) => where((theirs) => overlaps(theirs, network) && !same(theirs, network)),
    sharing: (set) =>
      where(({ ip }, one) => ip.family === set.family && effectiveSet(one.spec, ip.family)?.overlaps(set) === true),
  };
}

describe("AddressIndex", () => {
  test("gives what a look at every object would give, in the same order", () => {
    const history = fc.array(fc.oneof(named, named, fc.constantFrom(..."abcdefgh")), { maxLength: 40 });
    fc.assert(
      fc.property(history, named, (steps, wanted) => {
        const index = new AddressIndex<SpiderIPPool>();
        const there = new Map<string, SpiderIPPool>();
        for (const step of steps) {
          if (typeof step === "string") {
            assert.equal(index.delete(step), there.get(step));
            there.delete(step);
          } else {
            const object = pool(step.spec, { name: step.name });
            index.put(object);
            there.set(step.name, object);
          }
        }
        const slow = naive([...there.values()]);
        assert.equal(index.size, there.size);
        assert.equal(index.get(wanted.name), slow.get(wanted.name));
        const network = tryParsePrefix(wanted.spec.subnet);
        if (network === undefined) return;
        assert.deepEqual(index.within(network), slow.within(network));
        assert.deepEqual(index.around(network), slow.around(network));
        const set = effectiveSet(wanted.spec, network.ip.family);
        if (set !== undefined) assert.deepEqual(index.sharing(set), slow.sharing(set));
        const sent = pool({ gateway: "", ...wanted.spec }, { name: wanted.name });
        assert.deepEqual(validatePool(sent, { others: index }), validatePool(sent, { others: slow }));
      }),
      { numRuns: 500 },
    );
  });

  test("looks at no object that has nothing in common with what is sought, however many there are", () => {
    let looks = 0;
    const counted = (at: number): SpiderIPPool => {
      const object = pool(
        { subnet: "10.0.0.0/8", ips: [`10.${at >> 8}.${at & 255}.1`], gateway: "" },
        { name: `p${at}` },
      );
      return {
        ...object,
        get spec() {
          looks += 1;
          return object.spec;
        },
      };
    };
    const others = AddressIndex.of(Array.from({ length: 5_000 }, (_, at) => counted(at)));
    looks = 0;
    const sent = (ips: readonly string[]) => pool({ subnet: "10.0.0.0/8", ips, gateway: "" }, { name: "new" });
    assert.deepEqual(validatePool(sent(["10.200.0.1-10.200.0.9"]), { others }), []);
    assert.equal(looks, 0);
    assert.equal(validatePool(sent(["10.0.7.1-10.0.8.1"]), { others }).length, 2);
    assert.equal(looks, 2);
  });

  test("of thousands of pools in conflict, a violation names the first ten", () => {
    const others = AddressIndex.of(Array.from({ length: 5_000 }, (_, at) => pool({}, { name: `p${at}` })));
    const found = validatePool(pool({}, { name: "new" }), { others });
    assert.equal(found.length, 10);
  });

  test("an empty set shares nothing", () => {
    const index = AddressIndex.of([pool()]);
    assert.deepEqual(index.sharing(IpSet.empty(4)), []);
    assert.deepEqual(index.around(parsePrefix("172.18.0.0/16")), []);
  });
});
