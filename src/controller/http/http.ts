import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { formatError, type Logger, listen, nodeHttp, readBody, type Signal } from "#base";
import type { TlsSource } from "../certificates/serving.ts";

/** An AdmissionReview holds two objects of at most 1.5 MiB each. */
const bodyBytesMax = 4 * 2 ** 20;
/** The time for a whole request. The API server waits 10 s for a webhook by default. */
const requestMsMax = 10_000;
/**
 * Longer than API servers keep a connection that nothing uses (90 s), so that they close it and not we: what one sends just when
 * it is closed is lost, and the user's command fails with "failed calling webhook".
 */
const idleMsMax = 120_000;
const connectionsMax = 256;
/** How long the requests that are under way at the end may take. */
const endMsMax = 3_000;

/** A route's whole answer. */
export interface HttpAnswer {
  readonly status: number;
  /** Sent as JSON; absent: the answer has no body. */
  readonly body?: unknown;
  /** Sent unchanged with this content type, in place of `body`. */
  readonly text?: { readonly type: string; readonly text: string };
}

/** Routes by path. `text` is the request's body, empty for GET. */
export type HttpRoutes = Readonly<
  Record<
    string,
    { readonly method: "GET" | "POST" | "PUT"; readonly answer: (text: string, o: Signal) => Promise<HttpAnswer> }
  >
>;

interface HttpOptions {
  /** 0: any free port. */
  readonly port: number;
  /** The address to listen on. @default all */
  readonly host?: string | undefined;
  /** Absent: plain HTTP. */
  readonly tls: TlsSource | undefined;
  readonly routes: HttpRoutes;
  readonly log: Logger;
}

/**
 * Serves until it is disposed, and then answers what it was asked before. Bodies, connections and times are bounded; a failing
 * route answers 500. Throws PORT_IN_USE, or the system's error, if the port cannot be bound.
 */
export async function serveHttp(options: HttpOptions): Promise<AsyncDisposable & { readonly port: number }> {
  const { server, end } = listener(options);
  server.requestTimeout = requestMsMax;
  server.headersTimeout = requestMsMax;
  server.keepAliveTimeout = idleMsMax;
  server.maxConnections = connectionsMax;
  await listen(server, { port: options.port, ...(options.host !== undefined && { host: options.host }) });
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      end();
      const late = setTimeout(() => server.closeAllConnections(), endMsMax);
      await new Promise<void>((resolve) => server.close(() => resolve())); // It closes unused connections at once.
      clearTimeout(late);
    },
  };
}

function listener({ tls, routes, log }: HttpOptions) {
  let isEnding = false;
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    const gone = new AbortController();
    response.once("close", () => gone.abort(new Error("the client is gone")));
    // A plain object, not the AbortController: `signal` is a getter there, which a route's `{ ...o }` would lose.
    answer(routes, request, { signal: gone.signal })
      .catch((err: unknown): HttpAnswer => {
        log.error({ path: request.url, err }, "a request failed");
        return { status: 500, body: formatError(err) };
      })
      .then(({ status, body, text: plain }) => {
        const { type, text } = plain ?? {
          type: "application/json",
          text: body === undefined ? "" : JSON.stringify(body),
        };
        const headers = { "content-type": type, "content-length": Buffer.byteLength(text) };
        response.writeHead(status, isEnding ? { ...headers, connection: "close" } : headers);
        response.end(text);
      })
      .catch((err: unknown) => log.debug({ path: request.url, err }, "an answer was not sent"));
  };
  const ending = () => {
    isEnding = true;
  };
  if (tls === undefined) return { server: nodeHttp().createServer(onRequest), end: ending };
  let served = tls.current();
  const server = createServer(served, onRequest);
  // The certificate may be renewed while the server runs.
  const renew = () => {
    try {
      const next = tls.current();
      if (next.cert === served.cert && next.key === served.key) return;
      server.setSecureContext(next);
      served = next;
      log.info({}, "certificate read again");
    } catch (err) {
      log.error({ err }, "a renewed certificate cannot be used; the former one is");
    }
  };
  const unfollow = tls.changed(renew);
  const end = () => {
    unfollow();
    ending();
  };
  return { server, end };
}

async function answer(routes: HttpRoutes, request: IncomingMessage, o: Signal): Promise<HttpAnswer> {
  const route = routes[(request.url ?? "").split("?", 1)[0] ?? ""];
  if (route === undefined) return { status: 404, body: "unknown path" };
  if (request.method !== route.method) return { status: 405, body: `only ${route.method} is served` };
  const body = route.method === "GET" ? Buffer.alloc(0) : await readBody(request, bodyBytesMax);
  return body === undefined
    ? { status: 413, body: `more than ${bodyBytesMax} bytes` }
    : route.answer(body.toString("utf8"), o);
}
