import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, it } from "node:test";
import { serveProbes } from "./api.ts";

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
    const server = await serveProbes(port, () => isServing);
    const ask = async (path: string, host = "127.0.0.1") => {
      const response = await fetch(`http://${host}:${port}/runtime/${path}`);
      return [response.status, await response.text()];
    };
    const waits = [500, '"the objects of the cluster are not read yet"'];
    assert.deepEqual(await ask("startup"), waits);
    assert.deepEqual(await ask("readiness", "[::1]"), waits);
    assert.deepEqual(await ask("liveness"), [200, ""]);
    isServing = true;
    for (const path of ["startup", "readiness", "liveness"]) assert.deepEqual(await ask(path), [200, ""], path);
    assert.equal((await ask("metrics"))[0], 404);
    assert.equal((await fetch(`http://127.0.0.1:${port}/runtime/liveness`, { method: "POST" })).status, 405);
    await server[Symbol.asyncDispose]();
    await assert.rejects(ask("liveness"));
  });
});
