import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { compareIp, type Ip, parseIp } from "./ip.ts";
import { type IpRange, parseRange } from "./range.ts";
import { RangeIndex } from "./range-index.ts";

const ip: fc.Arbitrary<Ip> = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map((value): Ip => ({ family: 4, value })),
  fc.bigInt({ min: 0n, max: 40n }).map((value): Ip => ({ family: 6, value })),
);
const range: fc.Arbitrary<IpRange> = fc
  .tuple(ip, ip)
  .filter(([a, b]) => a.family === b.family)
  .map(([a, b]) => (compareIp(a, b) <= 0 ? { first: a, last: b } : { first: b, last: a }));

describe("RangeIndex", () => {
  test("finds the ranges that a look at each would find, after any additions and deletions", () => {
    const steps = fc.array(fc.record({ range, deleted: fc.option(fc.nat(200)) }), { maxLength: 120 });
    fc.assert(
      fc.property(steps, range, (history, wanted) => {
        const index = new RangeIndex<number>();
        const there = new Map<number, { readonly range: IpRange; readonly remove: () => void }>();
        for (const [item, step] of history.entries()) {
          const entry = index.add(step.range, item);
          there.set(item, { range: step.range, remove: () => index.delete(entry) });
          const gone = step.deleted ?? -1;
          there.get(gone)?.remove();
          there.delete(gone);
        }
        const expected = [...there]
          .filter(
            ([
              ,
              {
                range: { first, last },
              },
            ]) =>
              first.family === wanted.first.family &&
              compareIp(first, wanted.last) <= 0 &&
              compareIp(last, wanted.first) >= 0,
          )
          .map(([item]) => item);
        assert.deepEqual(
          index.overlapping(wanted).toSorted((a, b) => a - b),
          expected,
        );
      }),
    );
  });

  test("gives them by ascending first address", () => {
    const index = new RangeIndex<string>();
    for (const text of ["10.0.0.5", "10.0.0.1-10.0.0.9", "10.0.0.3-10.0.0.4"]) index.add(parseRange(text), text);
    const wanted = { first: parseIp("10.0.0.4"), last: parseIp("10.0.0.5") };
    assert.deepEqual(index.overlapping(wanted), ["10.0.0.1-10.0.0.9", "10.0.0.3-10.0.0.4", "10.0.0.5"]);
  });

  test("an entry cannot be deleted twice", () => {
    const index = new RangeIndex<string>();
    const entry = index.add(parseRange("10.0.0.1"), "a");
    index.delete(entry);
    assert.throws(() => index.delete(entry), RangeError);
  });

  test("holds 100,000 ranges in ascending order, which would be as deep as many in a tree without balance", () => {
    const index = new RangeIndex<number>();
    const at = (value: number): IpRange => ({ first: { family: 4, value }, last: { family: 4, value } });
    for (let value = 0; value < 100_000; value++) index.add(at(value), value);
    assert.deepEqual(index.overlapping(at(77_777)), [77_777]);
  });
});
