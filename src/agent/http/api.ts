import { chmodSync, mkdirSync, rmSync, statSync } from "node:fs";
import type { IncomingMessage, Server } from "node:http";
import type { ListenOptions } from "node:net";
import { dirname } from "node:path";
import { codeOf, listen, nodeHttp, readBody, SpiderError } from "#base";

/** One request to a path. */
export interface ApiRequest {
  readonly query: URLSearchParams;
  /** The body as JSON; undefined if there is none. A GET may have one, too. */
  readonly body: unknown;
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
}

/**
 * The handler of each `METHOD /path`. It returns the answer as JSON, or undefined for an empty one. If it throws, the answer is a
 * 500 with the error's sentence, or has the status of an HttpError.
 */
export type Routes = Readonly<Record<string, (request: ApiRequest) => unknown>>;

/** An answer other than 200: `message` is the body. */
export class HttpError extends SpiderError {
  readonly status: number;

  constructor(status: number, message: string) {
    super("HTTP_REFUSED", message, { details: { status } });
    this.status = status;
  }
}

/** The longest body, in bytes. Our requests have a few hundred. */
const bodyBytesMax = 1 << 20;
/** How long a request may take to arrive, from its first byte to its last. */
const requestMsMax = 10_000;

/** The agent's HTTP API on a unix socket that only root can open. JSON only; errors are bare JSON strings. */
export async function serveApi(path: string, routes: Routes): Promise<AsyncDisposable> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  const server = await serveOn(jsonServer(routes), { path });
  chmodSync(path, 0o600);
  const { ino } = statSync(path);
  return {
    [Symbol.asyncDispose]: async () => {
      await close(server);
      // A later agent may have replaced the socket by its own.
      if (statSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
    },
  };
}

const probeNames = ["startup", "readiness", "liveness"] as const;

/** The probes of the agent's port, on its socket. As in the earlier Spiderpool, they are answered with 501. */
export const probesElsewhere = elsewhere(
  probeNames.map((name) => `GET /v1/runtime/${name}`),
  "it is served at the port of the probes",
);

/** Answers 501 on `keys` of {@link Routes}: a path of this API, which `where` serves. */
export function elsewhere(keys: readonly string[], where: string): Routes {
  const refuse = () => {
    throw new HttpError(501, `not implemented here: ${where}`);
  };
  return Object.fromEntries(keys.map((key) => [key, refuse]));
}

/**
 * Serves the kubelet's probes on both loopback addresses, so that nobody else reaches them. A family that the node lacks is left
 * out. Startup and readiness are 200 once `isServing` is true, liveness always. `more` are further paths.
 */
export async function serveProbes(port: number, isServing: () => boolean, more: Routes = {}): Promise<AsyncDisposable> {
  const serving = () => {
    if (!isServing()) throw new Error("the objects of the cluster are not read yet");
  };
  const routes: Record<string, Routes[string]> = { ...more };
  for (const name of probeNames) {
    const answerProbe = name === "liveness" ? () => undefined : serving;
    for (const path of [`/runtime/${name}`, `/v1/runtime/${name}`]) routes[`GET ${path}`] = answerProbe;
  }
  const servers = [await serveOn(jsonServer(routes), { host: "127.0.0.1", port })];
  try {
    servers.push(await serveOn(jsonServer(routes), { host: "::1", port, ipv6Only: true }));
  } catch (error) {
    if (codeOf(error) !== "EADDRNOTAVAIL" && codeOf(error) !== "EAFNOSUPPORT") throw error;
  }
  return { [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map(close))) };
}

/** Serves a text for monitoring on every path of a port, on all addresses unless one is given. */
export async function serveText(
  { port, host }: { readonly port: number; readonly host?: string | undefined },
  contentType: string,
  read: () => Promise<string>,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = nodeHttp().createServer((_request, response) => {
    read().then(
      (text) => response.writeHead(200, { "content-type": contentType }).end(text),
      (error: unknown) => response.writeHead(500).end(sentenceOf(error)),
    );
  });
  await serveOn(server, { port, ...(host !== undefined && { host }) });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    [Symbol.asyncDispose]: () => close(server),
  };
}

function jsonServer(routes: Routes): Server {
  return nodeHttp().createServer((request, response) => {
    const gone = new AbortController();
    response.on("close", () => gone.abort(new SpiderError("CALLER_GONE", "the caller gave the request up")));
    void answer(request, routes, gone.signal).then(({ status, body }) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(body === undefined ? "" : JSON.stringify(body));
    });
  });
}

/** Never throws. */
async function answer(
  request: IncomingMessage,
  routes: Routes,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body?: unknown }> {
  try {
    const { pathname, searchParams: query } = new URL(request.url ?? "", "http://agent");
    const methods = Object.keys(routes).flatMap((key) => (key.endsWith(` ${pathname}`) ? key.split(" ", 1) : []));
    const route = routes[`${request.method} ${pathname}`];
    if (route === undefined && methods.length > 0) {
      throw new HttpError(405, `${request.method} is not served here, but ${methods.join(", ")}`);
    }
    if (route === undefined) throw new HttpError(404, `unknown path; there are ${Object.keys(routes).join(", ")}`);
    return { status: 200, body: await route({ query, body: await readJson(request), signal }) };
  } catch (error) {
    return { status: error instanceof HttpError ? error.status : 500, body: sentenceOf(error) };
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const body = await readBody(request, bodyBytesMax);
  if (body === undefined) throw new HttpError(413, `a body may have ${bodyBytesMax} bytes`);
  const text = body.toString();
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpError(400, `the body is no JSON: ${sentenceOf(error)}`);
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function serveOn(server: Server, where: ListenOptions): Promise<Server> {
  server.requestTimeout = requestMsMax;
  await listen(server, where);
  return server;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
