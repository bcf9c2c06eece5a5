// The image of the product, built and run: without a container engine, in a read-only root of its own.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { parse } from "yaml";
import { bundledVariable } from "../scripts/common/build.ts";
import { chartFolder } from "../scripts/generate/chart-values.ts";
import { chartImage, imageConfig, layersOf, writeRootfs } from "./build.ts";
import { debianBase } from "./debian.ts";
import { sbom } from "./sbom.ts";

// The same bytes twice: bundles are a part of that.
delete process.env[bundledVariable];
const root = mkdtempSync(join(tmpdir(), "spiderpool-image-"));
after(() => rmSync(root, { recursive: true, force: true }));
await writeRootfs(root);

/** Runs a program with the image as its read-only root, and nothing of ours in its environment. */
function inImage(...argv: readonly string[]) {
  const readOnly = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec chroot "$0" "$@"';
  const isolated = ["--mount", "--propagation", "private", "sh", "-c", readOnly, root, ...argv];
  return spawnSync("unshare", isolated, { encoding: "utf8", env: { PATH: process.env["PATH"] } });
}

describe("the image", () => {
  it("runs every program in a read-only root, without a shell", () => {
    for (const name of ["spiderpool-agent", "spiderpool-controller", "spiderpool-init", "spiderpoolctl"]) {
      const { status, stdout, stderr } = inImage(`/usr/bin/${name}`, "--help");
      assert.deepEqual([status, stderr], [0, ""], name);
      assert.match(stdout, /usage/i);
    }
    assert.notEqual(inImage("/bin/sh", "-c", "true").status, 0);
  });

  it("has the programs, shim and kinds that the chart names", () => {
    const values = parse(readFileSync(new URL("values.yaml", chartFolder), "utf8"));
    for (const part of ["spiderpoolAgent", "spiderpoolController", "spiderpoolInit"]) {
      assert.equal(inImage(values[part].binName, "--help").status, 0, part);
    }
    const call = { input: "{}", encoding: "utf8", env: { CNI_COMMAND: "VERSION" } } as const;
    assert.match(spawnSync(join(root, "usr/lib/spiderpool/spiderpool-shim"), call).stdout, /supportedVersions/);
    assert.equal(
      execFileSync("ls", [join(root, "usr/share/spiderpool/crds")], { encoding: "utf8" }).split("\n").length,
      10,
    );
  });

  it("has the reference plugins for nodes, each of which knows the CNI protocol, and their licence", () => {
    const plugins = join(root, "usr/lib/spiderpool/cni");
    const names = readdirSync(plugins);
    for (const name of ["bridge", "host-local", "loopback", "portmap", "tuning"]) assert.ok(names.includes(name), name);
    for (const name of names) {
      const call = { input: "{}", encoding: "utf8", env: { CNI_COMMAND: "VERSION" } } as const;
      assert.match(spawnSync(join(plugins, name), call).stdout, /supportedVersions/, name);
    }
    const licence = join(root, "usr/share/doc/containernetworking-plugins/copyright");
    assert.match(readFileSync(licence, "utf8"), /Apache-2\.0/);
  });

  it("is reproducible", async () => {
    const base = await debianBase();
    const build = async () => layersOf(base, await sbom(base, { version: "0", created: "2026-01-01T00:00:00Z" }));
    const [one, other] = [await build(), await build()];
    for (const [index, { tree }] of one.entries()) {
      const again = other[index]?.tree ?? assert.fail();
      assert.deepEqual([...again.keys()].sort(), [...tree.keys()].sort());
      for (const [path, entry] of tree) {
        const same = again.get(path);
        if (entry.kind !== "file" || same?.kind !== "file") assert.deepEqual(same, entry, path);
        else assert.ok(same.mode === entry.mode && same.content.equals(entry.content), path);
      }
    }
  });

  it("has a bill of materials with Node, the libraries and the packages inside the bundles", () => {
    const bill = JSON.parse(readFileSync(join(root, "usr/share/spiderpool/sbom.spdx.json"), "utf8"));
    const names: readonly string[] = bill.packages.map(({ name }: { readonly name: string }) => name);
    for (const name of [
      "spiderpool",
      `node-linux-${process.arch}`,
      "libc6",
      "containernetworking-plugins",
      "koffi",
      "pino",
      "yaml",
    ]) {
      assert.ok(names.includes(name), `${name} in ${names}`);
    }
    assert.equal(new Set(bill.packages.map(({ SPDXID }: { readonly SPDXID: string }) => SPDXID)).size, names.length);
  });

  it("agrees with the Containerfile", () => {
    const text = readFileSync(new URL("Containerfile", import.meta.url), "utf8").replaceAll("\\\n", " ");
    const { entrypoint, env, labels } = imageConfig(chartImage().version);
    assert.deepEqual(JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? ""), entrypoint);
    assert.deepEqual(
      [...text.matchAll(/^ENV (.*)$/gm)].map(([, line]) => line),
      env,
    );
    const found = [...(/^LABEL (.*)$/m.exec(text)?.[1]?.matchAll(/(\S+?)="(.*?)"/g) ?? [])].map(([, key, value]) => [
      key,
      value,
    ]);
    assert.deepEqual(Object.fromEntries(found), labels);
  });
});
