import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";

it("a command runs on the pinned Node also where npm made no link to it, as that of Debian 13 does", (t) => {
  const root = mkdtempSync(join(tmpdir(), "bootstrap-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const node = join(root, "node_modules", `node-linux-${process.arch}`, "bin");
  for (const folder of [join(root, "scripts/bootstrap"), node]) mkdirSync(folder, { recursive: true });
  for (const name of ["bootstrap.cjs", "run-folder.cjs"])
    copyFileSync(new URL(name, import.meta.url), join(root, "scripts/bootstrap", name));
  symlinkSync(process.execPath, join(node, "node"));
  writeFileSync(join(root, "package-lock.json"), "{}");
  writeFileSync(join(root, "node_modules/.installed"), createHash("sha256").update("{}").digest("hex"));
  writeFileSync(join(root, "scripts/check.ts"), 'const said: string = "checked"; console.log(said);');
  const start = () =>
    execFileSync(process.execPath, [join(root, "scripts/bootstrap/bootstrap.cjs"), "check"], { encoding: "utf8" });
  assert.equal(start(), "checked\n");
  assert.equal(start(), "checked\n");
});
