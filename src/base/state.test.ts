import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { readIfThere, removeFile, writeStateFile } from "./state.ts";

const folder = mkdtempSync(join(tmpdir(), "state-"));
after(() => rmSync(folder, { recursive: true }));

describe("a file of what is remembered", () => {
  const path = join(folder, "pod@eth0.json");

  test("is written whole, for root only, in the place of an earlier one", () => {
    for (const text of ["a longer text before", "ü"]) {
      writeStateFile(path, text);
      assert.equal(readIfThere(path)?.toString(), text);
    }
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  test("is removed; one that is not there is no error, and what is no file is one", () => {
    removeFile(path);
    assert.equal(readIfThere(path), undefined);
    removeFile(path);
    mkdirSync(path);
    assert.throws(() => removeFile(path), { syscall: "unlink" });
  });
});
