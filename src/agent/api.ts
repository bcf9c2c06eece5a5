import { chmodSync, mkdirSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { ListenOptions } from "node:net";
import { dirname } from "node:path";
import { codeOf } from "#base";

/** What each path answers with, as JSON; undefined is an empty answer. Throwing is a 500 with the sentence. */
export type Routes = Readonly<Record<string, () => unknown>>;

/** The agent's HTTP API on a unix socket that only root can open: `GET` only, JSON only. */
export async function serveApi(path: string, routes: Routes): Promise<AsyncDisposable> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  const server = await listen(routes, { path });
  chmodSync(path, 0o600);
  const { ino } = statSync(path);
  return {
    [Symbol.asyncDispose]: async () => {
      await close(server);
      // A later agent may have put its own there.
      if (statSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
    },
  };
}

/** The kubelet's probes, on both loopback addresses: nobody else is to reach them. A family that the node lacks is left out. */
export async function serveProbes(port: number, routes: Routes): Promise<AsyncDisposable> {
  const servers = [await listen(routes, { host: "127.0.0.1", port })];
  try {
    servers.push(await listen(routes, { host: "::1", port, ipv6Only: true }));
  } catch (error) {
    if (codeOf(error) !== "EADDRNOTAVAIL" && codeOf(error) !== "EAFNOSUPPORT") throw error;
  }
  return { [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map(close))) };
}

async function listen(routes: Routes, where: ListenOptions): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(body === undefined ? "" : JSON.stringify(body));
    };
    const route = routes[(request.url ?? "").split("?", 1)[0] ?? ""];
    if (route === undefined) return answer(404, `unknown path; there are ${Object.keys(routes).join(", ")}`);
    if (request.method !== "GET") return answer(405, "only GET is served");
    try {
      answer(200, route());
    } catch (error) {
      answer(500, error instanceof Error ? error.message : String(error));
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
  return server;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
