import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Index } from "./indexed.ts";

test("an index finds the same objects as a full search, in whatever order they come, change and go", () => {
  const change = fc.record({ key: fc.nat(5), values: fc.option(fc.uniqueArray(fc.constantFrom("a", "b", "c"))) });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const index = new Index<{ readonly key: string; readonly values: readonly string[] }>(({ values }) => values);
      const objects = new Map<string, { readonly key: string; readonly values: readonly string[] }>();
      for (const { key: number, values } of changes) {
        const key = String(number);
        const now = values === null ? undefined : { key, values };
        index.move(objects.get(key), now);
        if (now === undefined) objects.delete(key);
        else objects.set(key, now);
        for (const value of ["a", "b", "c"]) {
          const wanted = [...objects.values()].filter((one) => one.values.includes(value));
          assert.deepEqual(new Set(index.get(value)), new Set(wanted));
          assert.equal(index.get(value).length, wanted.length);
        }
      }
    }),
  );
});

test("an index with very many objects of one value can remove each of them", () => {
  const objects = Array.from({ length: 3_000 }, (_, at) => ({ at }));
  const index = new Index<{ readonly at: number }>(() => ["all"]);
  for (const object of objects) index.move(undefined, object);
  assert.equal(index.get("all").length, 3_000);
  for (const object of objects) index.move(object, undefined);
  assert.deepEqual(index.get("all"), []);
});
