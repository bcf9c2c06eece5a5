import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, it } from "node:test";
import { elsewhere, serveProbes } from "./api.ts";

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : assert.fail();
}

describe("serveProbes()", () => {
  it("tells the kubelet that the agent lives, and when it serves, on loopback of both families", async () => {
    const port = await freePort();
    let isServing = false;
    const more = elsewhere(["POST /v1/ipam/ip"], "it is served on the agent's socket");
    const server = await serveProbes(port, () => isServing, more);
    const ask = async (path: string, host = "127.0.0.1", base = "/runtime") => {
      const response = await fetch(`http://${host}:${port}${base}/${path}`);
      return [response.status, await response.text()];
    };
    const waits = [500, '"the objects of the cluster are not read yet"'];
    assert.deepEqual(await ask("startup"), waits);
    assert.deepEqual(await ask("readiness", "[::1]"), waits);
    assert.deepEqual(await ask("liveness"), [200, ""]);
    isServing = true;
    for (const path of ["startup", "readiness", "liveness"]) {
      assert.deepEqual(await ask(path), [200, ""], path);
      assert.deepEqual(await ask(path, "127.0.0.1", "/v1/runtime"), [200, ""], `/v1 ${path}`);
    }
    const ipam = await fetch(`http://127.0.0.1:${port}/v1/ipam/ip`, { method: "POST" });
    const sentence = "not implemented here: it is served on the agent's socket";
    assert.deepEqual([ipam.status, await ipam.json()], [501, sentence]);
    assert.equal((await ask("metrics"))[0], 404);
    assert.equal((await fetch(`http://127.0.0.1:${port}/runtime/liveness`, { method: "POST" })).status, 405);
    await server[Symbol.asyncDispose]();
    await assert.rejects(ask("liveness"));
  });
});
