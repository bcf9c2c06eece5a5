import assert from "node:assert/strict";
import { test } from "node:test";
import { runInUml, whyNot } from "./boot.ts";

interface UmlSuite {
  /** Test files, from the repository's root. */
  readonly files: readonly string[];
  /** Suites that must be among what was run. */
  readonly tried: readonly string[];
}

/** A busy machine takes three times as long as a quiet one. */
const timeout = 560_000;

/** Runs test files in one boot of a user-mode kernel; each test there is a sub-test here. What is skipped there has failed. */
export function umlSuite(name: string, { files, tried }: UmlSuite): void {
  test(name, { timeout, skip: whyNot() ?? false }, async (t) => {
    const { outcomes, console, ended } = await runInUml(files, { signal: t.signal });
    for (const { path, isSuite, passed, durationMs, skipped, error } of outcomes) {
      if (isSuite && passed && skipped === undefined) continue;
      await t.test(`${path.join(" › ")} (${Math.round(durationMs)} ms there)`, () => {
        assert.ok(passed, error ?? "it failed");
        assert.equal(skipped, undefined, "a feature that this kernel shall have was not tried");
      });
    }
    assert.ok(ended, `the tests did not come to their end:\n${console.slice(-4_000)}`);
    const found = new Set(outcomes.map(({ path }) => path[0]));
    for (const suite of tried) assert.ok(found.has(suite), `${suite} was not tried`);
  });
}
