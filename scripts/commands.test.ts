import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs scripts/NAME.ts as `npm run NAME -- ARGV` does. */
function script(name: string, ...argv: readonly string[]): Promise<Ended> {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  return new Promise((resolve) =>
    execFile(process.execPath, [file, ...argv], (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    }),
  );
}

describe("the commands of npm", { concurrency: true }, () => {
  it("print their flags and values for --help", async () => {
    const { code, out } = await script("soak", "--help");
    assert.equal(code, 0);
    assert.match(out, /^ {2}--minutes N {2,}how long/m);
    assert.match(out, /^ {2}--faults {2,}kill agents/m);
  });

  it("refuse an unknown flag, and words if they take none", async () => {
    const [flag, word] = await Promise.all([script("check", "--bogus"), script("check", "bogus")]);
    assert.deepEqual([flag.code, word.code], [2, 2]);
    assert.match(flag.err, /^Unknown option '--bogus'\.\n\nnpm run check/);
    assert.match(word.err, /^'bogus' means nothing here/);
  });

  it("run no test, rather than all, if no path has the word", async () => {
    const { code, err } = await script("test", "no-test-is-called-so");
    assert.equal(code, 2);
    assert.match(err, /^No test file has one of these words in its path: no-test-is-called-so/);
  });

  it("refuse a number that is too large for them", async () => {
    const { code, err } = await script("lab", "--nodes", "99");
    assert.equal(code, 2);
    assert.match(err, /^--nodes must be a whole number from 1 to 64: found "99"/);
  });

  it("end with a sentence, without a stack, if the machine is the cause", async () => {
    const { code, err } = await script("simulate", "--replay", "/nonexistent/history");
    assert.equal(code, 1);
    assert.match(err, /^✘ ENOENT: no such file or directory, open '\/nonexistent\/history'\n$/);
  });
});
