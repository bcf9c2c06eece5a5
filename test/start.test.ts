import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../src/base/testing/until.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const endMsMax = 120_000;

/** What is to be gone: everything that a running lab has on the machine. */
interface Footprint {
  readonly processes: readonly number[];
  /** `net:[4026532000]` and the like, without those of this process. */
  readonly namespaces: ReadonlySet<string>;
  /** Of the API server, on the host's loopback. */
  readonly url: string;
}

describe("npm start", () => {
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    it(`leaves nothing on the machine when ${signal} ends it in the middle`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "spiderpool-start-"));
      const mounts = readFileSync("/proc/self/mountinfo", "utf8");
      const child = spawn(process.execPath, ["scripts/start.ts", "--once"], {
        cwd: root,
        env: { ...process.env, TMPDIR: folder },
        stdio: ["ignore", "pipe", "inherit"],
      });
      const exited = once(child, "exit");
      try {
        const output = await linesUntil(child, /agents and controller are ready$/);
        const { processes, namespaces, url } = footprint(child, folder);
        assert.ok(processes.length > 20, `the lab's processes were found: ${processes.length}`);
        assert.ok(namespaces.size >= 9, `those of the lab and of each node were found: ${[...namespaces]}`);
        assert.ok((await fetch(`${url}/version`)).ok);

        child.kill(signal);
        const [code, killedBy] = await exited;
        if (signal === "SIGINT") assert.equal(code, 0, output.join("\n"));
        else assert.equal(killedBy, "SIGKILL");
        // Those that the kernel ends together with their parent are not waited for by anybody here.
        const inside = (pid: number) => namespacesOf(pid).some((one) => namespaces.has(one));
        const left = () => ({
          processes: pids().filter((pid) => (processes.includes(pid) && isAlive(pid)) || inside(pid)),
          files: readdirSync(folder),
        });
        const isClean = (now: ReturnType<typeof left>) => Object.values(now).every((things) => things.length === 0);
        await until("nothing is left", left, isClean, { withinMs: endMsMax });
        assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), mounts);
        await assert.rejects(fetch(url), "nobody listens any more");
      } finally {
        child.kill("SIGKILL");
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
});

/** The lines up to the first that fits; the rest is read and dropped. */
async function linesUntil(child: ChildProcess, pattern: RegExp): Promise<readonly string[]> {
  assert.ok(child.stdout);
  const lines: string[] = [];
  const found = Promise.withResolvers<void>();
  createInterface({ input: child.stdout })
    .on("line", (line) => {
      lines.push(line);
      if (pattern.test(line)) found.resolve();
    })
    .on("close", () => found.reject(new Error(`it ended early:\n${lines.join("\n")}`)));
  await found.promise;
  return lines;
}

function footprint(child: ChildProcess, folder: string): Footprint {
  const [lab = ""] = readdirSync(folder).filter((name) => name.startsWith("spiderpool-lab-"));
  const [url = ""] = /http:\/\/[\d.:]+/.exec(readFileSync(join(folder, lab, "kubeconfig"), "utf8")) ?? [];
  const processes = descendants(child.pid ?? 0);
  const own = new Set(namespacesOf(process.pid));
  const namespaces = new Set(processes.flatMap(namespacesOf).filter((one) => !own.has(one)));
  return { processes, namespaces, url };
}

/** A process and everything below it; whoever ends meanwhile has nothing below. */
function descendants(pid: number): readonly number[] {
  const threads = orNone(() => readdirSync(`/proc/${pid}/task`));
  const children = threads.flatMap((thread) =>
    orNone(() => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean)),
  );
  return [pid, ...children.flatMap((child) => descendants(Number(child)))];
}

function pids(): readonly number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0);
}

function namespacesOf(pid: number): readonly string[] {
  return ["net", "mnt", "pid"].flatMap((kind) => orNone(() => [readlinkSync(`/proc/${pid}/ns/${kind}`)]));
}

/** A zombie has ended, too: its parent is this machine's first process, which may take its time. */
function isAlive(pid: number): boolean {
  const [state] = orNone(() => [/^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]]);
  return state !== undefined && state !== "Z";
}

/** Empty where the process is gone. */
function orNone<T>(read: () => readonly T[]): readonly T[] {
  try {
    return read();
  } catch {
    return [];
  }
}
