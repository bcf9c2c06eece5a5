import type { RequestListener, Server } from "node:http";

/**
 * A server of HTTP without TLS, which does not listen yet. An import of `node:http` would run the getters of all that it exports,
 * one of which loads Node's other HTTP client, and HTTP/2 with it: memory that no program of ours uses.
 */
export function createHttpServer(onRequest: RequestListener): Server {
  return process.getBuiltinModule("node:http").createServer(onRequest);
}
