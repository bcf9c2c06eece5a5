import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Names in capitals that are variables of an environment, not codes. */
const variables =
  /^(SPIDERPOOL_|K8S_|MULTUS_CLUSTER_NETWORK|CNI_(ARGS|COMMAND|CONTAINERID|IFNAME|NETNS|NETNS_OVERRIDE|PATH|SPIDERPOOL_CALL)$)/;

/** The codes that the sources have, with the files of each. */
function codesInSources(): ReadonlyMap<string, readonly string[]> {
  const files = globSync("src/**/*.ts", { cwd: root }).filter((file) => !/\.test\.ts$|\/testing\//.test(file));
  const found = files.flatMap((file) =>
    Array.from(
      readFileSync(join(root, file), "utf8").matchAll(/"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/g),
      ([, code = ""]) => ({ file, code }),
    ),
  );
  const codes = Map.groupBy(
    found.filter(({ code }) => !variables.test(code)),
    ({ code }) => code,
  );
  return new Map(Array.from(codes, ([code, uses]) => [code, [...new Set(uses.map(({ file }) => file))]]));
}

describe("docs/reference/errors.md", () => {
  const page = readFileSync(join(root, "docs/reference/errors.md"), "utf8");
  const anchors = Array.from(page.matchAll(/^#### ([A-Z0-9_]+)$/gm), ([, code = ""]) => code);

  it("has an anchor for every code in the sources", () => {
    const missing = [...codesInSources()].filter(([code]) => !anchors.includes(code));
    assert.deepEqual(missing, [], "add `#### CODE` with what it means and what to do");
  });

  it("has no anchor twice, and none for a code that is no more", () => {
    assert.deepEqual(
      anchors.filter((code, at) => anchors.indexOf(code) !== at),
      [],
    );
    const known = codesInSources();
    // What no error has is told by that name.
    assert.deepEqual(
      anchors.filter((code) => !known.has(code) && code !== "UNKNOWN"),
      [],
    );
  });
});
