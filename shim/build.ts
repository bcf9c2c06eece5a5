import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { copyFile, mkdir, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cachePath } from "../lab/tools/cache.ts";

const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const warnings = ["-Wall", "-Wextra", "-Werror"];
const optimized = [...warnings, "-O2", "-static", "-fstack-protector-strong", "-Wl,--strip-all"];
/**
 * With start.c in place of a C library. The guard is global where there is no thread-local storage; a loop that is what
 * `strlen` does must not become a call of it; few pages are what is mapped soonest.
 */
const withoutLibrary = [
  ...["-nostdlib", "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-fno-pie", "-no-pie"],
  ...["-mstack-protector-guard=global", "-fcf-protection=none", "-fno-asynchronous-unwind-tables"],
  ...["-Wl,-z,noseparate-code", "-Wl,--build-id=none"],
];
const isX64 = process.arch === "x64";
const variants = {
  /** What is installed. */
  release: [...optimized, ...(isX64 ? withoutLibrary : ["-D_FORTIFY_SOURCE=2"])],
  /** Ends with a report at the first memory error or undefined behaviour. */
  sanitized: [...warnings, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
  /** For valgrind, which has to see where functions begin. */
  debug: [...warnings, "-O1", "-g"],
  /** The reader of frames alone, in a loop (fuzz-harness.c). */
  harness: [...warnings, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wno-unused"],
} as const;
type ShimVariant = keyof typeof variants;
/** What each is compiled of. */
const sources: Readonly<Record<ShimVariant, readonly string[]>> = {
  release: isX64 ? ["shim.c", "start.c"] : ["shim.c"],
  sanitized: ["shim.c"],
  debug: ["shim.c"],
  harness: ["fuzz-harness.c"],
};
/** What any of them is made of. */
const files = ["shim.c", "start.c", "fuzz-harness.c"];

/**
 * Compiles the shim, unless this source was compiled before, and puts it into `outDir` as `spiderpool-shim` (another variant with
 * its name behind it), whose path is returned. Compiled ones are kept in the cache. The compiler is $CC, gcc or cc. Throws what
 * the compiler says.
 */
export async function buildShim(outDir: string, variant: ShimVariant = "release"): Promise<string> {
  const flags = variants[variant];
  const key = createHash("sha256").update(flags.join(" ")).update(process.arch);
  for (const file of files) key.update(await readFile(pathOf(file)));
  const cache = cachePath("shim");
  const cached = join(cache, key.digest("hex").slice(0, 16));
  if (!(await exists(cached))) {
    await mkdir(cache, { recursive: true });
    await replace(cached, (temporary) => compile(temporary, flags, sources[variant].map(pathOf)));
  }
  const shim = join(outDir, variant === "release" ? "spiderpool-shim" : `spiderpool-shim-${variant}`);
  await mkdir(outDir, { recursive: true });
  await replace(shim, (temporary) => copyFile(cached, temporary));
  return shim;
}

async function compile(output: string, flags: readonly string[], from: readonly string[]): Promise<void> {
  for (const compiler of [process.env["CC"] ?? "gcc", "cc"]) {
    try {
      await promisify(execFile)(compiler, [...flags, "-o", output, ...from]);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new Error("no C compiler found to build the shim; install gcc, or name one in CC");
}

/** Writes beside the target and renames: a running executable can't be overwritten, and no one sees half a file. */
async function replace(target: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${target}.${randomUUID()}`;
  await write(temporary);
  await rename(temporary, target);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

if (import.meta.main) console.log(await buildShim(process.argv[2] ?? "build"));
