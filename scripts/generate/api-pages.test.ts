import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations } from "../../src/api/index.ts";
import { annotationsPage } from "./annotations-page.ts";
import { crdsPage } from "./crds-page.ts";

describe("the reference of the API", () => {
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
