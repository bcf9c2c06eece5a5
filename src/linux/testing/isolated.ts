import { execFileSync, spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** Set inside the namespaces, to the file that runs there. */
const insideVariable = "SPIDERPOOL_TEST_ISOLATED";

const unshareFlags = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

/**
 * Runs a whole test file as root in mount, network and PID namespaces of its own, with an empty tmpfs on `/run` and
 * loopback up. Nothing made there can be seen outside or left behind, even after SIGKILL, and the file can run many times
 * at once. Wrap everything that touches the kernel:
 *
 * ```ts
 * import { isolated } from "../testing/isolated.ts"; // other modules: "../linux/testing/isolated.ts"
 *
 * if (isolated(import.meta.url)) {
 *   test("a veth reaches the other namespace", () => { … });
 * }
 * ```
 *
 * Outside it returns false and has already run the same file inside; the tests report to the same runner (`node --test`
 * or a plain `node file.test.ts`). Code outside the `if` runs twice: put pure tests into a file of their own. Without root
 * it registers one skipped test that says why.
 */
export function isolated(url: string): boolean {
  const file = fileURLToPath(url);
  if (process.env[insideVariable] === file) {
    setUp();
    return true;
  }
  const reason = whyNot();
  if (reason !== undefined) {
    test(`kernel tests of ${file}`, { skip: reason }, () => {});
    return false;
  }
  // The death signal passes SIGKILL of this process on to unshare, which passes it on to its child.
  const argv = ["--pdeathsig", "KILL", "unshare", ...unshareFlags, process.execPath, ...process.execArgv, file];
  const { status, error } = spawnSync("setpriv", argv, {
    stdio: "inherit",
    env: { ...process.env, [insideVariable]: file },
  });
  if (error !== undefined) throw error;
  process.exitCode = status ?? 1;
  return false;
}

function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root to make namespaces";
  const { status, stderr, error } = spawnSync("unshare", [...unshareFlags, "true"], { encoding: "utf8" });
  if (error !== undefined) return `needs unshare(1): ${error.message}`;
  return status === 0 ? undefined : `cannot make namespaces: ${stderr.trim()}`;
}

function setUp(): void {
  execFileSync("mount", ["-t", "tmpfs", "tmpfs", "/run"]);
  execFileSync("ip", ["link", "set", "lo", "up"]);
}
