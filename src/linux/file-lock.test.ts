import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { never, systemClock } from "#base";
import { lockFile, tryLockFile } from "./file-lock.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lock-"));
  path = join(folder, "run/owner");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a file's lock", () => {
  it("is had by one at a time, and by the next as soon as it falls", async () => {
    const first = tryLockFile(path);
    assert.ok(first);
    assert.equal(tryLockFile(path), undefined);
    const next = lockFile(path, { clock: systemClock, signal: never });
    first[Symbol.dispose]();
    using _second = await next;
    assert.equal(tryLockFile(path), undefined);
  });

  it("falls with the process that has it, however that ends", async () => {
    const module = new URL("./file-lock.ts", import.meta.url).href;
    const script = `import { tryLockFile } from ${JSON.stringify(module)};
      globalThis.kept = tryLockFile(${JSON.stringify(path)}); console.log(Boolean(kept)); setInterval(() => {}, 1e6);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: import.meta.dirname,
    });
    assert.equal(String((await once(holder.stdout, "data"))[0]).trim(), "true");
    assert.equal(tryLockFile(path), undefined);
    holder.kill("SIGKILL");
    using lock = await lockFile(path, { clock: systemClock, signal: never });
    assert.ok(lock);
  });

  it("is no longer waited for when the signal aborts", async () => {
    using _lock = tryLockFile(path);
    const stop = new AbortController();
    const waiting = lockFile(path, { clock: systemClock, signal: stop.signal });
    stop.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
  });
});
