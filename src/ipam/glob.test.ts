import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileGlob, isGlob } from "./glob.ts";

function matches(pattern: string, name: string): boolean | undefined {
  return compileGlob(pattern)?.(name);
}

describe("compileGlob()", () => {
  it("matches as shell patterns do", () => {
    const table: readonly [string, string, boolean][] = [
      ["*", "", true],
      ["*", "anything", true],
      ["web-*", "web-v4", true],
      ["web-*", "db-v4", false],
      ["*-v?", "web-v4", true],
      ["*-v?", "web-v", false],
      ["a*b*c", "a-b-b-c", true],
      ["a*b*c", "a-b-b-d", false],
      ["pool-[abc]", "pool-b", true],
      ["pool-[a-c]", "pool-d", false],
      ["pool-[^a-c]", "pool-d", true],
      ["pool-[a-cx]", "pool-x", true],
      ["pool-\\*", "pool-*", true],
      ["pool-\\*", "pool-x", false],
      ["[\\]a]", "]", true],
    ];
    for (const [pattern, name, want] of table) assert.equal(matches(pattern, name), want, `${pattern} ${name}`);
  });

  it("has no answer for a malformed pattern", () => {
    for (const pattern of ["[", "[]", "[a", "[a-]", "[-a]", "a\\", "[^]", "[\\"])
      assert.equal(compileGlob(pattern), undefined, pattern);
  });

  it("agrees with a regular expression on runs and single characters", () => {
    const text = (chars: string) => fc.string({ unit: fc.constantFrom(...chars), maxLength: 12 });
    fc.assert(
      fc.property(text("ab*?"), text("ab"), (pattern, name) => {
        const regexp = new RegExp(`^${pattern.replaceAll(/\*+/g, ".*").replaceAll("?", ".")}$`);
        assert.equal(matches(pattern, name), regexp.test(name));
      }),
      { numRuns: 2000 },
    );
  });

  it("takes no longer than pattern × name, where naive matching would never end", () => {
    assert.equal(matches(`${"a*".repeat(2000)}b`, "a".repeat(10_000)), false);
  });
});

describe("isGlob()", () => {
  it("tells patterns from names", () => {
    assert.deepEqual(["a*", "a?", "[a]", "]a["].map(isGlob), [true, true, true, true]);
    assert.deepEqual(["a", "a[", "a]", "a\\"].map(isGlob), [false, false, false, false]);
  });
});
