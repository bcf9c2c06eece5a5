import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { buildShim } from "./build.ts";
import { fuzzShim, hostileAnswer, randomFrom } from "./fuzz.ts";

const folder = mkdtempSync(join(tmpdir(), "shim-variants-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Another one each day; a failure names it. */
const seed = Math.floor(Date.now() / 86_400_000);
const noValgrind = spawnSync("valgrind", ["--version"]).error === undefined ? false : "valgrind is not installed";

describe("the shim against hostile answers", { timeout: 300_000 }, () => {
  it("the same seed makes the same answers", () => {
    const answers = (from: number) => {
      const random = randomFrom(from);
      return Array.from({ length: 50 }, () => Buffer.from(hostileAnswer(random)).toString("hex"));
    };
    assert.deepEqual(answers(7), answers(7));
    assert.notDeepEqual(answers(7), answers(8));
  });

  it("has no memory error and no undefined behaviour in reading 30,000 of them, of which it takes some", async () => {
    const harness = await buildShim(folder, "harness");
    const { status, stdout, stderr } = spawnSync(harness, [String(seed), "30000"], { encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""]);
    assert.ok(Number(stdout) > 3_000 && Number(stdout) < 27_000, stdout);
  });

  it("ends by itself at 200 of them as it is installed, and at 100 under gcc's sanitizers", async () => {
    assert.deepEqual(await fuzzShim({ shim: await buildShim(folder), frames: 200, seed }), []);
    assert.deepEqual(await fuzzShim({ shim: await buildShim(folder, "sanitized"), frames: 100, seed }), []);
  });

  it("is tried by a command that comes to its end", () => {
    const file = fileURLToPath(new URL("../scripts/fuzz.ts", import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [file, "--frames=20000", "--seed=7"], { encoding: "utf8" });
    assert.deepEqual([status, /20 answers, 0 faults\n$/.test(stdout)], [0, true], stdout);
  });

  it("passes its own tests under gcc's sanitizers", async () => {
    const shim = await buildShim(folder, "sanitized");
    const { NODE_TEST_CONTEXT: _outer, ...env } = process.env;
    const file = fileURLToPath(new URL("shim.test.ts", import.meta.url));
    const options = { encoding: "utf8", env: { ...env, SPIDERPOOL_TEST_SHIM: shim } } as const;
    const { status, stdout } = spawnSync(process.execPath, ["--test", "--test-reporter=spec", file], options);
    assert.equal(status, 0, stdout);
  });

  it("reads and writes only its own memory at 10 of them, by valgrind", { skip: noValgrind }, async () => {
    const wrapper = ["valgrind", "--quiet", "--error-exitcode=99", "--trace-children=no"];
    const shim = await buildShim(folder, "debug");
    assert.deepEqual(await fuzzShim({ shim, frames: 10, seed, wrapper, parallel: 2 }), []);
  });
});
