import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { decodeRowUpdate, type Row, rowAfter } from "./row-updates.ts";
import { decodeMap, decodeSet, encodeMap, encodeSet } from "./values.ts";

const few = fc.integer({ min: 1, max: 6 });
const pairs = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("x", "y"), { noNullPrototype: true });
const row = fc.record({ tag: few, trunks: fc.uniqueArray(few), external_ids: pairs });
type Model = typeof row extends fc.Arbitrary<infer T> ? T : never;

const encoded = ({ tag, trunks, external_ids }: Model): Row => ({
  tag,
  // A set of one element comes bare.
  trunks: trunks.length === 1 ? trunks[0] : encodeSet(trunks),
  external_ids: encodeMap(external_ids),
});

/** Written from ovsdb-server(7) §4.1.14, not from the code under test. */
function changeOf(before: Model, after: Model): Row {
  const both = new Set([...before.trunks, ...after.trunks]);
  const inOne = [...both].filter((id) => before.trunks.includes(id) !== after.trunks.includes(id));
  const keys = new Set([...Object.keys(before.external_ids), ...Object.keys(after.external_ids)]);
  const different = [...keys].filter((key) => before.external_ids[key] !== after.external_ids[key]);
  const told = different.map((key) => [key, after.external_ids[key] ?? before.external_ids[key] ?? ""]);
  return {
    ...(before.tag !== after.tag && { tag: after.tag }),
    ...(inOne.length > 0 && { trunks: inOne.length === 1 ? inOne[0] : encodeSet(inOne) }),
    ...(told.length > 0 && { external_ids: encodeMap(Object.fromEntries(told)) }),
  };
}

describe("rowAfter", () => {
  it("is the new row after the change that leads to it", () => {
    fc.assert(
      fc.property(row, row, (before, after) => {
        const result = rowAfter(encoded(before), decodeRowUpdate({ modify: changeOf(before, after) })) ?? {};
        assert.equal(result.tag, after.tag);
        assert.deepEqual(new Set(decodeSet(result.trunks)), new Set(after.trunks));
        assert.deepEqual(Object.fromEntries(decodeMap(result.external_ids)), after.external_ids);
      }),
    );
  });

  it("is what a whole row says, and nothing once the row is gone", () => {
    for (const kind of ["initial", "insert"]) {
      assert.deepEqual(rowAfter({ tag: 1, name: "a" }, decodeRowUpdate({ [kind]: { name: "b" } })), { name: "b" });
    }
    assert.equal(rowAfter({ name: "a" }, decodeRowUpdate({ delete: null })), undefined);
  });
});
