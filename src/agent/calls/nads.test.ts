import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { createConfigSource } from "./nads.ts";

it("configurations are read from the node's files: none where there is no such file, and none that is too large", () => {
  const folder = mkdtempSync(join(tmpdir(), "nads-"));
  try {
    const source = createConfigSource({ get: () => undefined } as never);
    const path = join(folder, "a.conf");
    assert.equal(source.file(path), undefined);
    assert.equal(source.directory(path), undefined);
    writeFileSync(path, "{}");
    assert.equal(source.file(path), "{}");
    assert.equal(source.file(join(path, "b")), undefined, "a file is no folder");
    assert.equal(source.directory(path), undefined);
    assert.deepEqual(source.directory(folder), ["a.conf"]);
    writeFileSync(path, " ".repeat((1 << 20) + 1));
    assert.throws(() => source.file(path), {
      code: "FILE_TOO_LARGE",
      message: `network configuration ${path} has 1048577 bytes, 1048576 are allowed`,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
