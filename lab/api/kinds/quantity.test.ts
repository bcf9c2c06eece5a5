import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalQuantity, quantityValue } from "./quantity.ts";

// As recorded from kube-apiserver 1.35.
const spellings: Readonly<Record<string, string>> = {
  "1000": "1k",
  "1500": "1500",
  "110": "110",
  "0": "0",
  "1000000": "1M",
  "2000k": "2M",
  "16384Ki": "16Mi",
  "16385Ki": "16385Ki",
  "100m": "100m",
  "1.5": "1.5",
};

test("amounts are spelled as the API server spells them", () => {
  for (const [given, spelled] of Object.entries(spellings)) assert.equal(canonicalQuantity(given), spelled);
});

test("a spelling means the same number", () => {
  for (const text of ["1000", "1k", "16384Ki", "16Mi", "7"]) {
    assert.equal(quantityValue(text), quantityValue(canonicalQuantity(text)));
  }
  assert.equal(quantityValue("16Mi"), 16 * 1024 * 1024);
  assert.ok(Number.isNaN(quantityValue("many")));
});
