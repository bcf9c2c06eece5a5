import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { silentLogger } from "#base";
import { until } from "../../base/testing/until.ts";
import { tlsOfFiles } from "../certificates/serving.ts";
import { certificate, privateKey } from "../testing/certificate.ts";
import { type Health, healthRoutes, webhookAnswers } from "./health.ts";
import { type HttpRoutes, serveHttp } from "./http.ts";

const routes: HttpRoutes = {
  "/echo": { method: "POST", answer: async (text) => ({ status: 200, body: text.length }) },
  "/spread": { method: "GET", answer: async (_text, o) => ({ status: 200, body: Object.keys({ ...o }) }) },
  "/fails": { method: "GET", answer: () => Promise.reject(new Error("out of luck")) },
};

interface Call {
  readonly port: number;
  readonly path: string;
  readonly body?: string;
  readonly tls?: boolean;
}

function call({ port, path, body, tls = false }: Call): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? "GET" : "POST";
    const options = { host: "127.0.0.1", port, path, method, rejectUnauthorized: false, agent: false as const };
    const request = (tls ? httpsRequest : httpRequest)(options, (response) => {
      response
        .toArray()
        .then(
          (chunks) => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
          reject,
        );
    });
    request.on("error", reject);
    request.end(body);
  });
}

describe("serveHttp()", () => {
  it("gives a route options whose signal survives a spread with more options", async () => {
    await using server = await serveHttp({ port: 0, tls: undefined, routes, log: silentLogger });
    assert.equal((await call({ port: server.port, path: "/spread" })).text, '["signal"]');
  });

  it("answers by path and method, and 500 with the error's message if a route fails", async () => {
    await using server = await serveHttp({ port: 0, tls: undefined, routes, log: silentLogger });
    const { port } = server;
    assert.deepEqual(await call({ port, path: "/echo?timeout=10s", body: "four" }), { status: 200, text: "4" });
    assert.equal((await call({ port, path: "/echo" })).status, 405);
    assert.equal((await call({ port, path: "/other" })).status, 404);
    assert.deepEqual(await call({ port, path: "/fails" }), { status: 500, text: '"out of luck"' });
  });

  it("keeps a connection for longer than API servers leave one unused: they close it, and send no call into its end", async () => {
    await using server = await serveHttp({ port: 0, tls: undefined, routes, log: silentLogger });
    const { headers } = await fetch(`http://127.0.0.1:${server.port}/spread`);
    const [, seconds] = /timeout=(\d+)/.exec(headers.get("keep-alive") ?? "") ?? [];
    assert.ok(Number(seconds) > 90, headers.get("keep-alive") ?? "");
  });

  it("gives routes options whose signal survives a copy", async () => {
    const answer: HttpRoutes[string]["answer"] = async (_text, o) => ({ status: 200, body: { ...o }.signal?.aborted });
    const copying: HttpRoutes = { "/copies": { method: "GET", answer } };
    await using server = await serveHttp({ port: 0, tls: undefined, routes: copying, log: silentLogger });
    assert.deepEqual(await call({ port: server.port, path: "/copies" }), { status: 200, text: "false" });
  });

  it("answers at its end what it was asked before, and keeps no connection", async () => {
    const [asked, answers] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const answer: HttpRoutes[string]["answer"] = async () => {
      asked.resolve();
      await answers.promise;
      return { status: 200, body: "answered" };
    };
    const slow: HttpRoutes = { ...routes, "/slow": { method: "GET", answer } };
    await using server = await serveHttp({ port: 0, tls: undefined, routes: slow, log: silentLogger });
    const url = `http://127.0.0.1:${server.port}`;
    await (await fetch(`${url}/spread`)).text(); // Its connection is kept.
    const answered = fetch(`${url}/slow`);
    await asked.promise;
    const ended = server[Symbol.asyncDispose]();
    answers.resolve();
    const { headers } = await answered;
    assert.equal(headers.get("connection"), "close");
    await ended;
    await assert.rejects(fetch(`${url}/spread`));
  });

  it("refuses a body that is too large", async () => {
    await using server = await serveHttp({ port: 0, tls: undefined, routes, log: silentLogger });
    const answer = await call({ port: server.port, path: "/echo", body: "x".repeat(4 * 2 ** 20 + 1) });
    assert.equal(answer.status, 413);
  });

  it("speaks TLS with the certificate of two files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "spiderpool-tls-"));
    try {
      const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
      writeFileSync(tls.certFile, certificate);
      writeFileSync(tls.keyFile, privateKey);
      await using server = await serveHttp({ port: 0, tls: tlsOfFiles(tls), routes, log: silentLogger });
      assert.equal((await call({ port: server.port, path: "/echo", body: "1", tls: true })).status, 200);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the probes", () => {
  const signal = AbortSignal.abort();
  const statuses = async (health: Health, prefix = "") => {
    const routes = healthRoutes(health);
    const names = ["startup", "readiness", "liveness"];
    const answers = names.map((name) => routes[`${prefix}/runtime/${name}`]?.answer("", { signal }));
    return (await Promise.all(answers)).map((answer) => answer?.status);
  };
  const well = { isSynced: () => true, isServing: async () => true, isLed: () => true };

  it("answer 200 if all is well, under both paths", async () => {
    assert.deepEqual(
      [await statuses(well), await statuses(well, "/v1")],
      [
        [200, 200, 200],
        [200, 200, 200],
      ],
    );
  });

  it("fail start-up and readiness until the stores are filled, and readiness until some replica leads", async () => {
    assert.deepEqual(await statuses({ ...well, isSynced: () => false }), [500, 500, 200]);
    assert.deepEqual(await statuses({ ...well, isLed: () => false }), [200, 500, 200]);
  });

  it("fail liveness and readiness if the webhook port does not answer", async () => {
    assert.deepEqual(await statuses({ ...well, isServing: async () => false }), [200, 500, 500]);
    const webhook = { "/webhook-health-check": { method: "GET", answer: async () => ({ status: 200 }) } } as const;
    const answers = (port: number) => webhookAnswers({ host: undefined, port }, { tls: false });
    await using server = await serveHttp({ port: 0, tls: undefined, routes: webhook, log: silentLogger });
    const { port } = server;
    // Like a probe, it waits less than a second, which a busy machine may need.
    await until("an answer", () => answers(port), Boolean);
    await server[Symbol.asyncDispose]();
    assert.equal(await answers(port), false);
  });
});
