import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Manifest } from "./manifest.ts";
import { installReference, missingReference } from "./reference.ts";

let folder: string;
let binDir: string;
let from: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reference-"));
  binDir = join(folder, "bin");
  from = join(folder, "image");
  for (const path of [binDir, from]) mkdirSync(path);
  for (const name of ["bridge", "host-local", "ovs"]) writeFileSync(join(from, name), `${name} 1`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const options = () => ({ binDir, from, names: ["multus", "ovs"], manifest: new Manifest(join(folder, "state")) });
const onNode = () =>
  Object.fromEntries(readdirSync(binDir).map((name) => [name, readFileSync(join(binDir, name), "utf8")]));

describe("installReference()", () => {
  it("puts what the node does not have, executable, and nothing in the place of the shim", () => {
    installReference(options());
    assert.deepEqual(onNode(), { bridge: "bridge 1", "host-local": "host-local 1" });
    assert.equal(statSync(join(binDir, "bridge")).mode & 0o777, 0o755);
  });

  it("leaves a plugin alone that the node has, or that somebody put in the place of ours", () => {
    writeFileSync(join(binDir, "bridge"), "the node's");
    installReference(options());
    writeFileSync(join(binDir, "host-local"), "a newer one");
    installReference(options());
    assert.deepEqual(onNode(), { bridge: "the node's", "host-local": "a newer one" });
  });

  it("brings its own up to date, and back", () => {
    installReference(options());
    writeFileSync(join(from, "bridge"), "bridge 2");
    rmSync(join(binDir, "host-local"));
    assert.deepEqual(missingReference(options()), ["host-local"]);
    installReference(options());
    assert.deepEqual(onNode(), { bridge: "bridge 2", "host-local": "host-local 1" });
    assert.deepEqual(missingReference(options()), []);
  });

  it("is undone by the removal of what we installed, which leaves what is somebody else's", () => {
    writeFileSync(join(binDir, "bridge"), "the node's");
    installReference(options());
    options().manifest.remove();
    assert.deepEqual(onNode(), { bridge: "the node's" });
  });
});
