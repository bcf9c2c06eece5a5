import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSelector, isSubdomain } from "./selector.ts";

test("checkSelector() admits exactly the selectors that Kubernetes admits, and names the invalid part", () => {
  const fields = (selector: Parameters<typeof checkSelector>[1]) =>
    checkSelector("s", selector).map(({ field }) => field);
  assert.deepEqual(fields({}), []);
  assert.deepEqual(fields({ matchLabels: { app: "web", "example.com/a_b.c": "" } }), []);
  assert.deepEqual(fields({ matchLabels: { "a/b/c": "x" } }), ["s.matchLabels"]);
  assert.deepEqual(fields({ matchLabels: { "UPPER.com/a": "x" } }), ["s.matchLabels"]);
  assert.deepEqual(fields({ matchLabels: { a: "-x" } }), ["s.matchLabels"]);
  assert.deepEqual(fields({ matchLabels: { a: "x".repeat(64) } }), ["s.matchLabels"]);
  const at = "s.matchExpressions[0]";
  assert.deepEqual(fields({ matchExpressions: [{ key: "a", operator: "Exists" }] }), []);
  assert.deepEqual(fields({ matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] }), [`${at}.values`]);
  assert.deepEqual(fields({ matchExpressions: [{ key: "", operator: "In", values: ["b"] }] }), [`${at}.key`]);
  assert.deepEqual(fields({ matchExpressions: [{ key: "a", operator: "NotIn", values: ["b", "c d"] }] }), [
    `${at}.values[1]`,
  ]);
});

test("isSubdomain() accepts exactly the subdomains of RFC 1123", () => {
  for (const good of ["a", "a.b", "a-b.c1", "0"]) assert.ok(isSubdomain(good), good);
  for (const bad of ["", "A", "a_b", "-a", "a.", "a".repeat(254)]) assert.ok(!isSubdomain(bad), bad);
});
