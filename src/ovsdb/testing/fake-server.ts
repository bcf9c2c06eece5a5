import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JsonSplitter } from "../json-stream.ts";

/** A JSON-RPC message as it came from the client. */
export interface Received {
  readonly method?: string;
  readonly params?: readonly unknown[];
  readonly id?: unknown;
  readonly result?: unknown;
}

/** A database server over a real socket that answers only what the test says: for faults that no real server makes. */
export interface FakeServer extends AsyncDisposable {
  readonly endpoint: string;
  /** The next message from any client. */
  next(): Promise<Received>;
  /** Sends bytes or an object to the client that connected last. */
  send(what: object | string): void;
  /** Answers the next message, which must be the monitor request, with this snapshot. */
  answerMonitor(snapshot: object): Promise<void>;
  /** Cuts the connection to the client. */
  cut(): void;
}

export async function startFakeServer(): Promise<FakeServer> {
  const folder = mkdtempSync(join(tmpdir(), "ovsdb-fake-"));
  const path = join(folder, "db.sock");
  const received: Received[] = [];
  const waiters: ((message: Received) => void)[] = [];
  let client: Socket | undefined;

  const server = createServer((socket) => {
    client = socket;
    const splitter = new JsonSplitter({ bytesMax: 1_000_000 });
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      for (const message of splitter.push(chunk) as Received[]) {
        const waiter = waiters.shift();
        if (waiter === undefined) received.push(message);
        else waiter(message);
      }
    });
  });
  server.listen(path);
  await once(server, "listening");

  const next = () => {
    const message = received.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise<Received>((resolve) => waiters.push(resolve));
  };
  const send = (what: object | string) => void client?.write(typeof what === "string" ? what : JSON.stringify(what));
  return {
    endpoint: `unix:${path}`,
    next,
    send,
    answerMonitor: async (snapshot) => {
      const { method, id } = await next();
      if (method !== "monitor_cond") throw new Error(`expected monitor_cond, got ${method}`);
      send({ id, result: snapshot, error: null });
    },
    cut: () => void client?.destroy(),
    [Symbol.asyncDispose]: async () => {
      client?.destroy();
      server.close();
      rmSync(folder, { recursive: true, force: true });
      await Promise.resolve();
    },
  };
}
