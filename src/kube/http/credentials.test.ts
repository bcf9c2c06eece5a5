import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import { never } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { limits } from "../limits.ts";
import type { KubeConfig, Source } from "./config.ts";
import { createTransport, type Transport } from "./transport.ts";

const folder = mkdtempSync(join(tmpdir(), "kube-credentials-"));
after(() => rmSync(folder, { recursive: true }));

const request = { method: "POST", path: "/x", headers: {} };

interface Pair {
  readonly cert: string;
  readonly key: string;
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
}

function read(name: string): string {
  return readFileSync(join(folder, name), "utf8");
}

function authority(name: string): Pair {
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  openssl("req", ...kind, "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.crt`);
  return { cert: read(`${name}.crt`), key: read(`${name}.key`) };
}

/** A key and its certificate, for the loopback address, by an authority made before. */
function issue(name: string, by: string): Pair {
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/CN=${name}`];
  openssl("req", ...kind, "-keyout", `${name}.key`, "-out", `${name}.csr`);
  writeFileSync(join(folder, "san"), "subjectAltName=IP:127.0.0.1");
  const signer = ["-CA", `${by}.crt`, "-CAkey", `${by}.key`, "-CAcreateserial", "-days", "2", "-extfile", "san"];
  openssl("x509", "-req", "-in", `${name}.csr`, ...signer, "-out", `${name}.crt`);
  return { cert: read(`${name}.crt`), key: read(`${name}.key`) };
}

/** An API server that knows its clients by certificate, and by token. */
class ApiServer implements AsyncDisposable {
  readonly #server: https.Server;
  /** Who is let in. */
  accepts: (client: string) => boolean = () => true;
  /** Each request needs a connection of its own. */
  closes = false;

  private constructor(server: https.Server) {
    this.#server = server;
  }

  static async listen(own: Pair, clientCa: string): Promise<ApiServer> {
    const options = { ...own, ca: clientCa, requestCert: true, rejectUnauthorized: false };
    const server = https.createServer(options);
    const api = new ApiServer(server);
    server.on("request", (incoming: http.IncomingMessage, response: http.ServerResponse) => {
      const socket = incoming.socket as TLSSocket;
      const byCertificate = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : undefined;
      const client = byCertificate ?? incoming.headers.authorization ?? "nobody";
      response.statusCode = api.accepts(client) ? 200 : 401;
      if (api.closes) response.setHeader("connection", "close");
      response.end(client);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return api;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The server's own certificate from now on. */
  renew(own: Pair): void {
    this.#server.setSecureContext(own);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** The status of one request, and as whom the server saw it. */
async function ask(transport: Transport): Promise<string> {
  const { status, body } = await transport.send(request, { signal: never });
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return `${status} ${Buffer.concat(chunks).toString("utf8")}`;
}

let files = 0;
/** A file of its own for one test. */
function fileOf(text: string): { readonly source: Source; put(text: string): void } {
  files += 1;
  const path = join(folder, `file-${files}`);
  const put = (now: string) => {
    // As an atomic writer does it; the other writers are seen as a half file.
    writeFileSync(`${path}.new`, now);
    renameSync(`${path}.new`, path);
  };
  put(text);
  return { source: { kind: "file", path }, put };
}

describe("credentials in files, at a server with TLS", () => {
  let ca: Pair;
  let own: Pair;
  let one: Pair;
  let two: Pair;
  before(() => {
    ca = authority("ca");
    own = issue("server", "ca");
    one = issue("one", "ca");
    two = issue("two", "ca");
  });
  const configOf = (server: ApiServer, more: Partial<KubeConfig>): KubeConfig => ({
    server: server.url,
    insecureSkipTlsVerify: false,
    namespace: "default",
    ca: { kind: "data", data: ca.cert },
    ...more,
  });

  it("takes another client certificate into use once both of its files are there", async () => {
    await using server = await ApiServer.listen(own, ca.cert);
    const clock = new ManualClock();
    const [cert, key] = [fileOf(one.cert), fileOf(one.key)];
    const config = configOf(server, { clientCert: cert.source, clientKey: key.source });
    using transport = createTransport(config, { clock });
    assert.equal(await ask(transport), "200 one");
    cert.put(two.cert);
    await clock.advance(limits.credentialCheckMs);
    assert.equal(await ask(transport), "200 one", "a certificate without its key is of no use yet");
    key.put(two.key.slice(0, 60));
    await clock.advance(limits.credentialCheckMs);
    assert.equal(await ask(transport), "200 one", "nor is half a key");
    key.put(two.key);
    assert.equal(await ask(transport), "200 one", "files are not looked at for every request");
    await clock.advance(limits.credentialCheckMs);
    assert.equal(await ask(transport), "200 two");
  });

  it("looks for another client certificate as soon as the server refuses the one that it has", async () => {
    await using server = await ApiServer.listen(own, ca.cert);
    const [cert, key] = [fileOf(one.cert), fileOf(one.key)];
    const config = configOf(server, { clientCert: cert.source, clientKey: key.source });
    using transport = createTransport(config, { clock: new ManualClock() });
    assert.equal(await ask(transport), "200 one");
    server.accepts = (client) => client === "two";
    assert.equal(await ask(transport), "401 one");
    cert.put(two.cert);
    key.put(two.key);
    assert.equal(await ask(transport), "200 two");
  });

  it("sends every request again that was refused with the former token, not only the first", async () => {
    await using server = await ApiServer.listen(own, ca.cert);
    const token = fileOf("one");
    using transport = createTransport(configOf(server, { token: token.source }), { clock: new ManualClock() });
    assert.equal(await ask(transport), "200 Bearer one");
    server.accepts = (client) => client === "Bearer two";
    const asking = [ask(transport), ask(transport), ask(transport)];
    token.put("two");
    assert.deepEqual(await Promise.all(asking), ["200 Bearer two", "200 Bearer two", "200 Bearer two"]);
  });

  it("follows kubelet's way to replace a token: a link to another folder of files", async () => {
    await using server = await ApiServer.listen(own, ca.cert);
    const clock = new ManualClock();
    const path = join(folder, "projected");
    const [first, second] = [fileOf("one").source, fileOf("two").source].map(
      (source) => "path" in source && source.path,
    );
    symlinkSync(String(first), path);
    using transport = createTransport(configOf(server, { token: { kind: "file", path } }), { clock });
    assert.equal(await ask(transport), "200 Bearer one");
    symlinkSync(String(second), `${path}.new`);
    renameSync(`${path}.new`, path);
    await clock.advance(limits.credentialCheckMs);
    assert.equal(await ask(transport), "200 Bearer two");
  });

  for (const [what, text] of [
    ["empty", ""],
    ["of two lines", "two\nthree"],
  ] as const) {
    it(`goes on with its token while the file is ${what}`, async () => {
      await using server = await ApiServer.listen(own, ca.cert);
      const clock = new ManualClock();
      const token = fileOf("one\n");
      using transport = createTransport(configOf(server, { token: token.source }), { clock });
      assert.equal(await ask(transport), "200 Bearer one");
      token.put(text);
      await clock.advance(limits.credentialCheckMs);
      assert.equal(await ask(transport), "200 Bearer one");
    });
  }

  it("trusts what the CA file says now, and never the system's authorities in place of an empty one", async () => {
    await using server = await ApiServer.listen(own, ca.cert);
    const clock = new ManualClock();
    server.closes = true;
    const trusted = fileOf(ca.cert);
    using transport = createTransport(configOf(server, { ca: trusted.source }), { clock });
    assert.equal(await ask(transport), "200 nobody");
    trusted.put("");
    await clock.advance(limits.credentialCheckMs);
    assert.equal(await ask(transport), "200 nobody", "the former one stays in use");
    const next = authority("next");
    server.renew(issue("renewed", "next"));
    await assert.rejects(ask(transport), { code: "API_UNREACHABLE", outcome: "not-sent" });
    trusted.put(next.cert);
    await clock.advance(limits.credentialCheckMs);
    assert.equal(await ask(transport), "200 nobody");
  });

  const useless: readonly (readonly [string, () => Partial<KubeConfig>])[] = [
    ["an empty token", () => ({ token: fileOf("").source })],
    ["an empty CA", () => ({ ca: fileOf("").source })],
    ["a CA that is no certificate", () => ({ ca: fileOf("x").source })],
    [
      "the key of another certificate",
      () => ({ clientCert: fileOf(one.cert).source, clientKey: fileOf(two.key).source }),
    ],
  ];
  for (const [what, config] of useless) {
    it(`names the files where it begins with ${what}`, async () => {
      await using server = await ApiServer.listen(own, ca.cert);
      using transport = createTransport(configOf(server, config()), { clock: new ManualClock() });
      await assert.rejects(ask(transport), (error: Error & { readonly details?: unknown; readonly code?: string }) => {
        assert.equal(error.code, "KUBE_CREDENTIALS");
        assert.match(JSON.stringify(error.details), /file-\d/);
        return true;
      });
    });
  }
});
