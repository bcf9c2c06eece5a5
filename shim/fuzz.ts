import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { encodeFrame, FrameReader, formatShimSettings, shimSettingsFile } from "#cni";
import { mulberry32 } from "../src/base/testing/random.ts";

/** Whole numbers below what is asked for, the same for the same seed. */
export function randomFrom(seed: number): (below: number) => number {
  const next = mulberry32(seed);
  return (below) => next() % below;
}

const bytes = (text: string) => Buffer.from(text);
/** What an agent says, to be damaged. An EXEC that survives runs /bin/true or nothing. */
const templates: readonly Uint8Array[] = [
  encodeFrame({ kind: "result", exitCode: 0, stdout: bytes('{"cniVersion":"1.0.0"}'), stderr: bytes("e") }),
  encodeFrame({ kind: "result", exitCode: 1, stdout: bytes(""), stderr: bytes("") }),
  encodeFrame({
    kind: "exec",
    path: "/nonexistent:/bin",
    argv0: "true",
    timeoutMs: 50,
    env: { CNI_COMMAND: "ADD", A: "b", EMPTY: "" },
    stdin: bytes("{}"),
  }),
  encodeFrame({ kind: "output", exitCode: 0, stdout: bytes("x"), stderr: bytes("") }),
];

/** One hostile answer: a frame with some of its bytes changed, cut, repeated or put in front of another; or noise. */
export function hostileAnswer(random: (below: number) => number): Uint8Array {
  const pick = () => Buffer.from(templates[random(templates.length)] ?? []);
  const frame = pick();
  switch (random(8)) {
    case 0:
      return frame.subarray(0, random(frame.length));
    case 1:
      return Buffer.from(Array.from({ length: random(64) }, () => random(256)));
    case 2:
      return Buffer.concat([frame, pick()]);
    case 3: {
      // A length, of the body or of a field, that lies.
      frame.writeUInt32BE([0, 1, 0x7fff_ffff, 0xffff_ffff, random(2 ** 32)][random(5)] ?? 0, random(2) === 0 ? 8 : 13);
      return frame;
    }
    case 4: {
      // Many variables.
      const env = Object.fromEntries(Array.from({ length: random(80) }, (_, at) => [`V${at}`, "x".repeat(random(40))]));
      const stdin = bytes("{}");
      const many = { kind: "exec", path: "/bin", argv0: "true", timeoutMs: 50, env, stdin } as const;
      return encodeFrame(many);
    }
    default: {
      for (let times = 1 + random(4); times > 0; times--) frame[random(frame.length)] = random(256);
      return frame;
    }
  }
}

interface FuzzOptions {
  readonly shim: string;
  readonly frames: number;
  readonly seed: number;
  /** Executed instead of the shim itself, with the shim's path as the last argument: valgrind. */
  readonly wrapper?: readonly string[];
  readonly parallel?: number;
  readonly onProgress?: (done: number) => void;
}

/**
 * Answers calls of the shim with hostile frames. Each process must end by itself, not by a signal, with exit status 0, 1 or
 * the one that it was told, and where it made the answer itself that is one CNI error. Returns what went wrong, at most ten.
 */
export async function fuzzShim(options: FuzzOptions): Promise<readonly string[]> {
  const { shim, frames, seed, wrapper = [], parallel = availableParallelism() * 2, onProgress } = options;
  const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
  const faults: string[] = [];
  const random = randomFrom(seed);
  const socketPath = join(folder, "agent.sock");
  let sent = 0;
  const server = await listen(socketPath, (socket) => {
    const reader = new FrameReader();
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      for (const _frame of reader.push(chunk)) {
        sent += 1;
        socket.write(hostileAnswer(random));
        if (random(2) === 0) socket.end();
      }
    });
    // A frame that is never complete: the shim is to give up at its own deadline.
    socket.setTimeout(200, () => socket.destroy());
  });
  const executable = join(folder, "ovs");
  copyFileSync(shim, executable); // It learns from the directory of its own file where the agent is.
  const settings = { socketPath, waitMs: { add: 2_000, del: 2_000, status: 2_000 }, replyMs: 1_000 };
  writeFileSync(join(folder, shimSettingsFile), formatShimSettings(settings));
  const one = async () => {
    while (sent < frames && faults.length < 10) {
      const fault = await call(wrapper, executable);
      if (fault !== undefined) faults.push(`${fault} (seed ${seed}, near frame ${sent})`);
      onProgress?.(sent);
    }
  };
  try {
    await Promise.all(Array.from({ length: parallel }, one));
  } finally {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  }
  return faults;
}

/** What is wrong with how one call ended, or undefined. */
async function call(wrapper: readonly string[], executable: string): Promise<string | undefined> {
  const [program = executable, ...argv] = [...wrapper, executable];
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c", CNI_IFNAME: "eth0", CNI_NETNS: "/x", PATH: "/usr/bin:/bin" };
  const child = spawn(program, argv, { env });
  child.stdin.on("error", () => {});
  child.stdin.end("{}");
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("latin1").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("latin1").on("data", (text: string) => {
    stderr += text;
  });
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number | null; signal: string | null }>();
  child.on("error", reject);
  child.on("close", (code, signal) => resolve({ code, signal }));
  const { code, signal } = await promise;
  if (/ERROR: AddressSanitizer|runtime error:|Invalid (read|write)|uninitialised/.test(stderr))
    return stderr.slice(0, 2_000);
  if (signal !== null || code === null) return `ended by ${signal}`;
  if (stdout.startsWith('{\n    "cniVersion": "1.1.0",\n    "code"')) {
    try {
      JSON.parse(stdout);
    } catch {
      return `no JSON: ${stdout.slice(0, 200)}`;
    }
  }
  return undefined;
}

async function listen(path: string, serve: (socket: Socket) => void): Promise<Server> {
  // A connection that the shim has closed is closed here, too: a half-open one would not keep this process alive until its time is
  // over, and the end of the server waits for it.
  const server = createServer(serve);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  return server;
}
