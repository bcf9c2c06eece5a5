import { chmodSync, type FSWatcher, mkdirSync, renameSync, rmSync, statSync, watch } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { dirname } from "node:path";
import { type Logger, SpiderError } from "#base";
import { encodeFrame, type Frame, FrameReader, type PluginOutput, type RawCall } from "#cni";
import { acceptWaiting, bindUnixSocket, readWaiting } from "#linux";
import type { ShimExec } from "../sandboxes/foreign.ts";

/** What a call may do through the shim that made it. */
export interface CallContext {
  readonly exec: ShimExec;
  /** Aborts when the shim goes away: the runtime gave the call up. */
  readonly signal: AbortSignal;
}

/** Answers one call; it must turn its own errors into output and never throw. */
export type CallHandler = (call: RawCall, context: CallContext) => Promise<PluginOutput>;

/** A connection that sends nothing for this long is closed. */
const idleMsMax = 10_000;
/** Connections at once: the kernel's queue holds those that come beyond. */
const connectionsMax = 1_200;
const backlog = 1024;

/** A listening socket: its name, and what is behind it. */
interface Listener {
  readonly path: string;
  readonly inode: number;
  readonly fd: number;
}

/** Serves a connection from which `early` has been read already. Never rejects. */
type Serve = (socket: Socket, early?: Buffer) => Promise<void>;

/** The unix socket on which shims call: one call a connection. */
export class CniServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #path: string;
  readonly #inode: number;
  readonly #superseded = new AbortController();
  readonly #watcher: FSWatcher;
  readonly #serve: Serve;
  /** Calls of connections that were taken here and not by Node. */
  readonly #serving = new Set<Promise<void>>();
  #connections = 0;

  private constructor(server: Server, listener: Listener, serveOne: Serve) {
    this.#server = server;
    this.#path = listener.path;
    this.#inode = listener.inode;
    this.#serve = serveOne;
    server.on("connection", (socket) => {
      this.#connections += 1;
      void this.#serve(socket);
      this.#acceptAll(listener.fd);
    });
    this.#watcher = watch(dirname(listener.path), { persistent: false }, () => this.#look());
    this.#look();
  }

  /**
   * Node takes one connection in each turn of its event loop, and in a burst a turn is long: whoever called last would wait
   * for hundreds of turns before anybody knew of it. A shim has said its call by then: read only in the next turn, it would wait
   * for as long again.
   */
  #acceptAll(listening: number): void {
    while (this.#serving.size < connectionsMax) {
      const fd = acceptWaiting(listening);
      if (fd === undefined) return;
      this.#connections += 1;
      const early = readWaiting(fd);
      const socket = new Socket({ fd, allowHalfOpen: true });
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      const serving = this.#serve(socket, early).then(() => closed);
      this.#serving.add(serving);
      void serving.then(() => this.#serving.delete(serving));
    }
  }

  /** Aborts when another agent listens under the path: this one gets no more calls. */
  get superseded(): AbortSignal {
    return this.#superseded.signal;
  }

  #look(): void {
    const found = statSync(this.#path, { throwIfNoEntry: false })?.ino;
    if (found !== undefined && found !== this.#inode) this.#superseded.abort(new Error("another agent took over"));
  }

  /**
   * Listens on `path`, readable by root only. The socket appears under its name when it already accepts, and takes the
   * place of one that an earlier agent left.
   */
  static async listen(path: string, handler: CallHandler, log: Logger): Promise<CniServer> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    const fresh = `${path}.${process.pid}`;
    rmSync(fresh, { force: true });
    const fd = bindUnixSocket(fresh);
    chmodSync(fresh, 0o600);
    const server = createServer({ allowHalfOpen: true });
    server.maxConnections = connectionsMax;
    const serveOne: Serve = (socket, early) =>
      serve(socket, { handler, log, early }).catch((err: unknown) => {
        log.warn({ err }, "a call was dropped");
        socket.destroy();
      });
    const { ino: inode } = statSync(fresh);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd }, backlog, resolve);
    });
    renameSync(fresh, path);
    return new CniServer(server, { path, inode, fd }, serveOne);
  }

  /**
   * Takes the socket away if it is still ours, takes the calls that had reached it, and waits until every call has been
   * answered: none is lost to a shim that was just about to be accepted.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    if (statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) rmSync(this.#path, { force: true });
    // A connect that had found the socket before it went is in the kernel's queue by now, or within microseconds.
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (let before = -1; before !== this.#connections; ) {
      before = this.#connections;
      // Two turns of the event loop hold at least one look at the queue.
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all([new Promise<void>((resolve) => this.#server.close(() => resolve())), ...this.#serving]);
  }
}

interface ServeOptions {
  readonly handler: CallHandler;
  readonly log: Logger;
  readonly early: Buffer | undefined;
}

async function serve(socket: Socket, { handler, log, early }: ServeOptions): Promise<void> {
  const frames = new Frames(socket, early);
  const first = await frames.next();
  if (first === undefined) return void socket.destroy();
  if (first.kind !== "call")
    throw new SpiderError("FRAME_INVALID", "a connection must open with a call", { details: { kind: first.kind } });
  socket.setTimeout(0);
  const gone = new AbortController();
  const onGone = () => gone.abort(new SpiderError("CALLER_GONE", "the runtime gave the call up"));
  // A shim never closes one half only: the end of what it sends is its own.
  for (const event of ["end", "close"] as const) socket.once(event, onGone);
  const execute: ShimExec = async (command) => {
    if (!gone.signal.aborted) {
      socket.write(encodeFrame({ kind: "exec", ...command }));
      const answer = await frames.next();
      if (answer?.kind === "output") return answer;
    }
    throw new SpiderError("SHIM_GONE", "the shim ended before the plugin that it was to run", {
      details: { plugin: command.argv0 },
    });
  };
  let last: Promise<unknown> = Promise.resolve();
  const exec: ShimExec = (command) => {
    const running = last.then(() => execute(command));
    last = running.catch(() => {});
    return running;
  };
  const output = await handler(first, { exec, signal: gone.signal });
  for (const event of ["end", "close"] as const) socket.off(event, onGone);
  if (gone.signal.aborted) {
    log.debug({}, "the caller was gone before its answer");
    return void socket.destroy();
  }
  const { exitCode = 1, stdout, stderr } = output;
  // All that the shim reads: closed at once, it costs less than to close one half and hear of the other.
  // Not within the callback: Node makes an error, with its stack, for a stream that is destroyed there.
  socket.write(encodeFrame({ kind: "result", exitCode, stdout, stderr }), () =>
    process.nextTick(() => socket.destroy()),
  );
}

/** The frames of one connection, in order. */
class Frames {
  readonly #reader = new FrameReader();
  readonly #ready: Frame[] = [];
  #waiting: PromiseWithResolvers<void> | undefined;
  #ended = false;
  #error: unknown;

  constructor(socket: Socket, early: Buffer | undefined) {
    socket.setTimeout(idleMsMax, () => socket.destroy());
    if (early !== undefined) this.#take(early);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    const end = () => {
      this.#ended = true;
      this.#waiting?.resolve();
    };
    socket.on("end", end);
    socket.on("close", end);
    // The reason is of no use: the connection is closed after it, and that is handled.
    socket.on("error", end);
  }

  #take(chunk: Buffer): void {
    try {
      this.#ready.push(...this.#reader.push(chunk));
    } catch (error) {
      this.#error = error;
    }
    this.#waiting?.resolve();
  }

  /** The next frame, or undefined when the other side has closed. Throws FRAME_INVALID. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#ready.shift();
      if (frame !== undefined) return frame;
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      this.#waiting = Promise.withResolvers<void>();
      await this.#waiting.promise;
    }
  }
}
