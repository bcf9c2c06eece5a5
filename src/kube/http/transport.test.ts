import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import diagnostics from "node:diagnostics_channel";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { never, systemClock } from "#base";
import { KubeClient } from "../client.ts";
import { ApiUnreachableError } from "../errors.ts";
import { nodes } from "../kinds/core.ts";
import { limits } from "../limits.ts";
import { selfSigned } from "../testing/certificate.ts";
import { serving, textOf } from "../testing/serving.ts";
import type { KubeConfig } from "./config.ts";
import { createTransport } from "./transport.ts";

const o = { signal: never };
const get = { method: "GET", path: "/api/v1/nodes/n1", headers: {} };

describe("createTransport()", () => {
  it("gives a connection up whose handshake does not end, as a request that was not sent, and no earlier", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const silent = createServer(() => {}).listen(0, "127.0.0.1"); // takes the connection, and never shakes hands
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    using transport = createTransport(
      { server: `https://127.0.0.1:${port}`, insecureSkipTlsVerify: true, namespace: "default" },
      { clock: systemClock },
    );
    const sending = transport.send({ ...get, method: "POST" }, o);
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    sending.then(over, over);
    const [socket] = await once(silent, "connection");
    await once(socket, "data"); // of the client's handshake: its connection stands
    t.mock.timers.tick(limits.handshakeTimeoutMs - 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isOver, false);
    t.mock.timers.tick(1);
    await assert.rejects(sending, (error) => error instanceof ApiUnreachableError && error.outcome === "not-sent");
    socket.destroy();
    silent.close();
  });

  it("sends method, path, headers and body, and keeps the connection", async () => {
    const ports = new Set<number | undefined>();
    const seen: string[] = [];
    const echo: http.RequestListener = async (request, response) => {
      ports.add(request.socket.remotePort);
      seen.push(`${request.method} ${request.url} ${request.headers["content-type"]}`);
      request.pipe(response);
    };
    await serving(echo, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      for (const body of ["one", "zwei äöü"]) {
        const request = {
          method: "POST",
          path: "/x?y=1",
          headers: { "content-type": "text/plain" },
          body: Buffer.from(body),
        };
        const response = await transport.send(request, o);
        assert.equal(seen.at(-1), "POST /x?y=1 text/plain");
        assert.equal(await textOf(response.body), body);
      }
    });
    assert.equal(ports.size, 1);
  });

  it("knows that nothing was sent where nobody listens", async () => {
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address() as AddressInfo;
    free.close();
    await once(free, "close");
    const server = `http://127.0.0.1:${port}`;
    using transport = createTransport({ server, insecureSkipTlsVerify: false, namespace: "" }, { clock: systemClock });
    await assert.rejects(transport.send({ ...get, method: "DELETE" }, o), (error: unknown) => {
      assert.ok(error instanceof ApiUnreachableError);
      assert.deepEqual([error.outcome, error.server], ["not-sent", server]);
      assert.match(String(error.cause), /ECONNREFUSED/);
      return true;
    });
  });

  it("leaves the outcome open where the connection breaks after the request, on new and kept connections", async () => {
    let requests = 0;
    const cut: http.RequestListener = (request, response) => {
      requests += 1;
      if (requests === 2) response.end("{}");
      else request.socket.destroy();
    };
    await serving(cut, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const post = { ...get, method: "POST" };
      const isUnknown = (error: unknown) => error instanceof ApiUnreachableError && error.outcome === "unknown";
      await assert.rejects(transport.send(post, o), isUnknown);
      await textOf((await transport.send(post, o)).body);
      await assert.rejects(transport.send(post, o), isUnknown);
    });
  });

  it("says in the body that the connection broke", async () => {
    const half: http.RequestListener = (_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("half", () => response.socket?.destroy());
    };
    await serving(half, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const response = await transport.send(get, o);
      await assert.rejects(textOf(response.body), (error: unknown) => error instanceof ApiUnreachableError);
    });
  });

  it("has the kernel ask whether the peer of a watch is there, so that one that was cut off ends soon", async () => {
    await serving(
      (_request, response) => response.flushHeaders(),
      async (config) => {
        using transport = createTransport(config, { clock: systemClock });
        const watch = new AbortController();
        await transport.send({ ...get, path: "/api/v1/pods?watch=true" }, watch);
        const { port } = new URL(config.server);
        const timers = execFileSync("ss", ["-tnoH", "dst", `127.0.0.1:${port}`], { encoding: "utf8" });
        const [, seconds] = /timer:\(keepalive,([0-9.]+)sec,0\)/.exec(timers) ?? [];
        assert.ok(Number(seconds) <= limits.peerSilenceMs / 1000, timers);
        watch.abort();
      },
    );
  });

  it("opens a watch that waited for a place as soon as another one has ended", async () => {
    const watches: http.ServerResponse[] = [];
    await serving(
      (_request, response) => {
        response.flushHeaders();
        watches.push(response);
      },
      async (config) => {
        using transport = createTransport(config, { clock: systemClock });
        const end = new AbortController();
        const open = () => transport.send({ ...get, path: "/api/v1/pods?watch=true" }, end);
        await Promise.all(Array.from({ length: limits.watchSockets }, open));
        const waiting = open();
        watches[0]?.end();
        assert.equal((await waiting).status, 200);
        end.abort();
      },
    );
  });

  it("ends with the signal's reason before the head, and within the body", async () => {
    const open: http.RequestListener = (request, response) => {
      if (request.url === "/body") response.write("{");
    };
    await serving(open, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const first = new AbortController();
      const waiting = transport.send(get, first);
      first.abort(new Error("head"));
      await assert.rejects(waiting, /head/);
      const second = new AbortController();
      const { body } = await transport.send({ ...get, path: "/body" }, second);
      const reading = textOf(body);
      second.abort(new Error("body"));
      await assert.rejects(reading, /body/);
      await assert.rejects(transport.send(get, second), /body/);
    });
  });

  for (const scheme of ["http", "https"]) {
    it(`resets the connection of a call that was given up: what is still on its way never arrives, over ${scheme}`, async () => {
      const server = scheme === "https" ? https.createServer(selfSigned("reset")) : http.createServer();
      const arrived = Promise.withResolvers<void>();
      const neverAnswers: http.RequestListener = () => arrived.resolve();
      const giveUp = async (config: KubeConfig) => {
        // Between the two, where a reset is seen as one: TLS makes an ordinary end of it.
        const broken = Promise.withResolvers<NodeJS.ErrnoException>();
        const relay = createServer((socket) => {
          const onward = connect(Number(new URL(config.server).port), "127.0.0.1");
          socket.on("error", broken.resolve).on("close", () => onward.destroy());
          socket.pipe(onward).pipe(socket);
        }).listen(0, "127.0.0.1");
        await once(relay, "listening");
        const url = `${scheme}://127.0.0.1:${(relay.address() as AddressInfo).port}`;
        const to = { ...config, server: url, insecureSkipTlsVerify: true };
        using transport = createTransport(to, { clock: systemClock });
        const stop = new AbortController();
        const sending = transport.send({ ...get, method: "POST", body: Buffer.from("{}") }, { signal: stop.signal });
        await arrived.promise;
        stop.abort(new Error("given up"));
        await assert.rejects(sending, /given up/);
        assert.equal((await broken.promise).code, "ECONNRESET");
        relay.close();
      };
      await serving(neverAnswers, giveUp, server);
    });
  }

  it("does not let watches take the connections of calls", async () => {
    const hold: http.RequestListener = (request, response) => {
      if (request.url?.includes("watch=true") === true) response.write("\n");
      else response.end("{}");
    };
    await serving(hold, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const stop = new AbortController();
      for (let n = 0; n < limits.callSockets; n++) {
        await transport.send({ ...get, path: `/api/v1/nodes?n=${n}&watch=true` }, stop);
      }
      assert.equal(await textOf((await transport.send(get, o)).body), "{}");
      stop.abort();
    });
  });

  it("gives a free connection to who waits longest, and none to who gave up meanwhile", async () => {
    const waiting: http.ServerResponse[] = [];
    const seen: (string | undefined)[] = [];
    const slow: http.RequestListener = ({ url }, response) => {
      seen.push(url);
      waiting.push(response);
    };
    await serving(slow, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const isBusy = (path: string) => ({ ...get, path, isView: true });
      const held = Array.from({ length: limits.viewSockets }, (_, n) => transport.send(isBusy(`/held${n}`), o));
      const impatient = new AbortController();
      const [given, ...late] = ["/given-up", "/first", "/second"].map((path) =>
        transport.send(isBusy(path), path === "/given-up" ? impatient : o),
      );
      impatient.abort(new Error("given up"));
      await assert.rejects(given as Promise<unknown>, /given up/);
      const arrived = async (count: number) => {
        while (seen.length < count) await new Promise((resolve) => setImmediate(resolve));
      };
      await arrived(limits.viewSockets);
      for (let n = 1; n <= late.length; n++) {
        waiting.shift()?.end("{}");
        await arrived(limits.viewSockets + n);
      }
      for (const response of waiting) response.end("{}");
      for (const { body } of await Promise.all([...held, ...late])) assert.equal(await textOf(body), "{}");
      assert.deepEqual(seen.slice(limits.viewSockets), ["/first", "/second"]);
    });
  });

  it("sends nothing into a connection that the server said it would close, and closes what is unused as early as it asked", async () => {
    const ports = new Set<number | undefined>();
    const server = http.createServer({ keepAliveTimeout: 1_000 }); // its answers say so: Keep-Alive: timeout=1
    const short: http.RequestListener = (request, response) => {
      ports.add(request.socket.remotePort);
      response.end("{}");
    };
    const twice = async (config: KubeConfig) => {
      using transport = createTransport(config, { clock: systemClock });
      for (let n = 0; n < 2; n++) assert.equal(await textOf((await transport.send(get, o)).body), "{}");
    };
    await serving(short, twice, server);
    assert.equal(ports.size, 2);
  });

  for (const event of ["timeout", "end"] as const) {
    it(`sends nothing into an unused connection between its ${event} and its close`, async () => {
      const sockets: Socket[] = [];
      const note = (message: unknown) => sockets.push((message as { readonly socket: Socket }).socket);
      diagnostics.subscribe("net.client.socket", note);
      const peers: Socket[] = [];
      const brief: http.RequestListener = (request, response) => {
        peers.push(request.socket);
        response.end("{}");
      };
      try {
        await serving(brief, async (config) => {
          using transport = createTransport(config, { clock: systemClock });
          await textOf((await transport.send({ ...get, method: "POST" }, o)).body);
          const second = Promise.withResolvers<string>();
          // As a burst that begins in the same turn of the event loop in which the connection grew too old.
          sockets[0]?.once(event, () =>
            queueMicrotask(() => {
              const sending = transport.send({ ...get, method: "POST" }, o);
              sending.then(({ body }) => textOf(body)).then(second.resolve, second.reject);
            }),
          );
          if (event === "timeout") sockets[0]?.setTimeout(1);
          else peers[0]?.end();
          assert.equal(await second.promise, "{}");
        });
      } finally {
        diagnostics.unsubscribe("net.client.socket", note);
      }
      assert.equal(new Set(peers).size, 2);
    });
  }

  it("reads a body no faster than its reader, and all of it", async () => {
    const bytes = 64 * 2 ** 20;
    let written = 0;
    const large: http.RequestListener = async (_request, response) => {
      const piece = Buffer.alloc(2 ** 16, "x");
      for (; written < bytes; written += piece.length) {
        if (!response.write(piece)) await once(response, "drain");
      }
      response.end();
    };
    await serving(large, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const { body } = await transport.send(get, o);
      // Until the server has not got on for some turns: what is in between is what the kernel and this side hold.
      for (let before = -1, still = 0; still < 50; before = written) {
        await new Promise((resolve) => setImmediate(resolve));
        still = written === before ? still + 1 : 0;
      }
      assert.ok(written < bytes / 2, `${written} bytes left the server, and nobody read`);
      let read = 0;
      for await (const chunk of body) read += chunk.length;
      assert.equal(read, bytes);
    });
  });

  it("fails what is under way and what waits when it is disposed", async () => {
    await serving(
      () => {},
      async (config) => {
        const transport = createTransport(config, { clock: systemClock });
        const sending = Array.from({ length: limits.viewSockets + 1 }, () =>
          transport.send({ ...get, isView: true }, o),
        );
        transport[Symbol.dispose]();
        for (const { status, reason } of (await Promise.allSettled(sending)) as PromiseRejectedResult[]) {
          assert.equal(status, "rejected");
          assert.match(String(reason.cause), /was closed/);
        }
      },
    );
  });

  it("refuses to send what could be read as more than one request", async () => {
    const config = { server: "http://127.0.0.1:1", insecureSkipTlsVerify: false, namespace: "" };
    using transport = createTransport(config, { clock: systemClock });
    for (const request of [
      { ...get, path: "/a b" },
      { ...get, path: "/a\r\nx: y" },
      { ...get, headers: { accept: "json\r\nx: y" } },
    ]) {
      await assert.rejects(transport.send(request, o), TypeError);
    }
  });

  it("sends a claim at once while views wait for a slow server", async () => {
    const waiting: http.ServerResponse[] = [];
    const slow: http.RequestListener = (request, response) => {
      if (request.method === "POST") response.end("{}");
      else waiting.push(response);
    };
    await serving(slow, async (config) => {
      using transport = createTransport(config, { clock: systemClock });
      const claims = new KubeClient({ transport, clock: systemClock });
      const views = claims.forViews();
      const stop = new AbortController();
      // More than there are connections for calls and views together.
      const count = limits.callSockets + limits.viewSockets + 1;
      const hanging = Array.from({ length: count }, (_, n) => views.get(nodes, { name: `n${n}` }, stop));
      const settled = Promise.allSettled(hanging);
      const { promise: busy, resolve } = Promise.withResolvers<void>();
      const look = () => (waiting.length < limits.viewSockets ? setImmediate(look) : resolve());
      look();
      await busy;
      await claims.post(nodes, { name: "n1" }, "binding", {}, o);
      assert.equal(waiting.length, limits.viewSockets, "the other views wait for a connection");
      stop.abort(new Error("stop"));
      assert.ok((await settled).every(({ status }) => status === "rejected"));
    });
  });
});
