import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { ApiFailure } from "../failure.ts";
import type { ApiRequest, ApiResponse } from "../types.ts";
import { type KubeletCall, proxyUpgrade, refuseUpgrade } from "./kubelet.ts";

/** Where to listen: a port of `host` (any free one by default), or a bound socket inherited as a descriptor. */
export interface ListenOptions {
  /** @default "127.0.0.1" */
  readonly host?: string;
  /** @default 0, any free port */
  readonly port?: number;
  /** A bound TCP socket, for example one made in another network namespace. Wins over host and port. */
  readonly fd?: number;
}

/** An address that the server listens on. */
export interface Listener extends AsyncDisposable {
  /** 0 if the listener was made from a descriptor and the system does not tell. */
  readonly port: number;
  /** `http://host:port` */
  readonly url: string;
  close(): Promise<void>;
}

/** What a listener needs of the server behind it. */
interface Served {
  handle(request: ApiRequest, options: { readonly signal: AbortSignal }): Promise<ApiResponse>;
  /** Which kubelet an upgrade request is for. Throws ApiFailure. */
  upgrade(path: string): KubeletCall;
}

/** The largest request body, as in Kubernetes. */
export const bodyBytesMax = 3 * 1024 * 1024;
/** Longer than clients keep idle connections, so that no client sends on a connection that is being closed. */
const keepAliveMs = 120_000;

/** Listens on one address. Rejects with the system's error (EADDRINUSE). */
export async function listenOn(served: Served, options: ListenOptions = {}): Promise<Listener> {
  const { host = "127.0.0.1", port = 0, fd } = options;
  const upgraded = new Set<Duplex>();
  const server = createServer({ keepAliveTimeout: keepAliveMs }, (request, response) => {
    answer(served, request, response).catch(() => response.destroy());
  });
  server.on("upgrade", (request, socket, head) => {
    upgraded.add(socket);
    socket.on("close", () => upgraded.delete(socket)).on("error", () => socket.destroy());
    try {
      proxyUpgrade(served.upgrade(request.url ?? "/"), request, socket, head);
    } catch (error) {
      const failure = error instanceof ApiFailure ? error : new ApiFailure(500, "InternalError", String(error));
      refuseUpgrade(socket, failure.status, JSON.stringify(failure.toStatus()));
    }
  });
  server.listen(fd === undefined ? { host, port } : { fd });
  await once(server, "listening");
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address : { address: host, port: 0 };
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    for (const socket of upgraded) socket.destroy();
    await closed;
  };
  const name = bound.address.includes(":") ? `[${bound.address}]` : bound.address;
  return { port: bound.port, url: `http://${name}:${bound.port}`, close, [Symbol.asyncDispose]: close };
}

async function answer(served: Served, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  const body = await readBody(request);
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
  const reply = await served.handle(
    {
      method: request.method ?? "GET",
      path: request.url ?? "/",
      headers: Object.fromEntries(headers),
      ...(body.length > 0 && { body }),
    },
    { signal: gone.signal },
  );
  response.writeHead(reply.status, reply.headers);
  // As a whole, headers and body are one segment, for which a client wakes up once.
  if ("content-length" in reply.headers) {
    response.end(Buffer.concat(await Array.fromAsync(reply.body)));
    return;
  }
  // The headers of a watch must not wait for its first event: `wait` of kubectl 1.32 would hang beyond its timeout.
  response.flushHeaders();
  for await (const chunk of reply.body) {
    if (gone.signal.aborted) break;
    if (!response.write(chunk)) await once(response, "drain", { signal: gone.signal });
  }
  response.end();
}

/** Reads the body. Of a body that is too long it returns one byte more than allowed, which the server refuses. */
async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    if (length > bodyBytesMax) continue;
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
  }
  return Buffer.concat(chunks);
}
