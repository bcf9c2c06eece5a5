import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { findBinaries } from "./binaries.ts";

/** A Go that notes what it builds. */
const go = `#!/bin/sh
[ "$1" = build ] || exit 0
while [ "$1" != -o ]; do shift; done
echo "$3" >>"$BUILDS"
echo built >"$2"
`;

describe("findBinaries()", () => {
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-binaries-"));
  after(() => rmSync(folder, { recursive: true }));

  it("builds what is nowhere, and finds it in the cache the next time", async () => {
    const [bin, builds] = [join(folder, "bin"), join(folder, "builds")];
    mkdirSync(bin);
    for (const program of ["env", "nice"]) symlinkSync(`/usr/bin/${program}`, join(bin, program));
    writeFileSync(join(bin, "go"), go, { mode: 0o755 });
    delete process.env["KUBE_BIN_DIR"];
    Object.assign(process.env, { PATH: bin, SPIDERPOOL_CACHE: join(folder, "cache"), BUILDS: builds });
    const said: string[] = [];
    const find = async () => (await findBinaries({ programs: [], say: (line) => said.push(line) }))("etcd");
    const etcd = await find();
    assert.equal(readFileSync(etcd, "utf8"), "built\n");
    assert.equal(await find(), etcd);
    assert.equal(readFileSync(builds, "utf8"), ".\n", "once");
    assert.deepEqual(said, ["building etcd v3.6.16 from its Go module"]);
  });

  it("says what to do where it cannot be built, and where there is no Go to build it", async () => {
    const [bin, go] = [join(folder, "bin"), join(folder, "bin", "go")];
    Object.assign(process.env, { PATH: bin, SPIDERPOOL_CACHE: join(folder, "empty") });
    const find = () => findBinaries({ programs: [], say: () => {} });
    writeFileSync(go, "#!/bin/sh\n[ $1 = version ] || { echo no route to the proxy >&2; exit 1; }\n");
    await assert.rejects(find, {
      message:
        /^etcd v3\.6\.16 cannot be built from Go modules \(found neither in KUBE_BIN_DIR nor on PATH nor in the cache\): .*no route to the proxy\nName a folder .* in KUBE_BIN_DIR$/s,
    });
    rmSync(go);
    await assert.rejects(find, {
      message: /^no Go to build Kubernetes with: install Go 1\.25 or later, or name a folder/,
    });
  });
});
