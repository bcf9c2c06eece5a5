import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { libc } from "./libc.ts";
import { acceptWaiting, bindUnixSocket, readWaiting } from "./unix-socket.ts";

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

  it("gives what a connection has been sent, and nothing where nothing was or its sender has gone", async () => {
    const path = join(folder, "early");
    const fd = bindUnixSocket(path);
    const server = createServer().listen({ fd }, 16);
    await once(server, "listening");
    const [silent, client] = [connect(path), connect(path)];
    client.write("said");
    const [first = -1, second = -1] = [acceptWaiting(fd), acceptWaiting(fd)];
    await once(client, "connect");
    await new Promise((resolve) => client.write("", resolve));
    assert.deepEqual([readWaiting(first), readWaiting(second)?.toString()], [undefined, "said"]);
    silent.destroy();
    await once(silent, "close");
    assert.equal(readWaiting(first), undefined);
    for (const one of [first, second]) libc.close(one);
    client.destroy();
    server.close();
  });

  it("gives none where there is no room for one more descriptor", () => {
    const script = `
      import { openSync } from "node:fs";
      import { connect, createServer } from "node:net";
      import { acceptWaiting, bindUnixSocket } from "${import.meta.resolve("./unix-socket.ts")}";
      const fd = bindUnixSocket(${JSON.stringify(join(folder, "full"))});
      createServer().listen({ fd }, 16, () => {
        connect(${JSON.stringify(join(folder, "full"))});
        try { for (;;) openSync("/dev/null"); } catch {}
        console.log(String(acceptWaiting(fd)));
        process.exit();
      });`;
    const node = `ulimit -n 64; exec "$0" --input-type=module-typescript -e "$1"`;
    assert.equal(String(execFileSync("/bin/sh", ["-c", node, process.execPath, script])), "undefined\n");
  });

  it("is refused where the path is too long or taken", () => {
    assert.throws(() => bindUnixSocket(join(folder, "x".repeat(120))), RangeError);
    const path = join(folder, "taken");
    libc.close(bindUnixSocket(path));
    assert.throws(() => bindUnixSocket(path), { code: "EADDRINUSE" });
  });
});
