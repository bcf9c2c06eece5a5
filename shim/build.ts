import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { copyFile, mkdir, readFile, rename, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const source = fileURLToPath(new URL("shim.c", import.meta.url));
const flags = [
  ...["-Wall", "-Wextra", "-Werror", "-O2", "-static"],
  ...["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-Wl,--strip-all"],
];

/**
 * Compiles the shim, unless this source was compiled before, and puts it into `outDir` as `spiderpool-shim`, whose path is
 * returned. Compiled ones are kept under $SPIDERPOOL_CACHE or ~/.cache/spiderpool. The compiler is $CC, gcc or cc. Throws
 * what the compiler says.
 */
export async function buildShim(outDir: string): Promise<string> {
  const key = createHash("sha256")
    .update(await readFile(source))
    .update(flags.join(" "))
    .update(process.arch);
  const cache = join(process.env["SPIDERPOOL_CACHE"] ?? join(homedir(), ".cache", "spiderpool"), "shim");
  const cached = join(cache, key.digest("hex").slice(0, 16));
  if (!(await exists(cached))) {
    await mkdir(cache, { recursive: true });
    await replace(cached, (temporary) => compile(temporary));
  }
  const shim = join(outDir, "spiderpool-shim");
  await mkdir(outDir, { recursive: true });
  await replace(shim, (temporary) => copyFile(cached, temporary));
  return shim;
}

async function compile(output: string): Promise<void> {
  for (const compiler of [process.env["CC"] ?? "gcc", "cc"]) {
    try {
      await promisify(execFile)(compiler, [...flags, "-o", output, source]);
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
