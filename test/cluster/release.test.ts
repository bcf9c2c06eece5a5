import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { download, isReachable } from "./release.ts";

const program = Buffer.from("#!/bin/sh\necho Kubernetes v1.35.4\n");
let published = "";

describe("a download of the official release", () => {
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-release-"));
  const server = createServer((request, answer) => {
    const [, version, , , , file] = (request.url ?? "").split("/");
    if (version !== "v1.35.4") answer.writeHead(404).end();
    else answer.end(file?.endsWith(".sha256") ? published : program);
  });
  let from = "";
  before(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    from = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  const target = join(folder, "bin", "kubelet");
  const wanted = { program: "kubelet", version: "v1.35.4", target };

  it("is not kept when its checksum is another", async () => {
    published = "0".repeat(64);
    await assert.rejects(download({ ...wanted, from }), /has the SHA-256 [0-9a-f]{64}, published is '0{64}': not kept/);
    assert.equal(existsSync(target), false);
  });

  it("is an executable, whole, with nothing beside it", async () => {
    published = `${createHash("sha256").update(program).digest("hex")}  kubelet\n`;
    await download({ ...wanted, from });
    assert.deepEqual(readFileSync(target), program);
    assert.equal(statSync(target).mode & 0o777, 0o755);
    assert.deepEqual(readdirSync(join(folder, "bin")), ["kubelet"]);
  });

  it("that does not exist is refused with its address and status", async () => {
    await assert.rejects(download({ ...wanted, version: "v1.0.0", from }), /GET http.*v1\.0\.0.*kubelet: 404/);
  });

  it("is asked for only where the release can be reached", async () => {
    assert.equal(await isReachable("v1.35.4", from), true);
    assert.equal(await isReachable("v1.0.0", from), false);
    assert.equal(await isReachable("v1.35.4", "http://127.0.0.1:1"), false);
  });
});
