import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { shimSettingsFile } from "#cni";
import { executableNames, installExecutables, wrongExecutables } from "./executables.ts";
import { Manifest } from "./manifest.ts";

let folder: string;
let binDir: string;
let shim: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "install-"));
  binDir = join(folder, "opt/cni/bin");
  shim = join(folder, "shim");
  writeFileSync(shim, "shim 1");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const options = (names: readonly string[]) => {
  const manifest = new Manifest(join(folder, "state"));
  return { binDir, shim, socket: "/run/cni.sock", names, manifest };
};
const install = (names: readonly string[] = executableNames) => installExecutables(options(names));
const modeOf = (path: string) => statSync(path).mode & 0o777;

describe("installExecutables()", () => {
  it("puts the shim under every name, executable, beside the settings that name the socket", () => {
    install();
    for (const name of executableNames) {
      assert.equal(readFileSync(join(binDir, name), "utf8"), "shim 1");
      assert.equal(modeOf(join(binDir, name)), 0o755);
    }
    assert.match(readFileSync(join(binDir, shimSettingsFile), "utf8"), /\/run\/cni\.sock/);
  });

  it("touches nothing when all is right already", () => {
    install();
    const before = readdirSync(binDir).map((name) => [name, statSync(join(binDir, name)).ino]);
    install();
    assert.deepEqual(
      readdirSync(binDir).map((name) => [name, statSync(join(binDir, name)).ino]),
      before,
    );
  });

  it("replaces all of them when the shim changed, and not in place", () => {
    install();
    const running = statSync(join(binDir, "ovs")).ino;
    writeFileSync(shim, "shim 2");
    install();
    for (const name of executableNames) assert.equal(readFileSync(join(binDir, name), "utf8"), "shim 2");
    assert.notEqual(statSync(join(binDir, "ovs")).ino, running);
  });

  it("takes over a name that another system's file has, and keeps all other files", () => {
    install();
    rmSync(join(binDir, "multus"));
    writeFileSync(join(binDir, "multus"), "another");
    writeFileSync(join(binDir, "bridge"), "foreign");
    install();
    assert.equal(readFileSync(join(binDir, "multus"), "utf8"), "shim 1");
    assert.equal(readFileSync(join(binDir, "bridge"), "utf8"), "foreign");
  });

  it("restores the executable bit and leaves no temporary files", () => {
    install();
    chmodSync(join(binDir, "ovs"), 0o644);
    install();
    assert.equal(modeOf(join(binDir, "ovs")), 0o755);
    assert.deepEqual(
      readdirSync(binDir).filter((name) => name.endsWith(".new")),
      [],
    );
  });

  it("gives the bits that the umask would take away", () => {
    const before = process.umask(0o077);
    try {
      install();
    } finally {
      process.umask(before);
    }
    assert.equal(modeOf(join(binDir, "spiderpool")), 0o755);
  });

  it("leaves a plugin alone that is not to be ours", () => {
    install(["multus"]);
    writeFileSync(join(binDir, "ovs"), "somebody's");
    install(["multus"]);
    assert.equal(readFileSync(join(binDir, "ovs"), "utf8"), "somebody's");
    assert.equal(existsSync(join(binDir, "coordinator")), false);
  });

  it("says which file is missing and changes nothing where there is no shim", () => {
    rmSync(shim);
    assert.throws(() => install(), /there is no plugin executable .*shim/);
    assert.equal(existsSync(join(binDir, "ovs")), false);
  });
});

describe("wrongExecutables()", () => {
  it("names what is missing, replaced or no longer executable, and nothing where all is right", () => {
    const wrong = () => wrongExecutables(options(executableNames));
    install();
    assert.deepEqual(wrong(), []);
    rmSync(join(binDir, "ovs"));
    writeFileSync(join(binDir, "multus.new"), "another");
    renameSync(join(binDir, "multus.new"), join(binDir, "multus"));
    assert.deepEqual(wrong(), ["multus", "ovs"]);
    install();
    chmodSync(join(binDir, "spiderpool"), 0o644);
    assert.deepEqual(wrong(), ["the shim itself"]);
    install();
    assert.deepEqual(wrong(), []);
  });
});
