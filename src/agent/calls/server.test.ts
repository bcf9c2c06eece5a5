import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { silentLogger } from "#base";
import { encodeFrame, type Frame, FrameReader, type RawCall } from "#cni";
import { type CallHandler, CniServer } from "./server.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "server-"));
  path = join(folder, "run/cni.sock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const call: RawCall = { executable: "multus", env: { CNI_COMMAND: "ADD" }, stdin: Buffer.from("{}") };
const output = { exitCode: 0, stdout: Buffer.from("out"), stderr: Buffer.from("") };
const listen = (handler: CallHandler): Promise<CniServer> => CniServer.listen(path, handler, silentLogger);

function dial(): {
  readonly socket: Socket;
  readonly frames: AsyncGenerator<Frame, void>;
  readonly closed: Promise<void>;
} {
  const socket = connect(path);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => {});
  return { socket, closed, frames: framesOf(socket) };
}

async function* framesOf(socket: Socket): AsyncGenerator<Frame, void> {
  const reader = new FrameReader();
  for await (const chunk of socket) yield* reader.push(chunk);
}

describe("CniServer", () => {
  it("answers a call with the handler's output and ends the connection", async () => {
    await using _server = await listen(async ({ executable, stdin }) => {
      assert.deepEqual([executable, String(stdin)], ["multus", "{}"]);
      return output;
    });
    const { socket, frames } = dial();
    socket.write(encodeFrame({ kind: "call", ...call }));
    const all: Frame[] = [];
    for await (const frame of frames) all.push(frame);
    assert.deepEqual(
      all.map(({ kind }) => kind),
      ["result"],
    );
    assert.ok(all[0]?.kind === "result" && all[0].exitCode === 0 && String(all[0].stdout) === "out");
  });

  it("has the shim run foreign plugins, one after the other, within the call", async () => {
    await using _server = await listen(async (_call, { exec }) => {
      const command = {
        path: "/opt/cni/bin/tuning",
        argv0: "tuning",
        env: {},
        stdin: Buffer.from("c"),
        timeoutMs: 1_000,
      };
      await exec(command);
      return exec({ ...command, argv0: "again" });
    });
    const { socket, frames } = dial();
    socket.write(encodeFrame({ kind: "call", ...call }));
    const seen: string[] = [];
    for await (const frame of frames) {
      seen.push(frame.kind === "exec" ? frame.argv0 : frame.kind);
      if (frame.kind === "exec") socket.write(encodeFrame({ kind: "output", ...output, exitCode: 7 }));
      else assert.ok(frame.kind === "result" && frame.exitCode === 7);
    }
    assert.deepEqual(seen, ["tuning", "again", "result"]);
  });

  it("answers each of many that call at once, also with more than can be read when they are accepted", async () => {
    await using _server = await listen(async ({ stdin }) => ({ ...output, stdout: stdin.subarray(0, 8) }));
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, at) => {
        const { socket, frames } = dial();
        const stdin = Buffer.alloc(100_000, `${at}`.padStart(8));
        socket.write(encodeFrame({ kind: "call", ...call, stdin }));
        const { value } = await frames.next();
        return value?.kind === "result" ? Number(String(value.stdout)) : value?.kind;
      }),
    );
    assert.deepEqual(answers, [...answers.keys()]);
  });

  it("puts a call together that comes byte by byte", async () => {
    await using _server = await listen(async () => output);
    const { socket, frames } = dial();
    for (const byte of encodeFrame({ kind: "call", ...call })) socket.write(Uint8Array.of(byte));
    assert.equal((await frames.next()).value?.kind, "result");
    socket.destroy();
  });

  for (const [what, bytes] of [
    ["garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["a frame that opens no call", encodeFrame({ kind: "output", ...output })],
  ] as const) {
    it(`drops a connection that sends ${what}, and goes on serving`, async () => {
      await using _server = await listen(async () => output);
      const bad = dial();
      bad.socket.write(bytes);
      await bad.closed;
      const { socket, frames } = dial();
      socket.write(encodeFrame({ kind: "call", ...call }));
      assert.equal((await frames.next()).value?.kind, "result");
      socket.destroy();
    });
  }

  it("drops half a call whose sender went away, without calling the handler", async () => {
    let calls = 0;
    await using _server = await listen(async () => {
      calls += 1;
      return output;
    });
    const { socket, closed } = dial();
    socket.end(encodeFrame({ kind: "call", ...call }).subarray(0, 20));
    socket.resume();
    await closed;
    assert.equal(calls, 0);
  });

  it("tells the handler when the shim is gone", async () => {
    const aborted = Promise.withResolvers<unknown>();
    await using _server = await listen(async (_call, { signal }) => {
      signal.addEventListener("abort", () => aborted.resolve(signal.reason), { once: true });
      await aborted.promise;
      return output;
    });
    const { socket } = dial();
    socket.end(encodeFrame({ kind: "call", ...call }));
    assert.match(String(await aborted.promise), /gave the call up/);
  });

  it("fails a foreign plugin's run when the shim ends in the middle of it", async () => {
    const failed = Promise.withResolvers<unknown>();
    await using _server = await listen(async (_call, { exec }) => {
      const command = { path: "/p", argv0: "p", env: {}, stdin: Buffer.from(""), timeoutMs: 1_000 };
      await exec(command).catch(failed.resolve);
      return output;
    });
    const { socket, frames } = dial();
    socket.write(encodeFrame({ kind: "call", ...call }));
    await frames.next();
    socket.destroy();
    assert.match(String(await failed.promise), /the shim ended/);
  });

  it("is readable by root only, answers what is under way when it stops, and removes its socket", async () => {
    const entered = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const server = await listen(async () => {
      entered.resolve();
      await gate.promise;
      return output;
    });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const { socket, frames } = dial();
    socket.write(encodeFrame({ kind: "call", ...call }));
    await entered.promise;
    const stopped = server[Symbol.asyncDispose]();
    gate.resolve();
    assert.equal((await frames.next()).value?.kind, "result");
    await frames.return();
    await stopped;
    assert.equal(existsSync(path), false);
  });

  it("takes the place of an earlier agent's socket, and is not removed by it", async () => {
    const old = await listen(async () => output);
    await using _next = await listen(async () => ({ ...output, exitCode: 3 }));
    await old[Symbol.asyncDispose]();
    const { socket, frames } = dial();
    socket.write(encodeFrame({ kind: "call", ...call }));
    const { value } = await frames.next();
    assert.ok(value?.kind === "result" && value.exitCode === 3);
    socket.destroy();
  });

  it("loses no call when one server after the other takes its place under load, beside it or after it", async () => {
    const handler: CallHandler = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return output;
    };
    let ended = false;
    /** Calls as the shim does: where nobody listens it waits; a connection that breaks is a failed call. */
    const caller = async (): Promise<number> => {
      let calls = 0;
      while (!ended) {
        const { socket, frames, closed } = dial();
        const refused = new Promise<boolean>((resolve) => {
          socket.once("connect", () => resolve(false));
          socket.once("error", () => resolve(true));
        });
        if (await refused) {
          await closed;
          continue;
        }
        socket.write(encodeFrame({ kind: "call", ...call }));
        const { value } = await frames.next();
        assert.equal(value?.kind, "result", "a call that reached the socket is answered");
        await closed;
        calls += 1;
      }
      return calls;
    };
    let server = await listen(handler);
    const callers = Array.from({ length: 30 }, caller);
    for (let round = 0; round < 20; round++) {
      if (round % 2 === 0) {
        await server[Symbol.asyncDispose]();
        server = await listen(handler);
      } else {
        const next = await listen(handler);
        if (!server.superseded.aborted)
          await new Promise((resolve) => server.superseded.addEventListener("abort", resolve, { once: true }));
        await server[Symbol.asyncDispose]();
        server = next;
      }
      assert.equal(server.superseded.aborted, false);
    }
    ended = true;
    await server[Symbol.asyncDispose]();
    const next = await listen(handler); // for those that wait
    const counts = await Promise.all(callers);
    await next[Symbol.asyncDispose]();
    assert.ok(
      counts.every((count) => count > 0),
      String(counts),
    );
  });
});
