import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { hostNetns } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { removeNodeRules } from "./node-rules.ts";

const ip = (...argv: readonly string[]) => execFileSync("ip", argv, { encoding: "utf8" });

if (isolated(import.meta.url)) {
  test("rules for empty tables of Pods go; those of tables with routes, and of others, stay", () => {
    ip("link", "set", "lo", "up");
    ip("rule", "add", "pref", "1000", "lookup", "500");
    ip("-6", "rule", "add", "pref", "1000", "lookup", "500");
    ip("rule", "add", "pref", "1000", "from", "10.0.0.1", "lookup", "501");
    ip("rule", "add", "pref", "1001", "lookup", "502");
    ip("rule", "add", "pref", "1000", "lookup", "503");
    ip("route", "add", "10.9.9.9", "dev", "lo", "table", "503");
    assert.deepEqual(removeNodeRules(hostNetns()), [500]);
    assert.deepEqual(removeNodeRules(hostNetns()), [], "a second time");
    const left = ip("rule")
      .match(/lookup 50\d/g)
      ?.sort();
    assert.deepEqual(left, ["lookup 501", "lookup 502", "lookup 503"]);
    assert.doesNotMatch(ip("-6", "rule"), /lookup 500/);
  });
}
