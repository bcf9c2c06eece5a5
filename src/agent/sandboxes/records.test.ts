import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { hasCode } from "#base";
import { bootId, readNetnsId } from "#linux";
import { isSandboxThere, Records, type SandboxRecord } from "./records.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "records-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function record(containerId: string, complete = false): SandboxRecord {
  return {
    format: 1,
    containerId,
    ifName: "eth0",
    network: "multus-cni-network",
    netns: { path: "/var/run/netns/x", device: "4", inode: "4026532000" },
    bootId: "boot-1",
    pod: { namespace: "default", name: "a", uid: "uid-a" },
    networks: [],
    complete,
  };
}

describe("isSandboxThere()", () => {
  it("is true only for the very namespace, in this boot", () => {
    const path = "/proc/self/ns/net";
    const id = readNetnsId(path) ?? assert.fail();
    const netns = { path, device: `${id.device}`, inode: `${id.inode}` };
    const there = { ...record("c1"), netns, bootId: bootId() };
    assert.ok(isSandboxThere(there));
    const others = [
      { ...there, bootId: "another-boot" },
      { ...there, netns: { ...netns, inode: `${id.inode + 1n}` } },
      { ...there, netns: { ...netns, device: `${id.device + 1n}` } },
      { ...there, netns: { ...netns, path: join(folder, "none") } },
      { ...there, netns: { ...netns, path: folder } },
    ];
    for (const other of others) assert.equal(isSandboxThere(other), false);
  });
});

describe("Records", () => {
  it("reads what was written, in this process and in the next", () => {
    const records = new Records(folder);
    records.write(record("c1"));
    records.write(record("c1", true));
    records.write(record("c2"));
    for (const each of [records, new Records(folder)]) {
      assert.deepEqual(each.read({ containerId: "c1", ifName: "eth0" }), record("c1", true));
      assert.deepEqual(each.read({ containerId: "c1", ifName: "net1" }), undefined);
      assert.deepEqual(
        each
          .list()
          .map(({ containerId }) => containerId)
          .sort(),
        ["c1", "c2"],
      );
    }
  });

  it("replaces by rename, readable by root only", () => {
    const records = new Records(folder);
    records.write(record("c1"));
    const path = join(folder, "c1@eth0.json");
    const { ino, mode } = statSync(path);
    records.write(record("c1", true));
    assert.notEqual(statSync(path).ino, ino);
    assert.equal(mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(folder), ["c1@eth0.json"]);
  });

  it("takes torn, empty and foreign files for none", () => {
    const whole = JSON.stringify(record("c1"));
    const files = [whole.slice(0, 60), "", "null", "[]", '{"format":2,"networks":[]}', '{"format":1,"networks":5}'];
    for (const [at, text] of files.entries()) writeFileSync(join(folder, `f${at}@eth0.json`), text);
    writeFileSync(join(folder, "c1@eth0.json.new"), whole);
    assert.deepEqual(new Records(folder).list(), []);
  });

  it("finds in one folder what was deleted or torn in another, and puts it back", () => {
    const [run, disk] = [join(folder, "run"), join(folder, "disk")];
    const records = new Records(run, disk);
    for (const id of ["c1", "c2", "c3", "c4"]) records.write(record(id, true));
    records.remove({ containerId: "c4", ifName: "eth0" });
    rmSync(join(disk, "c1@eth0.json"));
    writeFileSync(join(disk, "c2@eth0.json"), "{");
    rmSync(join(run, "c3@eth0.json"));
    const ids = (list: Records) => list.list().map(({ containerId }) => containerId);
    assert.deepEqual(ids(new Records(run, disk)).sort(), ["c1", "c2", "c3"]);
    for (const one of [run, disk]) assert.deepEqual(ids(new Records(one)).sort(), ["c1", "c2", "c3"]);
  });

  it("removes a record, once or twice", () => {
    const records = new Records(folder);
    records.write(record("c1"));
    records.remove({ containerId: "c1", ifName: "eth0" });
    records.remove({ containerId: "c1", ifName: "eth0" });
    assert.deepEqual([records.list(), readdirSync(folder)], [[], []]);
  });

  it("keeps the former record, and nothing else, where the file system is full", () => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]);
    try {
      const records = new Records(folder);
      records.write(record("c1"));
      const full = () => {
        writeFileSync(join(folder, "fill"), "");
        assert.throws(() => writeFileSync(join(folder, "fill"), Buffer.alloc(1 << 20)), { code: "ENOSPC" });
      };
      full();
      for (const container of ["c1", "c2"]) {
        assert.throws(
          () => records.write(record(container, true)),
          (error) => hasCode(error, "STATE_NOT_WRITTEN"),
        );
      }
      assert.deepEqual(readdirSync(folder).sort(), ["c1@eth0.json", "fill"]);
      assert.deepEqual(new Records(folder).list(), [record("c1")]);
      rmSync(join(folder, "fill"));
      records.write(record("c1", true));
      assert.deepEqual(new Records(folder).list(), [record("c1", true)]);
    } finally {
      execFileSync("umount", [folder]);
    }
  });

  it("removes what an agent left that was killed as it replaced a record", () => {
    new Records(folder).write(record("c1"));
    writeFileSync(join(folder, "c1@eth0.json.new"), "{");
    assert.deepEqual(new Records(folder).list(), [record("c1")]);
    assert.deepEqual(readdirSync(folder), ["c1@eth0.json"]);
  });

  it("refuses a record that is too large, and keeps the former", () => {
    const records = new Records(folder);
    records.write(record("c1"));
    const pod = { namespace: "default", name: "a".repeat(2 ** 20), uid: "" };
    assert.throws(
      () => records.write({ ...record("c1"), pod }),
      (error) => hasCode(error, "RECORD_TOO_LARGE"),
    );
    assert.deepEqual(records.read({ containerId: "c1", ifName: "eth0" }), record("c1"));
  });
});
