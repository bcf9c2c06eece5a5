import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { it } from "node:test";
import { findKubectl } from "./kubectl.ts";

it("a kubectl on PATH is found by its whole path, so that a link of that name can lead to it", async (t) => {
  const [old, folder] = ["old", "new"].map((name) => mkdtempSync(join(tmpdir(), `kubectl-${name}-`)));
  const { PATH, KUBECTL } = process.env;
  t.after(() => {
    process.env["PATH"] = PATH;
    if (KUBECTL !== undefined) process.env["KUBECTL"] = KUBECTL;
    for (const made of [old, folder]) rmSync(made ?? "", { recursive: true });
  });
  for (const [at, minor] of [
    [old, "29"],
    [folder, "34+"],
  ] as const) {
    const said = JSON.stringify({ clientVersion: { minor } });
    writeFileSync(join(at ?? "", "kubectl"), `#!/bin/sh\necho '${said}'\n`, { mode: 0o755 });
  }
  delete process.env["KUBECTL"];
  process.env["PATH"] = ["", "/nowhere", old, folder, PATH].join(delimiter);
  assert.equal(await findKubectl(), join(folder ?? "", "kubectl"));
});
