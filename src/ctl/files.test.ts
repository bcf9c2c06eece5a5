import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readFiles } from "./files.ts";

describe("readFiles()", () => {
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-files-"));
  after(() => rmSync(folder, { recursive: true }));

  it("reads a file, and of a folder those of YAML and JSON in the order of their names", async () => {
    const inside = (name: string) => join(folder, "some", name);
    mkdirSync(join(folder, "some"));
    for (const name of ["b.yml", "a.yaml", "c.json", "README.md"]) writeFileSync(inside(name), name);
    assert.deepEqual(await readFiles(inside("README.md")), [{ name: inside("README.md"), text: "README.md" }]);
    const all = await readFiles(join(folder, "some"));
    assert.deepEqual(
      all.map(({ name, text }) => [name, text]),
      ["a.yaml", "b.yml", "c.json"].map((name) => [inside(name), name]),
    );
  });

  it("refuses a folder without manifests, and what never ends", async () => {
    mkdirSync(join(folder, "none"));
    await assert.rejects(readFiles(join(folder, "none")), /no file with the ending \.yaml, \.yml or \.json/);
    await assert.rejects(readFiles("/dev/zero"), { message: "it has more than 32 MiB" });
  });
});
