import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";

/** An answer of an API server. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Body;
}

/** JSON that a test looks into. An absent field fails the test's assertion. */
// biome-ignore lint/suspicious/noExplicitAny: bodies of both servers are compared field by field, in assertions.
export type Body = any;

interface CallOptions {
  readonly type?: string;
  readonly accept?: string;
}

/** One API server, real or the lab's, as HTTP. */
export interface Api {
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer>;
  /** Reads a watch until `enough` is true for the events so far, or the server ends it. Fails after 20 s. */
  watch(path: string, enough: (events: readonly Body[]) => boolean, options?: CallOptions): Promise<readonly Body[]>;
}

const watchMsMax = 120_000;

/** The API of a kubeconfig file of JSON, with embedded certificates or of plain HTTP. */
export function apiOf(kubeconfig: string): Api {
  const config = JSON.parse(readFileSync(kubeconfig, "utf8"));
  const { server, "certificate-authority-data": ca } = config.clusters[0].cluster;
  const { "client-certificate-data": cert, "client-key-data": key } = config.users[0].user;
  const decoded = (text: string) => Buffer.from(text, "base64");
  const tls = ca === undefined ? {} : { ca: decoded(ca), cert: decoded(cert), key: decoded(key) };
  const send = server.startsWith("https") ? requestTls : requestPlain;
  const open = (method: string, path: string, { type, accept }: CallOptions) =>
    send(`${server}${path}`, {
      method,
      ...tls,
      headers: { accept: accept ?? "application/json", ...(type !== undefined && { "content-type": type }) },
    });
  return {
    call: (method, path, body, options = {}) =>
      new Promise((resolve, reject) => {
        const type = options.type ?? (body === undefined ? undefined : "application/json");
        const sent = open(method, path, { ...options, ...(type !== undefined && { type }) });
        sent.on("error", reject);
        sent.on("response", (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk) => chunks.push(chunk)).on("error", reject);
          answer.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            const isJson = (answer.headers["content-type"] ?? "").includes("json");
            resolve({
              status: answer.statusCode ?? 0,
              headers: answer.headers,
              body: isJson ? JSON.parse(text) : text,
            });
          });
        });
        if (body === undefined) sent.end();
        else {
          const text = typeof body === "string" ? body : JSON.stringify(body);
          // Or the body of a DELETE would go without any framing.
          sent.setHeader("content-length", Buffer.byteLength(text));
          sent.end(text);
        }
      }),
    watch: (path, enough, options = {}) =>
      new Promise((resolve, reject) => {
        const sent = open("GET", path, options);
        const events: Body[] = [];
        const timer = setTimeout(() => {
          sent.destroy();
          reject(new assert.AssertionError({ message: `the watch of ${path} saw only ${JSON.stringify(events)}` }));
        }, watchMsMax);
        const done = () => {
          clearTimeout(timer);
          sent.destroy();
          resolve(events);
        };
        sent.on("error", (error) => {
          clearTimeout(timer);
          reject(error);
        });
        sent.on("response", (answer) => {
          let rest = "";
          answer.setEncoding("utf8").on("end", done);
          answer.on("data", (chunk: string) => {
            const lines = `${rest}${chunk}`.split("\n");
            rest = lines.pop() ?? "";
            events.push(...lines.filter(Boolean).map((line) => JSON.parse(line)));
            if (enough(events)) done();
          });
        });
        sent.end();
      }),
  };
}
