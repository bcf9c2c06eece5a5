import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const file = fileURLToPath(new URL("run-folder.cjs", import.meta.url));

describe("the folder of a command's temporary files", () => {
  let base: string;
  const started: ChildProcess[] = [];
  before(() => {
    base = mkdtempSync(join(tmpdir(), "run-folder-"));
  });
  after(() => {
    for (const child of started) child.kill("SIGKILL");
    rmSync(base, { recursive: true, force: true });
  });

  /** A command that has its folder and waits; the folder's path comes when it is there. */
  async function command(): Promise<{ readonly child: ChildProcess; readonly folder: string }> {
    const code = `const made = require(${JSON.stringify(file)}).makeRunFolder(${JSON.stringify(base)});
      console.log(made.path); process.stdin.resume().on("end", () => made.remove());`;
    const child = spawn(process.execPath, ["-e", code], { stdio: ["pipe", "pipe", "inherit"] });
    started.push(child);
    const [text] = await once(child.stdout, "data");
    return { child, folder: String(text).trim() };
  }

  async function end(child: ChildProcess, how: "well" | "killed"): Promise<void> {
    if (how === "killed") child.kill("SIGKILL");
    else child.stdin?.end();
    await once(child, "exit");
  }

  it("is deleted with the command, or by the next one if it was killed; a running command keeps its own", async () => {
    const [killed, running] = [await command(), await command()];
    mkdirSync(join(killed.folder, "ovs-left"));
    writeFileSync(join(running.folder, "mine"), "");
    await end(killed.child, "killed");
    assert.ok(existsSync(join(killed.folder, "ovs-left")));
    const next = await command();
    assert.ok(!existsSync(killed.folder));
    assert.ok(existsSync(join(running.folder, "mine")));
    await Promise.all([end(next.child, "well"), end(running.child, "well")]);
    assert.deepEqual(readdirSync(base), []);
  });

  it("of a process that outlives the command which started it is beside the command's", () => {
    const folder = join(base, "spiderpool-run-1-1-1");
    mkdirSync(folder);
    const code = `const made = require(${JSON.stringify(file)}).makeLastingFolder(); console.log(made.path); made.remove();`;
    const options = { encoding: "utf8", env: { ...process.env, TMPDIR: folder } } as const;
    const path = execFileSync(process.execPath, ["-e", code], options).trim();
    assert.equal(dirname(path), base);
    assert.ok(!existsSync(path));
    rmdirSync(folder);
  });

  it("differs from that of an earlier process with the same PID, and other folders stay", async () => {
    const running = await command();
    const name = basename(running.folder);
    const earlier = join(base, name.replace(/-[^-]+$/, "-1"));
    const elsewhere = join(base, name.replace(/^spiderpool-run-[^-]+/, "spiderpool-run-1"));
    for (const folder of [earlier, elsewhere, join(base, "spiderpool-run-notes")]) mkdirSync(folder);
    await end((await command()).child, "well");
    assert.ok(!existsSync(earlier));
    assert.ok(existsSync(elsewhere), "of a PID namespace that can't be looked into");
    assert.ok(existsSync(join(base, "spiderpool-run-notes")));
    await end(running.child, "well");
  });
});
