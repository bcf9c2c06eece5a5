import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import type { PodRunner } from "./pod-runner.ts";

interface ContainerServer {
  close(): Promise<void>;
}

type FindPod = (namespace: string, name: string) => PodRunner | undefined;

const protocol = "v5.channel.k8s.io";
/** Channels of the protocol: the first byte of every message. */
const channels = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;
const followPollMs = 100;

/** Serves `/containerLogs/NAMESPACE/POD/CONTAINER` and, over WebSocket, `/exec/NAMESPACE/POD/CONTAINER`, as a kubelet does. */
export async function serveContainers(hostName: string, port: number, findPod: FindPod): Promise<ContainerServer> {
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => offered.has(protocol) && protocol,
  });
  const server = createServer((request, response) => {
    serveLogs(request, response, findPod).catch((error: unknown) => response.destroy(error as Error));
  });
  server.on("upgrade", (request, socket, head) => {
    const { pod, container, query } = target(request, "exec", findPod);
    const argv = pod?.container(container)?.command(commandOf(query));
    if (argv === undefined) refuse(socket, `container not found ("${container}")`);
    else sockets.handleUpgrade(request, socket, head, (ws) => attach(ws, argv, query));
  });
  server.listen(port, hostName);
  await once(server, "listening");
  return {
    close: async () => {
      for (const ws of sockets.clients) ws.terminate();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** Answers a call that asked for a WebSocket. */
function refuse(socket: Duplex, why: string): void {
  const headers = `connection: close\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(why)}`;
  socket.end(`HTTP/1.1 404 Not Found\r\n${headers}\r\n\r\n${why}`);
}

function target(request: IncomingMessage, verb: string, findPod: FindPod) {
  const url = new URL(request.url ?? "/", "http://kubelet");
  const [, path, namespace = "", name = "", container = ""] = url.pathname.split("/").map(decodeURIComponent);
  return { pod: path === verb ? findPod(namespace, name) : undefined, container, query: url.searchParams };
}

async function serveLogs(request: IncomingMessage, response: ServerResponse, findPod: FindPod): Promise<void> {
  const { pod, container, query } = target(request, "containerLogs", findPod);
  const file = pod?.logFile(container) ?? "";
  const size = (await stat(file).catch(() => undefined))?.size;
  if (pod === undefined || size === undefined) {
    response.writeHead(404, { "content-type": "text/plain" }).end(`container "${container}" has no log on this node\n`);
    return;
  }
  response.writeHead(200, { "content-type": "text/plain" });
  response.flushHeaders();
  const tailLines = query.get("tailLines");
  let offset = tailLines === null ? 0 : tailOffset(await readFile(file), Number(tailLines));
  for (;;) {
    const running = pod.container(container) !== undefined; // Checked first, so that output written before the end is still sent.
    for await (const chunk of createReadStream(file, { start: offset }) as AsyncIterable<Buffer>) {
      offset += chunk.length;
      if (!response.write(chunk)) await Promise.race([once(response, "drain"), once(response, "close")]);
    }
    if (query.get("follow") !== "true" || !running || response.destroyed) break;
    await delay(followPollMs);
  }
  response.end();
}

/** Where the last `lines` lines begin. */
function tailOffset(log: Buffer, lines: number): number {
  let at = log.length;
  for (let left = lines; left > 0 && at > 0; left--) at = at < 2 ? 0 : log.lastIndexOf(0x0a, at - 2) + 1;
  return at;
}

function commandOf(query: URLSearchParams): readonly string[] {
  const command = query.getAll("command");
  if (query.get("tty") !== "true") return command;
  // A terminal without a native module; script takes one line of shell, so each word is quoted.
  const line = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  return ["script", "-qec", line, "/dev/null"];
}

/** Connects a program to the channels of one exec, until it ends or the client leaves. */
function attach(ws: WebSocket, argv: readonly string[], query: URLSearchParams): void {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: "pipe" });
  const send = (channel: number, data: Uint8Array) => ws.send(Buffer.concat([Buffer.of(channel), data]));
  child.stdout.on("data", (data: Buffer) => send(channels.stdout, data));
  child.stderr.on("data", (data: Buffer) => send(channels.stderr, data));
  child.stdin.on("error", () => {}); // EPIPE: the program has closed its input
  if (query.get("stdin") !== "true") child.stdin.end();
  ws.on("message", (message: Buffer) => {
    const [channel, ...rest] = message.subarray(0, 2);
    if (channel === channels.stdin) child.stdin.write(message.subarray(1));
    if (channel === channels.close && rest[0] === channels.stdin) child.stdin.end();
  });
  ws.on("close", () => child.kill("SIGKILL"));
  child.on("error", (error) => finish(ws, send, { exitCode: 126, why: error.message }));
  child.on("close", (status) => finish(ws, send, { exitCode: status ?? 137, why: "" }));
}

function finish(
  ws: WebSocket,
  send: (channel: number, data: Uint8Array) => void,
  { exitCode, why }: { readonly exitCode: number; readonly why: string },
): void {
  if (ws.readyState !== ws.OPEN) return;
  const failure = {
    status: "Failure",
    reason: "NonZeroExitCode",
    message: `command terminated with non-zero exit code${why && `: ${why}`}`,
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
  const status = exitCode === 0 ? { status: "Success" } : failure;
  send(channels.status, Buffer.from(JSON.stringify({ metadata: {}, ...status })));
  ws.close(1_000);
}
