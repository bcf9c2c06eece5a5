import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

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

/** Codes of failures whose sentence is somebody else's: a foreign plugin's, a request's, or that of the text that is wrong. */
const withoutSentence = ["CNI_LIMITED_CONNECTIVITY", "HTTP_REFUSED", "IP_PARSE", "UNKNOWN"];

/** The sentences below each code. */
function quotations(page: string): ReadonlyMap<string, readonly string[]> {
  const sections = page.split(/^#### /m).slice(1);
  return new Map(
    sections.map((text) => [
      /^\S+/.exec(text)?.[0] ?? "",
      Array.from(text.matchAll(/^- `(.+)`$/gm), ([, sentence = ""]) => sentence),
    ]),
  );
}

function sourceTexts(): readonly string[] {
  const files = globSync(["src/**/*.ts", "shim/*.c"], { cwd: root }).filter((file) => !file.endsWith(".test.ts"));
  return files.map((file) => readFileSync(join(root, file), "utf8").replaceAll('\\"', '"'));
}

describe("docs/reference/errors.md", () => {
  const page = readFileSync(join(root, "docs/reference/errors.md"), "utf8");
  const anchors = Array.from(page.matchAll(/^#### ([A-Z0-9_]+)$/gm), ([, code = ""]) => code);

  it("has an anchor for every code in the sources", () => {
    const missing = [...codesInSources()].filter(([code]) => !anchors.includes(code));
    assert.deepEqual(missing, [], "add `#### CODE` with what it means and what to do");
  });

  it("quotes sentences that the sources have, for each code that has any of its own", () => {
    const sources = sourceTexts();
    const made = (sentence: string) => {
      // What varies is left out of the quotation, and is code in the source.
      const parts = sentence
        .split("…")
        .filter((part) => part !== "")
        .map((part) => RegExp.escape(part.trim()));
      const pattern = new RegExp(parts.join("[^;]{0,200}?"));
      return sources.some((text) => pattern.test(text));
    };
    const quoted = quotations(page);
    const unmade = [...quoted].flatMap(([code, all]) => all.filter((one) => !made(one)).map((one) => [code, one]));
    assert.deepEqual(unmade, [], "correct the sentence under `#### CODE`");
    const silent = anchors.filter((code) => (quoted.get(code) ?? []).length === 0);
    assert.deepEqual(silent.sort(), withoutSentence, 'add "- `sentence`" below `#### CODE`');
  });

  it("quotes the sentence of every failure that explain is tested with", () => {
    const quoted = quotations(page);
    const cases: readonly { code: string; sentence: string }[] = parse(
      readFileSync(join(root, "test/explain/cases.yaml"), "utf8"),
    );
    const unquoted = cases.filter(({ code, sentence }) => {
      const patterns = (quoted.get(code) ?? []).map((one) => one.split("…").map(RegExp.escape).join(".*"));
      return code !== "UNKNOWN" && !patterns.some((pattern) => new RegExp(pattern).test(sentence));
    });
    assert.deepEqual(
      unquoted.map(({ code, sentence }) => [code, sentence]),
      [],
    );
  });

  it("or the page about collection has every reason of an Event in the sources", () => {
    const pages = page + readFileSync(join(root, "docs/reference/collection.md"), "utf8");
    const reasons = sourceTexts().flatMap((text) =>
      Array.from(text.matchAll(/type: "(?:Warning|Normal)",\s+reason: "(\w+)"/g), ([, reason = ""]) => reason),
    );
    assert.ok(reasons.length > 5, `${reasons.length} were found`);
    assert.deepEqual(
      reasons.filter((reason) => !pages.includes(`\`${reason}\``)),
      [],
    );
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
