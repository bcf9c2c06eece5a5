import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { trafficPage } from "./page.ts";

it("docs/reference/traffic.md is what the table says: npm run generate writes it", () => {
  const page = readFileSync(new URL("../../docs/reference/traffic.md", import.meta.url), "utf8");
  assert.equal(page, trafficPage());
});
