import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { libc } from "./libc.ts";
import { acceptWaiting, bindUnixSocket } from "./unix-socket.ts";

const folder = mkdtempSync(join(tmpdir(), "unix-socket-"));
after(() => rmSync(folder, { recursive: true }));

describe("a unix socket", () => {
  it("gives every connection that waits, then none", async () => {
    const path = join(folder, "s");
    const fd = bindUnixSocket(path);
    const server = createServer().listen({ fd }, 16);
    await once(server, "listening");
    const clients = Array.from({ length: 5 }, () => connect(path));
    // A connect to a unix socket is done when it returns: all are in the queue, and Node has not looked yet.
    const accepted: number[] = [];
    for (let next = acceptWaiting(fd); next !== undefined; next = acceptWaiting(fd)) accepted.push(next);
    assert.equal(accepted.length, 5);
    for (const one of accepted) libc.close(one);
    for (const client of clients) client.destroy();
    server.close();
  });

  it("is refused where the path is too long or taken", () => {
    assert.throws(() => bindUnixSocket(join(folder, "x".repeat(120))), RangeError);
    const path = join(folder, "taken");
    libc.close(bindUnixSocket(path));
    assert.throws(() => bindUnixSocket(path), { code: "EADDRINUSE" });
  });
});
