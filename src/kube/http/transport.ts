import { createSecureContext } from "node:tls";
import type { Clock, Signal } from "#base";
import { ApiUnreachableError } from "../errors.ts";
import { limits } from "../limits.ts";
import { readText } from "./codec.ts";
import type { KubeConfig } from "./config.ts";
import { type Endpoint, Lane } from "./connection.ts";
import { Credentials, type InUse, type TlsMaterial } from "./credentials.ts";
import { Exchange } from "./exchange.ts";

/** One HTTP request; tests and other servers in process implement the same messages. */
export interface ApiRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** What people read and nothing decides by: it has few connections of its own, so that no call waits behind it. */
  readonly isView?: boolean;
}

/** An answer whose status and headers have arrived; its body is still to be read. */
export interface ApiResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** To be read to its end or left by `break`/`return`; open-ended for a watch. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Sends one request. Rejects with {@link ApiUnreachableError} if no answer came, and with the signal's reason if
 * it aborted first; so does the body. Any status is an answer.
 *
 * A request leaves at once only if a connection is free. Whoever blocks the thread right after `send` (netlink) must first yield
 * one `setImmediate`: otherwise the request may not be under way meanwhile.
 */
export interface Transport {
  /** For errors and logs: `https://10.96.0.1:443`. */
  readonly server: string;
  send(request: ApiRequest, o: Signal): Promise<ApiResponse>;
}

/**
 * A transport over HTTP/1.1, with or without TLS. Connections are reused and their number is bounded. Watches and views have
 * their own, so that they can't starve calls. Credentials are read again when their files change, and a request that got 401 is
 * then sent once more. Dispose of the transport to close all connections.
 */
export function createTransport(config: KubeConfig, options: { readonly clock: Clock }): Transport & Disposable {
  return new HttpTransport(config, new Credentials(config, options.clock));
}

class HttpTransport implements Transport, Disposable {
  readonly server: string;
  readonly #config: KubeConfig;
  readonly #url: URL;
  readonly #credentials: Credentials;
  #lanes: Lanes | undefined;

  constructor(config: KubeConfig, credentials: Credentials) {
    this.server = config.server;
    this.#url = new URL(config.server);
    this.#config = config;
    this.#credentials = credentials;
  }

  async send(request: ApiRequest, { signal }: Signal): Promise<ApiResponse> {
    signal.throwIfAborted();
    const used = this.#credentials.current;
    const response = await this.#sendOnce(request, used, signal);
    const newer = response.status === 401 ? this.#credentials.newerThan(used) : undefined;
    if (newer === undefined) return response;
    // The server refused before it acted, so that sending the same again is safe for every method.
    await readText(response.body, limits.errorBodyBytesMax).catch(() => "");
    signal.throwIfAborted();
    return this.#sendOnce(request, newer, signal);
  }

  [Symbol.dispose](): void {
    for (const lane of laneNames) this.#lanes?.[lane].close();
  }

  #sendOnce(request: ApiRequest, { token, tls }: InUse, signal: AbortSignal): Promise<ApiResponse> {
    const { server } = this;
    const exchange = new Exchange({
      method: request.method,
      bytes: encode(this.#url, request, token),
      signal,
      failure: (sent, cause) => new ApiUnreachableError({ server, ...request }, { sent, cause }),
    });
    this.#laneFor(request, tls).carry(exchange);
    return exchange.answer;
  }

  /** New certificates need new connections; those under way end on the old ones, which then close by their idle time. */
  #laneFor(request: ApiRequest, tls: TlsMaterial): Lane {
    if (this.#lanes?.tls !== tls) this.#lanes = createLanes(this.#config, this.#url, tls);
    return this.#lanes[laneOf(request)];
  }
}

/** Requests of one lane never wait for a connection that another one has. */
const laneNames = ["calls", "views", "watches"] as const;
type LaneName = (typeof laneNames)[number];

type Lanes = Readonly<Record<LaneName, Lane>> & { readonly tls: TlsMaterial };

function laneOf({ path, isView }: ApiRequest): LaneName {
  // The query makes a GET a watch.
  if (/[?&]watch=(true|1)(&|$)/.test(path)) return "watches";
  return isView === true ? "views" : "calls";
}

function createLanes(config: KubeConfig, url: URL, tls: TlsMaterial): Lanes {
  const isSecure = url.protocol === "https:";
  const endpoint: Endpoint = {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
    tls: isSecure
      ? {
          context: createSecureContext(tls),
          session: undefined,
          serverName: config.tlsServerName,
          verify: !config.insecureSkipTlsVerify,
        }
      : undefined,
  };
  return {
    tls,
    calls: new Lane({ endpoint, connections: limits.callSockets, keep: true }),
    views: new Lane({ endpoint, connections: limits.viewSockets, keep: true }),
    // One that the network cut off in silence is not to be taken for the next watch.
    watches: new Lane({ endpoint, connections: limits.watchSockets, keep: false }),
  };
}

/** The request as it goes over the connection (RFC 9112 §3). Throws TypeError for what could be read as more than one line. */
function encode(url: URL, { method, path, headers, body }: ApiRequest, token: string | undefined): Uint8Array {
  const target = url.pathname === "/" ? path : url.pathname + path;
  if (!/^[\x21-\x7e]+$/.test(target)) throw new TypeError(`no path of a request: ${JSON.stringify(target)}`);
  let head = `${method} ${target} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  for (const name of Object.keys(headers)) {
    const value = headers[name] ?? "";
    if (/[^\t\x20-\x7e]/.test(value)) throw new TypeError(`no value of the header ${name}: ${JSON.stringify(value)}`);
    head += `${name}: ${value}\r\n`;
  }
  if (token !== undefined) head += `authorization: Bearer ${token}\r\n`;
  if (body !== undefined || method !== "GET") head += `content-length: ${body?.length ?? 0}\r\n`;
  const bytes = Buffer.allocUnsafe(head.length + 2 + (body?.length ?? 0));
  bytes.write(`${head}\r\n`, "latin1");
  if (body !== undefined) bytes.set(body, head.length + 2);
  return bytes;
}
