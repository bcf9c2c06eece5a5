import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import { applyDefaults, prune, type Schema, unknownKeyword, validate } from "./schema.ts";

const wrong = (value: unknown, schema: Schema) =>
  validate({ spec: value }, { type: "object", properties: { spec: schema } }).map(
    ({ field, message }) => `${field}: ${message}`,
  );

void describe("validate", () => {
  const rows: [string, unknown, Schema, string[]][] = [
    [
      "a type",
      "a",
      { type: "integer" },
      ['spec: Invalid value: "string": spec in body must be of type integer: "string"'],
    ],
    ["null", null, { type: "string" }, ['spec: Invalid value: "null": spec in body must be of type string: "null"']],
    ["an enum", "c", { enum: ["a", "b"] }, ['spec: Unsupported value: "c": supported values: "a", "b"']],
    ["a required field", {}, { type: "object", required: ["a"] }, ["spec.a: Required value"]],
    ["a minimum", 0, { minimum: 1 }, ["spec: Invalid value: 0: spec in body should be greater than or equal to 1"]],
    ["a pattern", "A", { pattern: "^[a-z]$" }, ["spec: Invalid value: \"A\": spec in body should match '^[a-z]$'"]],
    ["too long a text", "abc", { maxLength: 2 }, ["spec: Too long: may not be more than 2 bytes"]],
    ["too many items", [1, 2], { maxItems: 1 }, ["spec: Too many: 2: must have at most 1 items"]],
    [
      "a time",
      "noon",
      { format: "date-time" },
      ['spec: Invalid value: "noon": spec in body must be of type date-time: "noon"'],
    ],
    [
      "an item",
      [1, "a"],
      { items: { type: "integer" } },
      ['spec[1]: Invalid value: "string": spec[1] in body must be of type integer: "string"'],
    ],
    [
      "alternatives of which none fits",
      { a: 1 },
      { anyOf: [{ required: ["b"] }, { not: { required: ["a"] } }] },
      ['<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)', "spec.b: Required value"],
    ],
    ["alternatives of which one fits", { a: 1 }, { anyOf: [{ required: ["b"] }, { required: ["a"] }] }, []],
    [
      "what must not be",
      { a: 1 },
      { not: { required: ["a"] } },
      ['<nil>: Invalid value: "": "spec" must not validate the schema (not)'],
    ],
    [
      "a value in a map",
      { a: "x" },
      { additionalProperties: { type: "integer" } },
      ['spec.a: Invalid value: "string": spec.a in body must be of type integer: "string"'],
    ],
  ];
  for (const [name, value, schema, expected] of rows) {
    void it(`judges ${name} in the API server's words`, () => assert.deepEqual(wrong(value, schema), expected));
  }
});

void describe("prune", () => {
  void it("drops unknown fields at any depth, but not the envelope", () => {
    const schema: Schema = {
      type: "object",
      properties: {
        a: { type: "array", items: { type: "object", properties: { b: { type: "string" } } } },
        map: { type: "object", additionalProperties: { type: "object", properties: {} } },
      },
    };
    const value = {
      apiVersion: "v1",
      kind: "K",
      metadata: { any: 1 },
      other: 1,
      a: [{ b: "", x: 1 }],
      map: { k: { v: 1 } },
    };
    assert.deepEqual(prune(value, schema), ["other", "a[0].x", "map.k.v"]);
    assert.deepEqual(value, {
      apiVersion: "v1",
      kind: "K",
      metadata: { any: 1 },
      a: [{ b: "" }],
      map: { k: {} },
    } as unknown);
  });

  void it("finds nothing more to drop the second time", () => {
    const schema: Schema = { properties: { a: { properties: { b: {} } }, b: { items: { properties: { a: {} } } } } };
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.integer(),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom("a", "b", "c"), tie("tree")),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        prune(value, schema);
        assert.deepEqual(prune(value, schema), []);
      }),
    );
  });
});

void describe("applyDefaults", () => {
  void it("fills defaults within defaults and in list items, and in place of a null", () => {
    const inner: Schema = { type: "object", default: {}, properties: { n: { type: "integer", default: 1 } } };
    const value: Record<string, unknown> = { list: [{}], kept: 2, nulled: null };
    applyDefaults(value, {
      properties: {
        inner,
        list: { items: inner },
        kept: { type: "integer", default: 1 },
        nulled: { type: "string", default: "x" },
      },
    });
    assert.deepEqual(value, { inner: { n: 1 }, list: [{ n: 1 }], kept: 2, nulled: "x" });
  });
});

void test("a keyword that nothing here obeys is found wherever it is", () => {
  const inner = { type: "string", minLength: 1 } as Schema;
  assert.equal(unknownKeyword({ properties: { a: { items: inner } } }), "schema.a.[].minLength");
  assert.equal(unknownKeyword({ additionalProperties: { maximum: 3 } }), undefined);
});
