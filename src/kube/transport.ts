import http from "node:http";
import https from "node:https";
import { connect, type Socket } from "node:net";
import tls, { TLSSocket } from "node:tls";
import type { Clock, Signal } from "#base";
import { readText } from "./codec.ts";
import type { KubeConfig } from "./config.ts";
import { Credentials, type InUse, type TlsMaterial } from "./credentials.ts";
import { ApiUnreachableError } from "./errors.ts";
import { limits } from "./limits.ts";

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

export interface ApiResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** To be read to its end or left by `break`/`return`; open-ended for a watch. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Sends one request. Rejects with {@link ApiUnreachableError} where no answer came, and with the signal's reason where
 * it aborted first; so does the body. Any status is an answer.
 *
 * Node hands a request to the socket only on the next turn of the event loop: who blocks the thread right after
 * `send` (netlink) must yield one `setImmediate` first, or nothing is on its way meanwhile.
 */
export interface Transport {
  /** For errors and logs: `https://10.96.0.1:443`. */
  readonly server: string;
  send(request: ApiRequest, o: Signal): Promise<ApiResponse>;
}

/**
 * A transport over node:http(s). Connections are kept and bounded; watches and views have their own, so that they can't
 * starve calls. Credentials are re-read when their files change, and a 401 is tried once more where they did. Dispose it
 * to close all connections.
 */
export function createTransport(config: KubeConfig, options: { readonly clock: Clock }): Transport & Disposable {
  return new HttpTransport(config, new Credentials(config, options.clock));
}

class HttpTransport implements Transport, Disposable {
  readonly server: string;
  readonly #config: KubeConfig;
  readonly #url: URL;
  readonly #credentials: Credentials;
  #agents: Agents | undefined;

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
    for (const lane of lanes) this.#agents?.[lane].destroy();
  }

  #sendOnce(request: ApiRequest, { token, tls }: InUse, signal: AbortSignal): Promise<ApiResponse> {
    const headers = {
      ...request.headers,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(request.body === undefined ? {} : { "content-length": request.body.length }),
    };
    const path = this.#url.pathname === "/" ? request.path : this.#url.pathname + request.path;
    const agent = this.#agentFor(request, tls);
    const secure = this.#url.protocol === "https:";
    const sent = (secure ? https : http).request(this.#url, { method: request.method, path, headers, agent });
    return exchange(sent, request, { server: this.server, signal });
  }

  /** New certificates need new connections; those under way end on the old ones, which then close by their idle time. */
  #agentFor(request: ApiRequest, tls: TlsMaterial): http.Agent {
    if (this.#agents?.tls !== tls) this.#agents = createAgents(this.#config, tls);
    return this.#agents[laneOf(request)];
  }
}

/** Requests of one lane never wait for a connection that another one has. */
const lanes = ["calls", "views", "watches"] as const;
type Lane = (typeof lanes)[number];

function laneOf(request: ApiRequest): Lane {
  if (isWatch(request)) return "watches";
  return request.isView === true ? "views" : "calls";
}

type Agents = Readonly<Record<Lane, http.Agent>> & { readonly tls: TlsMaterial };

function createAgents(config: KubeConfig, tls: TlsMaterial): Agents {
  const kept = { keepAlive: true, maxFreeSockets: limits.freeSockets, timeout: limits.freeSocketTimeoutMs };
  const options: Readonly<Record<Lane, http.AgentOptions>> = {
    calls: { ...kept, maxSockets: limits.callSockets },
    views: { ...kept, maxSockets: limits.viewSockets },
    watches: { maxSockets: limits.watchSockets },
  };
  const agents = (create: (lane: Lane) => http.Agent): Agents => ({
    tls,
    calls: create("calls"),
    views: create("views"),
    watches: create("watches"),
  });
  if (!config.server.startsWith("https:")) return agents((lane) => new http.Agent(options[lane]));
  const secure: https.AgentOptions = {
    rejectUnauthorized: !config.insecureSkipTlsVerify,
    ...(config.tlsServerName === undefined ? {} : { servername: config.tlsServerName }),
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.cert === undefined ? {} : { cert: tls.cert }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
  };
  return agents((lane) => new TlsAgent({ ...options[lane], ...secure }));
}

/** The TCP connection under each TLS connection. */
const connectionUnder = new WeakMap<Socket, Socket>();

function connectionOf(socket: Socket): Socket {
  return connectionUnder.get(socket) ?? socket;
}

/** Keeps the connection under TLS within reach: only that can be reset. */
class TlsAgent extends https.Agent {
  override createConnection(options: tls.ConnectionOptions & { readonly port: number }): Socket {
    const socket = connect(options);
    const secured = tls.connect({ ...options, socket });
    // Errors of the one below come up through the one above.
    socket.on("error", (error) => secured.destroy(error));
    connectionUnder.set(secured, socket);
    return secured;
  }
}

/**
 * Ends a request and its connection for good. Closing alone would leave what the kernel has not sent yet to be delivered
 * whenever the network lets it: a create could take effect long after its caller gave it up.
 */
function abandon(sent: http.ClientRequest): void {
  const { socket } = sent;
  if (socket !== null) connectionOf(socket).resetAndDestroy();
  sent.destroy();
}

/** The query makes a GET a watch. */
function isWatch({ path }: ApiRequest): boolean {
  return /[?&]watch=(true|1)(&|$)/.test(path);
}

/** Sends the request and resolves with the head of the answer. */
function exchange(
  sent: http.ClientRequest,
  request: ApiRequest,
  { server, signal }: Signal & { readonly server: string },
): Promise<ApiResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ApiResponse>();
  let connected = false;
  let answered = false;
  const failure = (cause: unknown) =>
    signal.aborted ? signal.reason : new ApiUnreachableError({ server, ...request }, { sent: connected, cause });
  const onAbort = () => abandon(sent);
  signal.addEventListener("abort", onAbort, { once: true });
  // "close" comes last whatever happened, also after the answer's body.
  sent.once("close", () => {
    signal.removeEventListener("abort", onAbort);
    if (!answered) reject(failure(new Error("the connection was closed without an answer")));
  });
  sent.on("error", (error) => reject(failure(error)));
  sent.once("socket", (socket) => {
    const { connectTimeoutMs } = limits;
    const late = setTimeout(
      () => sent.destroy(new Error(`no connection within ${connectTimeoutMs} ms`)),
      connectTimeoutMs,
    );
    sent.once("close", () => clearTimeout(late));
    whenConnected(socket, () => {
      connected = true;
      clearTimeout(late);
      if (isWatch(request)) connectionOf(socket).setKeepAlive(true, limits.watchKeepAliveMs);
    });
  });
  sent.once("response", (message) => {
    answered = true;
    resolve({ status: message.statusCode ?? 0, headers: headersOf(message), body: bodyOf(message, failure) });
  });
  sent.end(request.body);
  return promise;
}

/** Before the connection (and its TLS handshake) stands, no byte of a request has left. */
function whenConnected(socket: Socket, act: () => void): void {
  const secure = socket instanceof TLSSocket;
  if (!socket.connecting && !(secure && socket.getProtocol() === null)) act();
  else socket.once(secure ? "secureConnect" : "connect", act);
}

/** Leaving the loop closes the connection, unless the body was at its end. */
async function* bodyOf(
  message: http.IncomingMessage,
  failure: (cause: unknown) => unknown,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of message) yield chunk;
  } catch (error) {
    throw failure(error);
  }
}

function headersOf({ headers }: http.IncomingMessage): Readonly<Record<string, string>> {
  const entries = Object.entries(headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(", ") : value,
  ]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
