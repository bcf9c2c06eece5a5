import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { cachePath } from "../lab/tools/cache.ts";

const run = promisify(execFile);

/** The libraries that Node needs, and CNI's reference plugins. The image contains nothing else of the distribution. */
const wantedPackages = ["libc6", "libgcc-s1", "libstdc++6", "containernetworking-plugins"] as const;
export const debianArchitecture: string = process.arch === "arm64" ? "arm64" : "amd64";

interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  /** The downloaded file. */
  readonly path: string;
}

export interface DebianBase {
  /** Text of the distribution's /etc/os-release. */
  readonly osRelease: string;
  readonly packages: readonly DebianPackage[];
}

interface Locked {
  readonly version: string;
  readonly sha256: string;
}
/** By code name of the release and architecture, then by package. */
type Lock = Record<string, Record<string, Locked>>;

const lockFile = new URL("debian.lock.json", import.meta.url);
const cache = cachePath("deb");

/**
 * The packages of this machine's distribution in the versions of debian.lock.json, downloaded once by its own apt. Uses the
 * newest ones for a release that is not in the lock, and with `update`, which also records them. Throws Error naming package and
 * version if apt no longer has it, or if the file differs from the recorded one.
 */
export async function debianBase({ update = false } = {}): Promise<DebianBase> {
  const osRelease = readFileSync("/etc/os-release", "utf8");
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(osRelease)?.[1] ?? "unknown";
  const key = `${codename}/${debianArchitecture}`;
  const lock = JSON.parse(readFileSync(lockFile, "utf8")) as Lock;
  const locked = update ? undefined : lock[key];
  const packages: DebianPackage[] = [];
  for (const name of wantedPackages) packages.push(await download(name, locked?.[name]));
  const licences = await licencePackage(packages);
  packages.push(await download(licences, locked?.[licences]));
  if (update) {
    lock[key] = Object.fromEntries(packages.map(({ name, version, sha256 }) => [name, { version, sha256 }]));
    writeFileSync(lockFile, `${JSON.stringify(lock, undefined, 2)}\n`);
  }
  return { osRelease, packages };
}

/** The licences of GCC's libraries are in a separate package, whose name contains GCC's version. */
async function licencePackage(packages: readonly DebianPackage[]): Promise<string> {
  const { path = "" } = packages.find(({ name }) => name === "libgcc-s1") ?? {};
  const { stdout } = await run("dpkg-deb", ["--field", path, "Depends"]);
  const name = /gcc-[0-9]+-base/.exec(stdout)?.[0];
  if (name === undefined) throw new Error(`${path} depends on no gcc-N-base: ${stdout.trim()}`);
  return name;
}

async function download(name: string, locked: Locked | undefined): Promise<DebianPackage> {
  const version = locked?.version ?? (await candidate(name));
  const path = join(cache, `${name}_${version.replace(":", "%3a")}_${debianArchitecture}.deb`);
  if (!existsSync(path)) await fetch(name, version, path);
  const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex");
  if (locked !== undefined && locked.sha256 !== sha256) {
    throw new Error(
      `${path} has the checksum ${sha256}, images/debian.lock.json has ${locked.sha256}: remove the file`,
    );
  }
  return { name, version, sha256, path };
}

async function candidate(name: string): Promise<string> {
  const { stdout } = await run("apt-cache", ["policy", name]);
  const version = /Candidate: (\S+)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`apt knows no package ${name}: run apt-get update`);
  return version;
}

async function fetch(name: string, version: string, path: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), "spiderpool-deb-"));
  try {
    // apt's own download user may not write into our folder.
    await run("apt-get", ["download", "-o", "APT::Sandbox::User=root", `${name}=${version}`], { cwd: folder });
    const [file] = await readdir(folder);
    // First under a temporary name: another build may be doing the same.
    const partial = `${path}.${process.pid}`;
    writeFileSync(partial, readFileSync(join(folder, file ?? "")));
    renameSync(partial, path);
  } catch (cause) {
    const advice = "run apt-get update, or take the newest versions with --update-base";
    throw new Error(`apt cannot download ${name} ${version}: ${advice}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
