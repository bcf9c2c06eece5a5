import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "#base";
import {
  decodeOutput,
  type ExecFrame,
  encodeFrame,
  type Frame,
  FrameReader,
  formatShimSettings,
  noSuchPlugin,
  shimSettingsFile,
  stdinBytesMax,
  verbs,
  versionDocument,
} from "#cni";
import { buildShim } from "./build.ts";

let directory: string;
let shim: string;
const socketPath = () => join(directory, "agent.sock");
const patient = { add: 20_000, del: 20_000, status: 20_000 };
const hasty = { add: 30, del: 30, status: 30 };

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "shim-"));
  shim = join(directory, "macvlan");
  // The sanitizers' test runs this file with its own build.
  await copyFile(process.env["SPIDERPOOL_TEST_SHIM"] ?? (await buildShim(directory)), shim);
});
after(() => rm(directory, { recursive: true, force: true }));

const settings = (waitMs: typeof patient, replyMs = 60_000) =>
  writeFile(join(directory, shimSettingsFile), formatShimSettings({ socketPath: socketPath(), waitMs, replyMs }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Executes the shim. `stdin` undefined: its descriptor is closed. */
function run(env: Readonly<Record<string, string>>, stdin?: string | Uint8Array, executable = shim): Promise<Ended> {
  const child =
    stdin === undefined
      ? spawn("/bin/sh", ["-c", 'exec "$0" <&-', executable], { env })
      : spawn(executable, { env: { OUTER: "kept", ...env } });
  child.stdin.on("error", () => {}); // the shim need not read all of it
  child.stdin.end(stdin);
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
    });
  }
  const { promise, resolve, reject } = Promise.withResolvers<Ended>();
  child.on("error", reject);
  child.on("close", (code) => resolve({ code, ...texts }));
  return promise;
}

/** An agent that answers every frame with what `answer` returns: a frame, or bytes and then the end of the stream. */
async function agent(
  answer: (frame: Frame) => Frame | Uint8Array | "hang up" | "silence",
): Promise<AsyncDisposable & Server> {
  const server = createServer((socket) => {
    const reader = new FrameReader();
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      for (const frame of reader.push(chunk)) {
        const reply = answer(frame);
        if (reply === "hang up") socket.destroy();
        else if (reply instanceof Uint8Array) socket.end(reply);
        else if (reply !== "silence") socket.write(encodeFrame(reply));
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject);
    server.listen(socketPath(), resolve);
  });
  return server;
}

const result = (stdout: string, exitCode = 0, stderr = ""): Frame => ({
  kind: "result",
  exitCode,
  stdout: Buffer.from(stdout),
  stderr: Buffer.from(stderr),
});

const addEnv = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: "/var/run/netns/x" };

function errorOf(ended: Ended): { readonly code: number; readonly msg: string; readonly details: string } {
  assert.equal(ended.code, 1);
  return JSON.parse(ended.stdout);
}

describe("without an agent", () => {
  it("answers VERSION with stdin closed", async () => {
    const ended = await run({ CNI_COMMAND: "VERSION" });
    assert.equal(ended.code, 0);
    assert.deepEqual(JSON.parse(ended.stdout), versionDocument());
  });

  it("says what it is on stderr when CNI_COMMAND is missing", async () => {
    const ended = await run({}, "");
    assert.deepEqual([ended.code, ended.stdout], [0, ""]);
    assert.match(ended.stderr, /CNI protocol versions supported: .*1\.1\.0/);
  });

  it("answers error 11 that names the socket, and 50 at STATUS", async () => {
    await settings(hasty);
    for (const verb of verbs) {
      const error = errorOf(await run({ ...addEnv, CNI_COMMAND: verb }, "{}"));
      assert.equal(error.code, verb === "STATUS" ? 50 : 11);
      assert.equal(error.msg, "spiderpool-agent is not reachable");
      assert.ok(error.details.includes(`${socketPath()}: No such file or directory`), error.details);
    }
  });

  it("says so with the IPAM plugin's prefix where it is called as that", async () => {
    await settings(hasty);
    const ipam = join(directory, "spiderpool");
    await copyFile(shim, ipam);
    const error = errorOf(await run(addEnv, "{}", ipam));
    assert.equal(error.msg, "unhealthy spiderpool-agent backend: spiderpool-agent is not reachable");
  });

  it("refuses a stdin above the limit with the limit", async () => {
    const error = errorOf(await run(addEnv, Buffer.alloc(stdinBytesMax + 1, " ")));
    assert.equal(error.code, 5);
    assert.match(error.details, new RegExp(String(stdinBytesMax)));
  });

  it("waits for an agent that is only just starting", async () => {
    await settings(patient);
    const running = run(addEnv, "{}");
    await using _agent = await agent(() => result("{}"));
    assert.equal((await running).code, 0);
  });
});

describe("with an agent", () => {
  before(() => settings(patient));

  it("hands over name, variables and stdin of every verb, and prints the answer", async () => {
    const calls: Frame[] = [];
    await using _agent = await agent((frame) => {
      calls.push(frame);
      return result('{"cniVersion":"1.0.0"}', 0, "a note");
    });
    for (const verb of verbs) {
      const env = { ...addEnv, CNI_COMMAND: verb, CNI_ARGS: "A=é", CNI_PATH: "/opt/cni/bin" };
      const startedMs = Math.floor(systemClock.monotonicMs());
      const ended = await run(env, '{"name":"n"}');
      assert.deepEqual(ended, { code: 0, stdout: '{"cniVersion":"1.0.0"}', stderr: "a note" });
      const got = calls.at(-1);
      assert.ok(got?.kind === "call");
      const { SPIDERPOOL_CALLED_MS: calledMs, ...rest } = got.env;
      const expected = { kind: "call", executable: "macvlan", env, stdin: Buffer.from('{"name":"n"}') };
      assert.deepEqual({ ...got, env: rest }, expected);
      assert.ok(Number(calledMs) >= startedMs && Number(calledMs) <= systemClock.monotonicMs(), calledMs);
    }
  });

  it("exits 1 with the agent's error, also for an exit code that a process can't have", async () => {
    await using _agent = await agent(() => result('{"code":7}', 256));
    assert.deepEqual(await run(addEnv, "{}"), { code: 1, stdout: '{"code":7}', stderr: "" });
  });

  it("carries a stdin of the full size and answers as large", async () => {
    const big = Buffer.alloc(stdinBytesMax, "x");
    await using _agent = await agent((frame) => result(frame.kind === "call" ? String(frame.stdin) : ""));
    assert.equal((await run(addEnv, big)).stdout.length, big.length);
  });

  it("says a call again to an agent that went away in the middle, as the one that it was", async () => {
    const calls: Frame[] = [];
    await using _agent = await agent((frame) => (calls.push(frame) === 1 ? "hang up" : result("")));
    for (const verb of verbs) {
      calls.length = 0;
      assert.deepEqual(await run({ ...addEnv, CNI_COMMAND: verb }, "{}"), { code: 0, stdout: "", stderr: "" }, verb);
      assert.equal(calls.length, 2, verb);
      assert.deepEqual(calls[1], calls[0], verb);
    }
  });

  it("says an ADD again that no agent had taken when it was killed", async () => {
    const listen = `require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGSTOP"))`;
    const dying = spawn(process.execPath, ["-e", listen, socketPath()]);
    const ended = new Promise((resolve) => dying.once("exit", resolve));
    const connections = () => readFileSync("/proc/net/unix", "utf8").split(socketPath()).length - 1;
    // Stopped, it takes none: the kernel keeps those that come.
    while (!/^State:\sT/m.test(readFileSync(`/proc/${dying.pid}/status`, "utf8")) || connections() < 1) await delay(5);
    const running = run(addEnv, "{}");
    while (connections() < 2) await delay(5);
    dying.kill("SIGKILL");
    await ended;
    await rm(socketPath());
    await using _agent = await agent(() => result("{}"));
    assert.equal((await running).code, 0);
  });

  it("says an ADD again whose plugin it has run meanwhile", async () => {
    const kinds: string[] = [];
    const plugin = { path: "/bin", argv0: "true", env: {}, stdin: Buffer.alloc(0), timeoutMs: 60_000 };
    await using _agent = await agent(({ kind }) => {
      kinds.push(kind);
      if (kind === "output") return "hang up";
      return kinds.length === 1 ? { kind: "exec", ...plugin } : result("{}");
    });
    assert.deepEqual(await run(addEnv, "{}"), { code: 0, stdout: "{}", stderr: "" });
    assert.deepEqual(kinds, ["call", "output", "call"]);
  });

  it("does not say an ADD again that is part of one of the agent's: that one is said again", async () => {
    let calls = 0;
    await using _agent = await agent(() => (++calls === 1 ? "hang up" : result("")));
    const error = errorOf(await run({ ...addEnv, CNI_SPIDERPOOL_CALL: "id" }, "{}"));
    assert.deepEqual([error.code, error.msg, calls], [11, "spiderpool-agent did not answer", 1]);
  });

  it("gives up at the deadline of the answer", async () => {
    await settings(patient, 30);
    await using _agent = await agent(() => "silence");
    assert.equal(errorOf(await run(addEnv, "{}")).code, 11);
    await settings(patient);
  });

  it("answers error 11 to a reply cut off at any point", async () => {
    await settings(hasty);
    const whole = encodeFrame(result("{}", 0, "e"));
    let cut = 0;
    await using _agent = await agent(() => whole.subarray(0, cut));
    for (cut = 0; cut < whole.length; cut++) assert.equal(errorOf(await run(addEnv, "{}")).code, 11);
    assert.deepEqual(await run(addEnv, "{}"), { code: 0, stdout: "{}", stderr: "e" });
    await settings(patient);
  });
});

describe("running a foreign plugin", () => {
  before(() => settings(patient));

  /** Runs a shell script as a plugin through the shim, and returns how the agent sees its end. */
  async function foreign(
    script: string,
    order: Partial<ExecFrame> = {},
    executable = shim,
  ): Promise<Extract<Frame, { kind: "output" }>> {
    const path = join(directory, "foreign");
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    const frame: ExecFrame = {
      kind: "exec",
      path: `/nonexistent:${directory}`,
      argv0: "foreign",
      env: {},
      stdin: Buffer.from("in"),
      timeoutMs: 60_000,
      ...order,
    };
    let seen: Frame | undefined;
    await using _agent = await agent((got) => {
      if (got.kind === "call") return frame;
      seen = got;
      return result("done");
    });
    assert.deepEqual(await run(addEnv, "{}", executable), { code: 0, stdout: "done", stderr: "" });
    assert.equal(seen?.kind, "output");
    return seen;
  }

  it("gives it stdin and the environment, and returns streams and exit code", async () => {
    const env = { CNI_COMMAND: "DEL", CNI_NETNS: "", EXTRA: "e" };
    const output = await foreign(
      'cat; printf "|$CNI_COMMAND|$CNI_NETNS|$CNI_IFNAME|$EXTRA|$OUTER"; echo oops >/dev/stderr; exit 3',
      { env },
    );
    assert.equal(String(output.stdout), "in|DEL||eth0|e|kept");
    assert.equal(String(output.stderr), "oops\n");
    assert.deepEqual([output.exitCode, output.signal], [3, undefined]);
  });

  it("runs as many as the agent wants, one after the other", async () => {
    const order = (stdin: string): Frame => ({
      kind: "exec",
      path: "/bin",
      argv0: "cat",
      env: {},
      stdin: Buffer.from(stdin),
      timeoutMs: 60_000,
    });
    const outputs: string[] = [];
    await using _agent = await agent((frame) => {
      if (frame.kind === "output") outputs.push(String(frame.stdout));
      return outputs.length < 3 ? order(`${outputs.length}`) : result("{}");
    });
    assert.equal((await run(addEnv, "{}")).code, 0);
    assert.deepEqual(outputs, ["0", "1", "2"]);
  });

  it("takes a plugin that does not read its stdin and one that writes much", async () => {
    assert.equal((await foreign("true", { stdin: Buffer.alloc(stdinBytesMax) })).exitCode, 0);
    const much = await foreign("head -c 6000000 /dev/zero; head -c 100000 /dev/zero >&2");
    assert.deepEqual([much.exitCode, much.stdout.length, much.stderr.length], [0, 4 << 20, 64 << 10]);
  });

  it("kills the plugin and its children at the deadline", async () => {
    const output = await foreign("echo begun; sleep 1000 & wait", { timeoutMs: 100 });
    assert.equal(output.signal, 9);
    assert.equal(String(output.stdout), "begun\n");
  });

  it("sees a plugin's end where the runtime had it ignore the ends of children", async () => {
    const ignoring = join(directory, "ignoring");
    await writeFile(ignoring, `#!/bin/sh\nexec env --ignore-signal=CHLD "${shim}"\n`);
    await chmod(ignoring, 0o755);
    const output = await foreign("echo seen; exit 3", {}, ignoring);
    assert.deepEqual([output.exitCode, String(output.stdout)], [3, "seen\n"]);
  });

  it("does not wait for a grandchild that keeps the streams open", async () => {
    const output = await foreign("sleep 1000 & echo $!");
    process.kill(Number(String(output.stdout)), "SIGKILL");
    assert.equal(output.exitCode, 0);
  });

  it("takes the first regular file of the plugin's name, whatever else has that name", async () => {
    await mkdir(join(directory, "first", "foreign"), { recursive: true });
    const output = await foreign("echo second", { path: `relative::${join(directory, "first")}:${directory}:/bin` });
    assert.equal(String(output.stdout), "second\n");
  });

  it("says that there is no such plugin, and why one can't be executed", async () => {
    const missing = await foreign("", { path: `/nonexistent:${directory}/first` });
    assert.deepEqual([missing.exitCode, String(missing.stderr)], [127, noSuchPlugin]);
    await writeFile(join(directory, "text"), "not a program");
    const output = await foreign("", { argv0: "text" });
    assert.equal(output.exitCode, 127);
    assert.equal(String(output.stderr), `cannot execute ${directory}/text: Permission denied`);
    const call = { verb: "ADD", type: "plugin", network: "n", cniVersion: "1.0.0" } as const;
    assert.throws(() => decodeOutput(call, output), /netplugin failed: "cannot execute/);
  });

  it("tries again while the plugin's file is being replaced", async () => {
    const path = join(directory, "busy");
    await copyFile("/bin/true", path);
    const writer = await open(path, "r+");
    try {
      const output = await foreign("", { argv0: "busy", timeoutMs: 100 });
      assert.equal(output.signal, 9, "it was still trying at its deadline");
    } finally {
      await writer.close();
    }
    assert.equal((await foreign("", { argv0: "busy" })).exitCode, 0);
  });
});
