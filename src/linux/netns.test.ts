import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { hasCode } from "#base";
import { createNetns, deleteNetns, hostNetns, openNetns, readNetnsId, sameNetns } from "./netns.ts";
import { isolated } from "./testing/isolated.ts";

const own = () => readlinkSync("/proc/thread-self/ns/net");

if (isolated(import.meta.url)) {
  describe("a network namespace", () => {
    test("has the identity of its file, whatever path leads there", () => {
      using made = createNetns("/run/netns/a");
      using other = createNetns("/run/netns/b");
      using again = openNetns("/run/netns/a");
      assert.ok(sameNetns(made.id, again.id));
      assert.ok(!sameNetns(made.id, other.id));
      assert.ok(!sameNetns(made.id, hostNetns().id));
      assert.deepEqual(readNetnsId("/run/netns/a"), made.id);
      assert.equal(made.enter(own), `net:[${made.id.inode}]`);
    });

    test("is left again after success, after an error, and from one inside the other", () => {
      using a = createNetns("/run/netns/c");
      using b = createNetns("/run/netns/d");
      const before = own();
      const seen = a.enter(() => [own(), b.enter(own), own()]);
      assert.deepEqual(seen, [`net:[${a.id.inode}]`, `net:[${b.id.inode}]`, `net:[${a.id.inode}]`]);
      assert.throws(
        () =>
          a.enter(() => {
            throw new Error("inside");
          }),
        /inside/,
      );
      assert.equal(own(), before);
    });

    test("is refused by name where the path is a file, a folder, another kind of namespace, or absent", () => {
      writeFileSync("/run/file", "");
      mkdirSync("/run/folder");
      for (const path of ["/run/file", "/run/folder", "/dev/null", "/proc/self/ns/mnt"]) {
        assert.throws(
          () => openNetns(path),
          (error) => hasCode(error, "NOT_A_NETNS") && error.message.includes(path),
          path,
        );
        assert.throws(() => readNetnsId(path), { code: "NOT_A_NETNS" });
      }
      assert.throws(() => openNetns("/run/absent"), {
        code: "ENOENT",
        message: "open network namespace /run/absent: No such file or directory",
      });
      assert.equal(readNetnsId("/run/absent"), undefined);
    });

    test("lives on while it is open, although its path is deleted, and deleting twice is success", () => {
      using made = createNetns("/run/netns/e");
      deleteNetns("/run/netns/e");
      deleteNetns("/run/netns/e");
      assert.equal(existsSync("/run/netns/e"), false);
      assert.deepEqual(
        made.rtnl.links().map(({ name, up }) => [name, up]),
        [["lo", true]],
      );
    });

    test("is not made where the path is taken", () => {
      writeFileSync("/run/taken", "");
      assert.throws(() => createNetns("/run/taken"), { code: "EEXIST" });
    });

    test("cannot be entered after it was disposed, and leaves no descriptor open", () => {
      const open = () => readdirSync("/proc/self/fd").length;
      hostNetns();
      const before = open();
      const made = createNetns("/run/netns/f");
      made[Symbol.dispose]();
      made[Symbol.dispose]();
      assert.equal(open(), before);
      assert.throws(() => made.enter(() => 1), { code: "NETNS_CLOSED" });
    });
  });
}
