import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { spansOfItems } from "./items.ts";

/** What the spans say, decoded. */
function decoded(text: string) {
  const bytes = Buffer.from(text);
  const found = spansOfItems(bytes);
  if (found === undefined) return undefined;
  const { array, items } = found;
  const at = (start: number, end: number) => JSON.parse(bytes.toString("utf8", start, end));
  return { array: at(array.start, array.end), items: items.map(({ start, end }) => at(start, end)) };
}

const object = fc.dictionary(fc.oneof(fc.string(), fc.constant("items")), fc.jsonValue());

describe("spansOfItems()", () => {
  it("finds each item of any list, whatever stands before and after, in whatever layout", () => {
    fc.assert(
      fc.property(object, fc.array(object), object, fc.nat(2), (before, items, after, indent) => {
        const { items: _before, ...head } = before;
        const { items: _after, ...tail } = after;
        const list = { ...head, items, ...tail };
        assert.deepEqual(decoded(JSON.stringify(list, undefined, indent)), {
          array: JSON.parse(JSON.stringify(items)),
          items: JSON.parse(JSON.stringify(items)),
        });
      }),
    );
  });

  it("finds nothing in what is no list of objects", () => {
    const texts = [
      "",
      "[]",
      "{}",
      '{"items":null}',
      '{"items":[1]}',
      '{"items":[{},]}',
      '{"items":[{}',
      '{"items":[{} {}]}',
    ];
    for (const text of [...texts, '{"metadata":{"items":[{}]}}', '{"a', '{"a"', '{"a":', '{"a":"\\"', "{,}"]) {
      assert.equal(decoded(text), undefined, text);
    }
  });

  it("ends at any cut of a text", () => {
    const text = JSON.stringify({ metadata: { a: ["\\\"'", 1] }, items: [{ a: { b: "]}" } }, {}], kind: "List" });
    const whole = text.indexOf('],"kind"') + 1;
    for (let cut = 0; cut < text.length; cut++) {
      assert.equal(spansOfItems(Buffer.from(text.slice(0, cut))) === undefined, cut < whole, text.slice(0, cut));
    }
  });
});
