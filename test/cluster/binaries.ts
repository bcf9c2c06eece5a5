import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { cachePath } from "../../lab/tools/cache.ts";
import { run } from "../../lab/topology/index.ts";
import { buildContainerd, buildEtcd, buildKubernetes, containerdPrograms, requireGo } from "./go-build.ts";
import { download, isReachable } from "./release.ts";

/** The newest and the oldest supported version of Kubernetes. */
export const newest = "v1.35.4";
export const oldest = "v1.31.14";
const etcdVersion = "v3.6.16";
/** The version of containerd that can replace the machine's own, which is version 1 on Debian 12. */
export const containerdVersion = "v2.4.2";

export const kubernetesPrograms = [
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
] as const;

/** Finds a program's path by its name. Throws Error for a name that was not asked for. */
export type Binaries = (name: string) => string;

interface BinariesOptions {
  /** @default newest */
  readonly version?: string;
  /** @default all of Kubernetes */
  readonly programs?: readonly string[];
  /** Called for each step that takes long. */
  readonly say: (line: string) => void;
}

/**
 * Finds Kubernetes' programs and etcd: in `$KUBE_BIN_DIR`, on PATH, in the cache, in the official release, whose checksums
 * are compared, or built from their Go modules; the last two are kept in the cache, by version. Programs on PATH are taken
 * only if they are of the same minor version. Throws Error when a program can be had in none of these ways.
 */
export async function findBinaries(options: BinariesOptions): Promise<Binaries> {
  const { version = newest, programs = kubernetesPrograms, say } = options;
  const cache = cachePath("kube", version);
  const etcdCache = cachePath("kube", `etcd-${etcdVersion}`);
  for (const directory of [cache, etcdCache]) mkdirSync(directory, { recursive: true });
  const found = new Map<string, string>();
  for (const name of ["etcd", ...programs]) {
    const path = await present(name, version, name === "etcd" ? etcdCache : cache);
    if (path !== undefined) found.set(name, path);
  }
  const missing = programs.filter((name) => !found.has(name));
  // Checked first, before minutes are spent on the others.
  if (!found.has("etcd")) await requireGo();
  if (missing.length > 0 && (await isReachable(version))) {
    for (const program of missing) {
      say(`downloading ${program} ${version}`);
      await download({ program, version, target: join(cache, program) });
    }
  } else if (missing.length > 0) {
    await requireGo();
    say(`the official release of Kubernetes ${version} does not answer here: fetching its Go modules`);
    const source = cachePath("kube", "source", `kubernetes-${version}`);
    await buildKubernetes({ directory: cache, source, version }, missing, (name) =>
      say(`building ${name} ${version} from its Go module`),
    ).catch(notBuilt(`${missing.join(", ")} ${version}`, ", and the official release does not answer"));
  }
  for (const name of missing) found.set(name, join(cache, name));
  if (!found.has("etcd")) {
    say(`building etcd ${etcdVersion} from its Go module`);
    await buildEtcd({
      directory: etcdCache,
      source: cachePath("kube", "source", "etcd"),
      version: etcdVersion,
    }).catch(notBuilt(`etcd ${etcdVersion}`));
    found.set("etcd", join(etcdCache, "etcd"));
  }
  return (name) => {
    const path = found.get(name);
    if (path === undefined) throw new Error(`${name} was not looked for: known are ${[...found.keys()].join(", ")}`);
    return path;
  };
}

/** Adds to the error of a build what was built, what for, and what to do. */
function notBuilt(what: string, andWhere = ""): (cause: unknown) => never {
  return (cause) => {
    const nowhere = `found neither in KUBE_BIN_DIR nor on PATH nor in the cache${andWhere}`;
    const advice = "Name a folder that has Kubernetes' programs and etcd in KUBE_BIN_DIR";
    throw new Error(`${what} cannot be built from Go modules (${nowhere}): ${firstReason(cause)}\n${advice}`, {
      cause,
    });
  };
}

/** Go's error, without its progress messages. */
function firstReason(error: unknown): string {
  const lines = String(error instanceof Error ? error.message : error).split("\n");
  return lines
    .filter((line) => !line.startsWith("go: downloading"))
    .slice(0, 3)
    .join("\n")
    .slice(-1_000);
}

/** The folder with containerd 2's programs. Builds them if they do not exist yet. Throws Error if there is no Go. */
export async function findContainerd(say: (line: string) => void): Promise<string> {
  const directory = cachePath("kube", `containerd-${containerdVersion}`);
  mkdirSync(directory, { recursive: true });
  if (containerdPrograms.every((name) => existsSync(join(directory, name)))) return directory;
  await requireGo();
  say(`building containerd ${containerdVersion} from its Go module`);
  const source = cachePath("kube", "source", "containerd");
  await buildContainerd({ directory, source, version: containerdVersion });
  return directory;
}

async function present(name: string, version: string, cache: string): Promise<string | undefined> {
  const chosen = process.env["KUBE_BIN_DIR"];
  if (chosen !== undefined && isExecutable(join(chosen, name))) return join(chosen, name);
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(directory, name);
    if (isExecutable(path) && (name === "etcd" || (await isOfMinor(path, version)))) return path;
  }
  return existsSync(join(cache, name)) ? join(cache, name) : undefined;
}

async function isOfMinor(path: string, version: string): Promise<boolean> {
  const said = await run([path, "--version"]).catch(() => "");
  return said.includes(`${version.split(".").slice(0, 2).join(".")}.`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
