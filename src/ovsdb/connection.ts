import { createConnection, type NetConnectOpts, type Socket } from "node:net";
import { type Signal, SpiderError, systemClock } from "#base";
import { JsonSplitter } from "./json-stream.ts";
import { limits } from "./limits.ts";

interface Waiter {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface ConnectionEvents {
  /** A message that needs no answer. `echo` never arrives here: the connection answers it itself. */
  readonly onNotification: (method: string, params: readonly unknown[]) => void;
  /** Whatever has come, a part of a message too: the server is alive. */
  readonly onHeard: () => void;
}

/**
 * JSON-RPC 1.0 over one stream (RFC 7047 §4). It lives until either side closes it; every call under way then fails with
 * the reason.
 */
export class Connection {
  /** Settles, never rejects, with the reason when the connection is gone. */
  readonly closed: Promise<Error>;
  readonly #socket: Socket;
  readonly #splitter = new JsonSplitter({ bytesMax: limits.messageBytesMax });
  readonly #waiters = new Map<number, Waiter>();
  readonly #events: ConnectionEvents;
  #nextId = 1;
  #failure: Error | undefined;

  /** Connects; rejects with the system's error, or with the signal's reason. */
  static async open(to: NetConnectOpts, events: ConnectionEvents, { signal }: Signal): Promise<Connection> {
    signal.throwIfAborted();
    const socket = createConnection(to);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", resolve).once("error", reject);
    try {
      await promise;
      return new Connection(socket, events);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      socket.off("connect", resolve).off("error", reject);
    }
  }

  private constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.close(error));
    const gone = Promise.withResolvers<Error>();
    this.closed = gone.promise;
    socket.once("close", () => {
      this.close(new SpiderError("OVSDB_CLOSED", "the database server closed the connection"));
      gone.resolve(this.#failure ?? new Error("closed"));
    });
  }

  /**
   * Sends a request and returns its `result`. The bytes are given to the kernel before this returns, unless earlier ones
   * still wait. Without an answer within `limits.answerMs` the whole connection is given up.
   *
   * @throws SpiderError OVSDB_REFUSED when the answer is an error, or the reason why the connection ended
   */
  call(method: string, params: readonly unknown[]): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiters.set(id, { resolve, reject });
    this.#send({ method, params, id });
    const cancel = systemClock.after(limits.answerMs, () =>
      this.close(new SpiderError("OVSDB_SILENT", "the database server did not answer", { details: { method } })),
    );
    return promise.finally(cancel);
  }

  /** Ends the connection; calls under way fail with `reason`. */
  close(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#socket.destroy();
    for (const waiter of this.#waiters.values()) waiter.reject(reason);
    this.#waiters.clear();
  }

  #send(message: object): void {
    this.#socket.write(JSON.stringify(message));
  }

  #receive(chunk: Buffer): void {
    this.#events.onHeard();
    try {
      for (const message of this.#splitter.push(chunk)) this.#dispatch(message as Record<string, unknown>);
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #dispatch({ id, method, params, result, error }: Record<string, unknown>): void {
    if (typeof method === "string") {
      // RFC 7047 §4.1.11: the peer ends a connection whose echo stays unanswered.
      if (method === "echo") this.#send({ id, result: params, error: null });
      else this.#events.onNotification(method, Array.isArray(params) ? params : []);
      return;
    }
    if (typeof id !== "number") return;
    const waiter = this.#waiters.get(id);
    this.#waiters.delete(id);
    if (error === undefined || error === null) waiter?.resolve(result);
    else waiter?.reject(refused(error));
  }
}

function refused(error: unknown): SpiderError {
  return new SpiderError("OVSDB_REFUSED", "the database server refused the request", { details: { error } });
}
