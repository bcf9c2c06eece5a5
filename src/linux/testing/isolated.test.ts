import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { isolated } from "./isolated.ts";

if (isolated(import.meta.url)) {
  test("an isolated file sees an empty /run, loopback only and itself as a low process number", () => {
    assert.deepEqual(readdirSync("/run"), []);
    assert.deepEqual(Object.keys(networkInterfaces()), ["lo"]);
    assert.ok(process.pid < 10);
  });
}
