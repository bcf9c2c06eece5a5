import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { KubeConfig } from "../http/config.ts";

/** Serves on loopback while `act` runs. */
export async function serving<T>(
  handler: http.RequestListener,
  act: (config: KubeConfig) => Promise<T>,
  server: http.Server = http.createServer(),
): Promise<T> {
  server.on("request", handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const scheme = server instanceof https.Server ? "https" : "http";
  try {
    return await act({ server: `${scheme}://127.0.0.1:${port}`, insecureSkipTlsVerify: false, namespace: "default" });
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
}

/** A body as text. */
export async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
