import { connect, isIP, type Socket } from "node:net";
import tls from "node:tls";
import { systemClock } from "#base";
import { limits } from "../limits.ts";
import { AnswerReader } from "./answer.ts";
import type { Carrier, Exchange } from "./exchange.ts";

/** Where connections lead. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Undefined for a connection without TLS. */
  readonly tls: EndpointTls | undefined;
}

interface EndpointTls {
  /** Made once for all connections: reading the certificates costs more than a handshake. */
  readonly context: tls.SecureContext;
  /** The name expected in the server's certificate. @default the host */
  readonly serverName: string | undefined;
  readonly verify: boolean;
  /**
   * What the server gave to go on with (RFC 8446 §2.2): the next connection spares it the signature that is most of a handshake.
   * Of the same credentials only.
   */
  session: Buffer | undefined;
}

interface LaneOptions {
  readonly endpoint: Endpoint;
  /** At most so many at a time; further exchanges wait for one of them. */
  readonly connections: number;
  /** False: each exchange has a new connection. */
  readonly keep: boolean;
}

/** Connections of one purpose. An exchange takes a free one or a new one, or waits its turn, first come, first served. */
export class Lane {
  readonly #options: LaneOptions;
  readonly #all = new Set<Connection>();
  /** The last one used is taken first, so that those of a burst grow old and are closed. */
  readonly #free: Connection[] = [];
  #waiting: Exchange[] = [];
  #isClosed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Carries it now or as soon as a connection is free. */
  carry(exchange: Exchange): void {
    const free = this.#takeFree();
    if (this.#isClosed) exchange.failed(closed);
    else if (free !== undefined) free.carry(exchange);
    else if (this.#all.size < this.#options.connections) this.#open().carry(exchange);
    else this.#waiting.push(exchange);
  }

  /** Ends all connections; what they carry, and what waits, fails. */
  close(): void {
    this.#isClosed = true;
    for (const exchange of this.#waiting.splice(0)) exchange.failed(closed);
    for (const connection of this.#all) connection.end(closed);
  }

  /** One that grew too old, or that the server ended, is passed over: it is free until its close is told, which is a moment later. */
  #takeFree(): Connection | undefined {
    let free = this.#free.pop();
    while (free?.isEnding === true) free = this.#free.pop();
    return free;
  }

  #open(): Connection {
    const { endpoint, keep } = this.#options;
    const connection = new Connection(endpoint, {
      freed: () => {
        // Whoever waits takes the place of one that is not kept: `gone` sees to it.
        const next = keep ? this.#next() : undefined;
        if (next !== undefined) connection.carry(next);
        else if (keep && !this.#isClosed) this.#free.push(connection);
        else connection.end();
      },
      gone: () => {
        this.#all.delete(connection);
        const at = this.#free.indexOf(connection);
        if (at >= 0) this.#free.splice(at, 1);
        const next = this.#next();
        if (next !== undefined) this.carry(next);
      },
    });
    this.#all.add(connection);
    return connection;
  }

  /** The longest waiting that has not been given up. */
  #next(): Exchange | undefined {
    let next = this.#waiting.shift();
    while (next?.isOver === true) next = this.#waiting.shift();
    return next;
  }
}

const closed = new Error("the client of the Kubernetes API was closed");

/** One connection, which carries one exchange at a time. */
class Connection implements Carrier {
  /** The TCP connection: under TLS, only that can be reset. */
  readonly #tcp: Socket;
  /** What requests are written to. */
  readonly #socket: Socket;
  readonly #told: { freed(): void; gone(): void };
  #stands = false;
  #exchange: Exchange | undefined;
  #reader: AnswerReader | undefined;
  #cause: Error | undefined;
  #idleMs: number = limits.freeSocketTimeoutMs;

  constructor({ host, port, tls }: Endpoint, told: { freed(): void; gone(): void }) {
    this.#told = told;
    this.#tcp = connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: limits.peerSilenceMs,
    });
    this.#socket = tls === undefined ? this.#tcp : secured(this.#tcp, host, tls);
    const late = (what: string, ms: number) =>
      systemClock.after(ms, () => this.end(new Error(`no ${what} within ${ms} ms`)));
    let cancel = late("connection", limits.connectTimeoutMs);
    if (tls !== undefined) {
      this.#tcp.once("connect", () => {
        cancel();
        cancel = late("TLS handshake", limits.handshakeTimeoutMs);
      });
    }
    this.#socket
      .once(tls === undefined ? "connect" : "secureConnect", () => {
        cancel();
        this.#stands = true;
        this.#socket.setTimeout(this.#idleMs);
        this.#write();
      })
      .on("data", (bytes) => this.#read(bytes))
      .on("end", () => this.#reader?.close())
      .on("error", (error) => {
        this.#cause ??= error;
      })
      .on("timeout", () => {
        if (this.#exchange === undefined) this.#socket.destroy();
      })
      .once("close", () => {
        cancel();
        this.#exchange?.failed(this.#cause ?? new Error("the connection was closed before the end of the answer"));
        told.gone();
      });
  }

  /** True as soon as nothing can be sent by it any more; its close is told later. */
  get isEnding(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded;
  }

  /** Sends it now, or as soon as the connection stands. */
  carry(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#reader = new AnswerReader(
      {
        began: (head) => {
          this.#idleMs = idleMsOf(head.headers["keep-alive"]);
          exchange.began(head);
        },
        brought: (bytes) => exchange.brought(bytes),
        ended: (reusable) => this.#done(exchange, reusable),
      },
      exchange.method,
    );
    exchange.carriedBy(this);
    this.#socket.ref();
    if (this.#stands) this.#write();
  }

  /** Closes it. What it carries fails with this cause, or with that of the connection. */
  end(cause?: Error): void {
    this.#cause ??= cause;
    this.#socket.destroy();
  }

  abandon(): void {
    // Closing alone would leave what the kernel has not sent yet to be delivered whenever the network lets it: a create could
    // take effect long after its caller gave it up.
    this.#tcp.resetAndDestroy();
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  #write(): void {
    if (this.#exchange === undefined) return;
    this.#exchange.sending();
    this.#socket.write(this.#exchange.bytes);
  }

  #read(bytes: Buffer): void {
    // Nothing was asked.
    if (this.#reader === undefined) this.#socket.destroy();
    try {
      this.#reader?.push(bytes);
    } catch (error) {
      this.end(error as Error);
    }
  }

  #done(exchange: Exchange, reusable: boolean): void {
    this.#exchange = undefined;
    this.#reader = undefined;
    if (reusable && this.#idleMs > 0) {
      // Nothing that is unused keeps the program running.
      this.#socket.unref();
      if (this.#socket.timeout !== this.#idleMs) this.#socket.setTimeout(this.#idleMs);
      this.#socket.resume();
      exchange.ended();
      this.#told.freed();
    } else {
      exchange.ended();
      this.#socket.destroy();
    }
  }
}

function secured(socket: Socket, host: string, endpoint: EndpointTls): Socket {
  const { context, serverName, verify, session } = endpoint;
  const above = tls.connect({
    socket,
    host,
    secureContext: context,
    // An address is no name that TLS could send; the certificate is compared with it all the same.
    servername: serverName ?? (isIP(host) === 0 ? host : ""),
    rejectUnauthorized: verify,
    ALPNProtocols: ["http/1.1"],
    session,
  });
  above.on("session", (next) => {
    endpoint.session = next;
  });
  // Errors of the one below come up through the one above.
  socket.on("error", (error) => above.destroy(error));
  return above;
}

/** A server that says how long it keeps an unused connection closes it then, under a request if we do not do so before. */
function idleMsOf(keepAlive: string | undefined): number {
  const [, seconds] = /(?:^|[ ,])timeout=(\d+)/.exec(keepAlive ?? "") ?? [];
  const { freeSocketTimeoutMs } = limits;
  return seconds === undefined ? freeSocketTimeoutMs : Math.min(freeSocketTimeoutMs, Number(seconds) * 1000 - 1000);
}
