import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findLabs } from "../lab/shell.ts";

const script = fileURLToPath(new URL("../scripts/start.ts", import.meta.url));
const goneMsMax = 10_000;

/** Every process that stems from this one. */
function descendantsOf(pid: number): readonly number[] {
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => parentOf(other) === pid);
  return [...children, ...children.flatMap(descendantsOf)];
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}

for (const signal of ["SIGINT", "SIGKILL"] as const) {
  it(`npm start that is ended by ${signal} leaves no process and no folder behind`, async () => {
    const before = new Set(findLabs());
    const child = spawn(process.execPath, [script, "--once"], { stdio: ["ignore", "pipe", "ignore"] });
    const exited = once(child, "exit");
    for await (const chunk of child.stdout) if (String(chunk).includes("product")) break;
    const [lab] = findLabs().filter((pid) => !before.has(pid));
    assert.ok(lab !== undefined, "its lab runs");
    const processes = descendantsOf(lab);
    assert.ok(processes.length > 8, `the lab has ${processes.length} processes`);
    child.kill(signal);
    await exited;
    const left = () => [lab, ...processes].filter((pid) => existsSync(`/proc/${pid}`));
    for (let waitedMs = 0; left().length > 0 && waitedMs < goneMsMax; waitedMs += 50) await delay(50);
    assert.deepEqual(left(), []);
  });
}
