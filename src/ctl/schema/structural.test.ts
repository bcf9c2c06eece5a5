import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { applyDefaults, prune, type Schema, validate } from "../../../lab/api/kinds/schema.ts";
import { type StructuralSchema, schemaViolations } from "./structural.ts";

const text = readFileSync(new URL("./kinds.json", import.meta.url), "utf8");

describe("the schemas of kinds that people write", () => {
  it("judge any value as the API server does: which fields it would drop, and which it would refuse", () => {
    const kinds: Readonly<Record<string, StructuralSchema>> = JSON.parse(text);
    fc.assert(
      fc.property(
        fc
          .constantFrom(...Object.entries(kinds))
          .chain(([kind, schema]) => fc.tuple(fc.constant(kind), nearly(schema))),
        ([kind, spec]) => {
          const schema = { type: "object", properties: { spec: kinds[kind] } } as StructuralSchema & Schema;
          const found = schemaViolations({ spec }, schema);
          const sent = structuredClone({ spec });
          const unknown = prune(sent, schema);
          applyDefaults(sent, schema);
          const errors = validate(sent, schema);
          const isUnknown = ({ message }: { readonly message: string }) => message.startsWith("unknown field");
          const textsOf = (all: typeof found) => all.map(({ field, message }) => `${field}: ${message}`).toSorted();
          assert.deepEqual(textsOf(found.filter((one) => !isUnknown(one))), textsOf(errors));
          // A value of the wrong type has no unknown fields.
          const isWithin = (field: string) => errors.some((one) => field.startsWith(`${one.field}.`));
          const fields = found.filter(isUnknown).map(({ field }) => field);
          assert.deepEqual(fields.toSorted(), unknown.filter((field) => !isWithin(field)).toSorted());
        },
      ),
    );
  });
});

describe("a field that the kind does not have", () => {
  const schema = {
    type: "object",
    properties: { namespaceName: { type: "string" }, ips: { type: "string" } },
  } as const;
  const said = (name: string) => schemaViolations({ [name]: "x" }, schema).map(({ message }) => message);

  it("is reported with the field that was probably meant, or with all fields of the kind", () => {
    assert.deepEqual(said("namespacename"), ['unknown field "namespacename": did you mean namespaceName?']);
    assert.deepEqual(said("ip"), ['unknown field "ip": did you mean ips?']);
    assert.deepEqual(said("gateway"), ['unknown field "gateway": known are namespaceName, ips']);
  });
});

/** Values close to the schema: some valid, some of the wrong type, with missing or additional fields. */
function nearly(schema: StructuralSchema): fc.Arbitrary<unknown> {
  const wrong = fc.constantFrom<unknown>(null, 5, -1, 1.5, true, "x", "x".repeat(70), [], {}, { odd: 1 });
  return fc.oneof({ weight: 6, arbitrary: nearlyRight(schema) }, { weight: 1, arbitrary: wrong });
}

function nearlyRight(schema: StructuralSchema): fc.Arbitrary<unknown> {
  const { type, properties = {}, additionalProperties, items = {} } = schema;
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (type === "object") {
    const named = Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, nearly(inner)]));
    const others = fc.dictionary(fc.constantFrom("odd", "other"), nearly(additionalProperties ?? {}), { maxKeys: 1 });
    const fields = fc.record(named, { requiredKeys: [] });
    return fc.tuple(fields, others).map(([known, odd]) => ({ ...known, ...odd }));
  }
  if (type === "array") return fc.array(nearly(items), { maxLength: 2 });
  if (type === "integer") return fc.integer({ min: -2, max: 70_000 });
  if (type === "boolean") return fc.boolean();
  return fc.constantFrom("10.6.0.0/16", "a", "2026-01-01T00:00:00Z");
}
