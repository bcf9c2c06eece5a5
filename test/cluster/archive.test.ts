import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { dockerArchive, tar } from "./archive.ts";

describe("an archive", () => {
  const bytes = tar([
    { path: "bin", directory: true },
    { path: "bin/tool", content: Buffer.from("x".repeat(513)), mode: 0o755 },
    { path: "bin/alias", link: "tool" },
  ]);

  it("is read by tar: kinds, modes, sizes, links, root as owner", () => {
    const listed = execFileSync("tar", ["tv", "--numeric-owner"], { input: bytes, encoding: "utf8" }).split("\n");
    assert.match(listed[0] ?? "", /^drwxr-xr-x 0\/0 +0 1970-01-01 .* bin\/$/);
    assert.match(listed[1] ?? "", /^-rwxr-xr-x 0\/0 +513 1970-01-01 .* bin\/tool$/);
    assert.match(listed[2] ?? "", /^lrwxrwxrwx|^lrw-r--r-- 0\/0 .* bin\/alias -> tool$/);
    assert.equal(execFileSync("tar", ["xO", "bin/tool"], { input: bytes }).length, 513);
  });

  it("refuses a path that does not fit, rather than cut it", () => {
    assert.throws(() => tar([{ path: "a".repeat(101), content: Buffer.alloc(0) }]), /at most 100 bytes/);
  });

  it("of an image names its one layer by its digest", () => {
    const image = dockerArchive({ name: "localhost/x:1", entrypoint: ["/x"] }, [
      { path: "x", content: Buffer.from("x") },
    ]);
    const read = (path: string) => execFileSync("tar", ["xO", path], { input: image });
    const [{ Config, RepoTags }] = JSON.parse(read("manifest.json").toString());
    assert.deepEqual(RepoTags, ["localhost/x:1"]);
    const layer = execFileSync("sha256sum", { input: read("layer.tar"), encoding: "utf8" }).split(" ")[0];
    assert.deepEqual(JSON.parse(read(Config).toString()).rootfs.diff_ids, [`sha256:${layer}`]);
  });
});
