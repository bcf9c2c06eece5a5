import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { packImage } from "./oci.ts";
import { type Entry, encodeTar, type Tree } from "./tar.ts";

const tree = (entries: Readonly<Record<string, Entry>>): Tree => new Map(Object.entries(entries));
const file = (content: string, mode = 0o644): Entry => ({ kind: "file", mode, content: Buffer.from(content) });
const list = (tar: Buffer) =>
  execFileSync("tar", ["--list", "--verbose", "--numeric-owner"], { input: tar, encoding: "utf8" }).trim().split("\n");

describe("encodeTar()", () => {
  it("writes files, links and directories that tar reads, parents first, all of root and of no time", () => {
    const tar = encodeTar(tree({ "b/x": file("12345", 0o755), a: { kind: "link", target: "b/x" } }));
    assert.deepEqual(
      list(tar).map((line) => line.replace(/ +/g, " ")),
      [
        "lrwxrwxrwx 0/0 0 1970-01-01 00:00 a -> b/x",
        "drwxr-xr-x 0/0 0 1970-01-01 00:00 b/",
        "-rwxr-xr-x 0/0 5 1970-01-01 00:00 b/x",
      ],
    );
    const content = execFileSync("tar", ["--extract", "--to-stdout", "b/x"], { input: tar, encoding: "utf8" });
    assert.equal(content, "12345");
  });

  it("splits long paths, and refuses those that do not fit", () => {
    const long = `${"d".repeat(90)}/${"e".repeat(60)}/${"f".repeat(90)}`;
    assert.ok(list(encodeTar(tree({ [long]: file("") }))).some((line) => line.endsWith(long)));
    assert.throws(() => encodeTar(tree({ ["x".repeat(101)]: file("") })), RangeError);
  });

  it("gives the same bytes whatever the order of the entries", () => {
    const [one, other] = [tree({ a: file("1"), "b/c": file("2") }), tree({ "b/c": file("2"), a: file("1") })];
    assert.ok(encodeTar(one).equals(encodeTar(other)));
  });
});

describe("packImage()", () => {
  const config = { architecture: "amd64", created: "2026-01-01T00:00:00Z", entrypoint: ["/a"], env: [], labels: {} };
  const pack = () => packImage("r.example/a/b:v1", config, [{ name: "one", tree: tree({ a: file("1") }) }]);

  it("makes one file that is an OCI layout and a docker archive, each naming the image", () => {
    const { archive, digest } = pack();
    const read = (path: string) =>
      JSON.parse(execFileSync("tar", ["--extract", "--to-stdout", path], { input: archive, encoding: "utf8" }));
    const [manifest] = read("index.json").manifests;
    assert.deepEqual([manifest.digest, manifest.annotations["io.containerd.image.name"]], [digest, "r.example/a/b:v1"]);
    const [docker] = read("manifest.json");
    assert.deepEqual(docker.RepoTags, ["r.example/a/b:v1"]);
    const oci = read(`blobs/sha256/${digest.replace("sha256:", "")}`);
    assert.equal(docker.Layers[0], `blobs/sha256/${oci.layers[0].digest.replace("sha256:", "")}`);
    assert.equal(read(docker.Config).rootfs.diff_ids.length, 1);
    for (const name of list(archive).flatMap((line) => /blobs\/sha256\/([0-9a-f]{64})$/.exec(line)?.[1] ?? [])) {
      const content = execFileSync("tar", ["--extract", "--to-stdout", `blobs/sha256/${name}`], { input: archive });
      assert.match(execFileSync("sha256sum", { input: content, encoding: "utf8" }), new RegExp(`^${name}`));
    }
  });

  it("gives the same bytes twice", () => {
    assert.ok(pack().archive.equals(pack().archive));
  });
});
