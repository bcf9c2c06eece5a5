import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { hasCode, silentLogger } from "#base";
import { tryLockFile } from "#linux";
import { Manifest } from "./install/manifest.ts";
import { uninstall } from "./uninstall.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "uninstall-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe("spiderpool-agent uninstall", () => {
  const run = () => uninstall(["--state-dir", join(root, "state"), "--run-dir", join(root, "run")], silentLogger);

  it("removes what agents wrote", () => {
    const path = join(root, "00-multus.conf");
    new Manifest(join(root, "state")).add(path, Buffer.from("ours"));
    writeFileSync(path, "ours");
    run();
    assert.deepEqual(readdirSync(root).sort(), ["run", "state"]);
    assert.deepEqual(readdirSync(join(root, "state")), []);
  });

  it("leaves alone what no agent wrote, on a node that never had one, however often it runs", () => {
    writeFileSync(join(root, "10-calico.conflist"), "theirs");
    for (let times = 0; times < 2; times++) {
      run();
      assert.deepEqual(readdirSync(root).sort(), ["10-calico.conflist", "run", "state"]);
      assert.deepEqual(readdirSync(join(root, "state")), []);
    }
  });

  it("refuses while an agent serves the node", () => {
    using _agent = tryLockFile(join(root, "run/owner"));
    assert.throws(run, (error) => hasCode(error, "AGENT_RUNNING") && /delete its DaemonSet/.test(error.message));
  });
});
