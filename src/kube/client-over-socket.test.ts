import assert from "node:assert/strict";
import type http from "node:http";
import { describe, it } from "node:test";
import { never, silentLogger, systemClock } from "#base";
import { KubeClient } from "./client.ts";
import { hasReason } from "./errors.ts";
import { createTransport } from "./http/transport.ts";
import { nodes } from "./kinds/core.ts";
import { serving } from "./testing/serving.ts";
import { WatchedStore } from "./watch/store.ts";

const o = { signal: never };

describe("KubeClient over a socket", () => {
  it("fills a store from chunks cut anywhere, over a slow head and a cut connection", async () => {
    const object = (version: number) => ({ metadata: { name: "n1", uid: "u", resourceVersion: String(version) } });
    let watches = 0;
    const server: http.RequestListener = (request, response) => {
      if (request.url?.includes("watch=true") !== true) {
        response.end(JSON.stringify({ kind: "List", metadata: { resourceVersion: "1" }, items: [object(1)] }));
        return;
      }
      watches += 1;
      response.flushHeaders();
      const version = watches + 1;
      const line = `${JSON.stringify({ type: "MODIFIED", object: object(version) })}\n`;
      const cut = 3 * watches;
      response.write(line.slice(0, cut), () => response.write(line.slice(cut), () => response.socket?.destroy()));
    };
    await serving(server, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const client = new KubeClient({ transport, clock: systemClock });
      // No backoff: the random source says 0.
      const store = new WatchedStore({
        client,
        resource: nodes,
        clock: systemClock,
        log: silentLogger,
        random: () => 0,
      });
      const stop = new AbortController();
      const running = store.run(stop);
      await store.waitFor("n1", (node) => node?.metadata.resourceVersion === "6", o);
      stop.abort();
      await running;
    });
  });

  it("keeps the server's words and Retry-After of a refusal", async () => {
    const busy: http.RequestListener = (_request, response) => {
      response.writeHead(429, { "retry-after": "2" });
      response.end(
        JSON.stringify({ kind: "Status", code: 429, reason: "TooManyRequests", message: "too many requests" }),
      );
    };
    await serving(busy, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const client = new KubeClient({ transport, clock: systemClock });
      await assert.rejects(client.get(nodes, { name: "n1" }, o), (error: unknown) => {
        assert.ok(hasReason(error, "TooManyRequests"));
        assert.deepEqual([error.serverMessage, error.retryAfterMs], ["too many requests", 2_000]);
        return true;
      });
    });
  });
});
