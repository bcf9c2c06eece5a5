import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { annotations } from "../src/api/index.ts";
import { annotationsPage } from "./annotations-page.ts";
import { configurationPage } from "./configuration-page.ts";
import { crdsPage } from "./crds-page.ts";

const committed = (name: string) => readFileSync(new URL(`../docs/reference/${name}`, import.meta.url), "utf8");

describe("the reference of the API", () => {
  it("is committed as generated (run `npm run generate` after a change)", () => {
    for (const [name, page] of [
      ["annotations.md", annotationsPage()],
      ["configuration.md", configurationPage()],
      ["crds.md", crdsPage()],
    ] as const) {
      assert.ok(committed(name) === page, `docs/reference/${name} is not what the sources make: run npm run generate`);
    }
  });

  it("has a row for every annotation, and a section with every field for every kind", () => {
    const page = annotationsPage();
    for (const key of Object.values(annotations)) assert.ok(page.includes(`| \`${key}\` |`), key);
    const kinds = crdsPage();
    for (const text of [
      "## SpiderMultusConfig",
      "| **`spec.ovs.bridge`** | string |",
      "| `spec.ovs.trunk[].minID` | integer | First VLAN of a range. (at least 0, at most 4094) |",
      "| `ovs-trunk` ● | `spec.ovs.trunk[*]` |",
      "## SpiderIPPool",
      "| **`spec.subnet`** | string |",
    ]) {
      assert.ok(kinds.includes(text), text);
    }
  });
});
