import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { helm, read } from "../test/chart/render.ts";
import { airgapArchive, packageChart } from "./airgap.ts";
import { chartImage } from "./build.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-airgap-"));
after(() => rmSync(folder, { recursive: true, force: true }));

describe("the archive for clusters without internet", () => {
  const { reference } = chartImage();
  const archive = airgapArchive({ archive: Buffer.from("image"), reference, sbom: "{}" });
  execFileSync("tar", ["--extract", "--directory", folder], { input: archive });
  const path = (name: string) => join(folder, "spiderpool-airgap", name);

  it("has a chart that helm installs, and all images of that chart", async () => {
    const { text } = read(await helm("template", "spiderpool", path("spiderpool-chart.tgz"), "--include-crds"));
    const named = new Set([...text.matchAll(/ image: (\S+)$/gm)].map(([, image]) => image));
    assert.deepEqual([...named], readFileSync(path("images.txt"), "utf8").trim().split("\n"));
    assert.ok(text.includes("kind: CustomResourceDefinition"));
  });

  it("has a script that imports the image with the tools of the node", () => {
    const bin = mkdtempSync(join(folder, "bin-"));
    writeFileSync(join(bin, "ctr"), '#!/bin/sh\necho "ctr $*"\n', { mode: 0o755 });
    const load = (...argv: readonly string[]) =>
      execFileSync("/bin/sh", [path("load.sh"), ...argv], { encoding: "utf8", env: { PATH: `${bin}:/usr/bin:/bin` } });
    assert.equal(load(), "ctr -n k8s.io images import spiderpool-image.tar\n");
    writeFileSync(join(bin, "skopeo"), '#!/bin/sh\necho "skopeo $*"\n', { mode: 0o755 });
    const pushed = load("--push", "m.local/p").split("\n");
    assert.equal(
      pushed[0],
      `skopeo copy oci-archive:spiderpool-image.tar docker://m.local/p/${reference.replace(/^[^/]*\//, "")}`,
    );
  });

  it("is reproducible", () => {
    assert.ok(packageChart().equals(packageChart()));
  });
});
