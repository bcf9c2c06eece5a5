import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hasCode } from "#base";
import { JsonSplitter } from "./json-stream.ts";

describe("JsonSplitter", () => {
  it("returns the same objects however the stream is cut", () => {
    const object = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue());
    const space = fc.constantFrom("", " ", "\n", "\r\n\t");
    fc.assert(
      fc.property(fc.array(fc.tuple(object, space)), fc.array(fc.nat({ max: 40 })), (written, cuts) => {
        const bytes = Buffer.from(written.map(([one, gap]) => JSON.stringify(one) + gap).join(""));
        const splitter = new JsonSplitter({ bytesMax: bytes.length });
        const got: unknown[] = [];
        let at = 0;
        for (const length of cuts) {
          got.push(...splitter.push(bytes.subarray(at, at + length)));
          at += length;
        }
        got.push(...splitter.push(bytes.subarray(at)));
        const expected: unknown[] = written.map(([one]) => JSON.parse(JSON.stringify(one)));
        assert.deepEqual(got, expected);
      }),
    );
  });

  it("keeps braces, quotes and backslashes inside strings apart from structure", () => {
    const tricky = { "}{": '\\"]', "\\": "\u{1f600}{" };
    const bytes = Buffer.from(JSON.stringify(tricky).repeat(2));
    const splitter = new JsonSplitter({ bytesMax: 1000 });
    const got = Array.from(bytes, (byte) => splitter.push(Buffer.of(byte))).flat();
    assert.deepEqual(got, [tricky, tricky]);
  });

  it("refuses an object that grows beyond its bound before it is complete", () => {
    const splitter = new JsonSplitter({ bytesMax: 10 });
    splitter.push(Buffer.from('{"a":"345'));
    assert.throws(
      () => splitter.push(Buffer.from("6789")),
      (error) => hasCode(error, "OVSDB_PROTOCOL"),
    );
  });

  it("refuses text between objects, a bare array and an object that is no JSON", () => {
    for (const text of ["{} HTTP/1.1 400", "[1]", "{]", "}", "null"]) {
      assert.throws(
        () => new JsonSplitter({ bytesMax: 100 }).push(Buffer.from(text)),
        (error) => hasCode(error, "OVSDB_PROTOCOL"),
        text,
      );
    }
  });
});
