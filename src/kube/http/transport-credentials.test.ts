import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { never, systemClock } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { ApiUnreachableError } from "../errors.ts";
import { selfSigned } from "../testing/certificate.ts";
import { serving, textOf } from "../testing/serving.ts";
import { createTransport } from "./transport.ts";

const o = { signal: never };
const get = { method: "GET", path: "/api/v1/nodes/n1", headers: {} };
const folder = mkdtempSync(join(tmpdir(), "kube-credentials-"));
after(() => rmSync(folder, { recursive: true }));

describe("the credentials of a transport", () => {
  it("reads a changed token once a second at most, and right away after a 401", async () => {
    const path = join(folder, "token");
    let accepted = "Bearer one";
    const guard: http.RequestListener = (request, response) => {
      response.statusCode = request.headers.authorization === accepted ? 200 : 401;
      response.end(request.headers.authorization);
    };
    await serving(guard, async (config) => {
      const clock = new ManualClock();
      writeFileSync(path, "one\n");
      using transport = createTransport({ ...config, token: { kind: "file", path } }, { clock });
      const seen = async () => textOf((await transport.send(get, o)).body);
      assert.equal(await seen(), "Bearer one");
      writeFileSync(path, "longer");
      assert.equal(await seen(), "Bearer one");
      await clock.advance(1_000);
      accepted = "Bearer longer";
      assert.equal(await seen(), "Bearer longer");
      writeFileSync(path, "newest-token");
      accepted = "Bearer newest-token";
      assert.equal(await seen(), "Bearer newest-token", "the 401 made it look at once");
      accepted = "Bearer nobody's";
      assert.equal((await transport.send(get, o)).status, 401);
    });
  });

  it("verifies the server by the given CA, and takes a replaced CA file into use", async () => {
    const { cert, key } = selfSigned("a");
    const other = selfSigned("b");
    const path = join(folder, "ca.crt");
    const server = https.createServer({ cert, key });
    const answer: http.RequestListener = (_request, response) => void response.end("secure");
    await serving(
      answer,
      async (config) => {
        const clock = new ManualClock();
        writeFileSync(path, `${other.cert}\n`);
        using transport = createTransport({ ...config, ca: { kind: "file", path } }, { clock });
        await assert.rejects(transport.send({ ...get, method: "POST" }, o), (error: unknown) => {
          return error instanceof ApiUnreachableError && error.outcome === "not-sent";
        });
        writeFileSync(path, cert);
        await clock.advance(1_000);
        assert.equal(await textOf((await transport.send(get, o)).body), "secure");
      },
      server,
    );
  });

  it("go on with the server's session in the next connection, until they change", async () => {
    const { cert, key } = selfSigned("a");
    const path = join(folder, "session-ca.crt");
    const server = https.createServer({ cert, key });
    const reused: boolean[] = [];
    server.on("secureConnection", (socket) => reused.push(socket.isSessionReused()));
    const answer: http.RequestListener = (_request, response) => {
      response.setHeader("connection", "close");
      response.end("secure");
    };
    await serving(
      answer,
      async (config) => {
        const clock = new ManualClock();
        writeFileSync(path, cert);
        using transport = createTransport({ ...config, ca: { kind: "file", path } }, { clock });
        const ask = async () => textOf((await transport.send(get, o)).body);
        await ask();
        await ask();
        writeFileSync(path, `${cert}\n`);
        await clock.advance(1_000);
        await ask();
        assert.deepEqual(reused, [false, true, false]);
      },
      server,
    );
  });

  it("names the file of credentials that is not there", async () => {
    const token = { kind: "file", path: join(folder, "none") } as const;
    const config = { server: "http://127.0.0.1:1", insecureSkipTlsVerify: false, namespace: "", token };
    using transport = createTransport(config, { clock: systemClock });
    await assert.rejects(transport.send(get, o), { code: "KUBE_CREDENTIALS" });
  });
});
