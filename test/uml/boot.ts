import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Outcome } from "./reporter.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const kernel = "/usr/bin/linux.uml";
const modules = "/usr/lib/uml/modules";
/** It takes from the host what it touches of it. */
const memory = "1500M";

/** Why the tests cannot be run in a kernel of their own here; undefined where they can. */
export function whyNot(): string | undefined {
  if (process.arch !== "x64") return `user-mode Linux is for x86-64, this is ${process.arch}`;
  if (process.getuid?.() !== 0) return "needs root";
  if (existsSync(kernel) && existsSync(modules) && readdirSync(modules).length > 0) return undefined;
  return "user-mode Linux is not installed: apt-get install user-mode-linux";
}

interface Run {
  readonly outcomes: readonly Outcome[];
  /** What the first process printed; of use where outcomes are missing. */
  readonly console: string;
  /** The runner came to its end. */
  readonly ended: boolean;
}

/**
 * Boots a user-mode kernel with the host's files as its root and runs test files in it. Nothing of it outlives the process
 * that calls this, even after SIGKILL.
 *
 * @param files paths from the repository's root
 */
export async function runInUml(files: readonly string[], { signal }: { readonly signal: AbortSignal }): Promise<Run> {
  const out = mkdtempSync(join(tmpdir(), "uml-"));
  try {
    writeFileSync(join(out, "files"), files.map((file) => `${file}\n`).join(""));
    const parameters = [
      ...[`mem=${memory}`, "rootfstype=hostfs", "rootflags=/", "ro", `uml_dir=${out}`, "con=null", "con0=null,null"],
      ...["quiet", "panic=-1", `init=${join(root, "test/uml/init.sh")}`],
      ...[`UML_ROOT=${root}`, `UML_NODE=${dirname(process.execPath)}`, `UML_MODULES=${modules}`, `UML_OUT=${out}`],
    ];
    const alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...alone, kernel, ...parameters], {
      cwd: out,
      stdio: "ignore",
      env: { PATH: process.env["PATH"], TMPDIR: tmpdir() },
      signal,
      killSignal: "SIGKILL",
    });
    await once(child, "exit");
    const read = (name: string) => (existsSync(join(out, name)) ? readFileSync(join(out, name), "utf8") : "");
    const lines = files.flatMap((_, at) => read(`results.${at}`).split("\n")).filter((line) => line !== "");
    return {
      outcomes: lines.map((line) => JSON.parse(line) as Outcome),
      console: read("console"),
      ended: read("ended") !== "",
    };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}
