import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { crdFolder, generatedFiles } from "./files.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("what is generated and committed", () => {
  for (const [path, text] of generatedFiles()) {
    it(`${path} is as \`npm run generate\` makes it`, () => {
      assert.equal(readFileSync(join(root, path), "utf8"), text);
    });
  }

  it("has no definition of a kind that is gone", () => {
    const generated = generatedFiles();
    const found = globSync(`${crdFolder}/*`, { cwd: root });
    assert.ok(found.length > 0);
    assert.deepEqual(
      found.filter((path) => !generated.has(path)),
      [],
    );
  });
});
