import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../lab/topology/index.ts";

interface GoBuild {
  /** Gets the executables. */
  readonly directory: string;
  /** The folder of the module that is built. It is kept, so that a second build is quick. */
  readonly source: string;
  /** `v1.35.4` */
  readonly version: string;
}

/** Builds etcd (about half a minute) from its Go module. */
export async function buildEtcd({ directory, source, version }: GoBuild): Promise<void> {
  mkdirSync(source, { recursive: true });
  const imported = "go.etcd.io/etcd/server/v3/etcdmain";
  const main = `package main\n\nimport (\n\t"os"\n\n\t"${imported}"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n`;
  writeFileSync(join(source, "main.go"), main);
  const require = `require go.etcd.io/etcd/server/v3 ${version}`;
  writeFileSync(join(source, "go.mod"), `module etcdbuild\n\ngo 1.24\n\n${require}\n`);
  await go(source, ["mod", "tidy"]);
  await build(source, join(directory, "etcd"), ".");
}

/** The programs of containerd 2. */
export const containerdPrograms = ["containerd", "containerd-shim-runc-v2", "ctr"] as const;

/** Builds containerd 2 from its Go module, without the snapshotters that need C: three minutes. */
export async function buildContainerd({ directory, source, version }: GoBuild): Promise<void> {
  mkdirSync(source, { recursive: true });
  const path = (program: string) => `github.com/containerd/containerd/v2/cmd/${program}`;
  const imports = containerdPrograms.map((program) => `\t_ "${path(program)}"`);
  writeFileSync(join(source, "tools.go"), toolsFile(imports));
  const require = `require github.com/containerd/containerd/v2 ${version}`;
  writeFileSync(join(source, "go.mod"), `module containerdbuild\n\ngo 1.25\n\n${require}\n`);
  await go(source, ["mod", "tidy", "-e"]);
  const flags = `-X github.com/containerd/containerd/v2/version.Version=${version}`;
  for (const program of containerdPrograms) {
    await build(source, join(directory, program), path(program), flags, "no_btrfs,no_zfs,no_devmapper");
  }
}

/** A file that makes `go mod tidy` keep what commands need, and that nothing compiles. */
function toolsFile(imports: readonly string[]): string {
  return `//go:build tools\n\npackage tools\n\nimport (\n${imports.join("\n")}\n)\n`;
}

/**
 * Builds programs of Kubernetes from its Go modules: no package registry has them ready. 8 minutes for all with two cores at
 * rest, and 4 GB of Go's caches; seconds the second time. `built` is told of each before it starts.
 */
export async function buildKubernetes(
  { directory, source, version }: GoBuild,
  programs: readonly string[],
  built: (name: string) => void,
): Promise<void> {
  await prepareModule(source, version, programs);
  for (const name of programs) {
    built(name);
    await build(source, join(directory, name), `k8s.io/kubernetes/cmd/${name}`, versionFlags(version));
  }
}

/**
 * A module that can build Kubernetes' commands: its published go.mod finds its own parts (`k8s.io/api` …) beside it, which
 * holds in its repository only; here each gets the version it was published with.
 */
async function prepareModule(folder: string, version: string, programs: readonly string[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { GoMod: path } = JSON.parse(await go("/", ["mod", "download", "-json", `k8s.io/kubernetes@${version}`]));
  const published = readFileSync(path, "utf8");
  const part = /^\t?(?:replace )?(k8s\.io\/[a-z0-9-]+) (?:v0\.0\.0(?: .*)?|=> \.\/staging.*)$/gm;
  const parts = new Set([...published.matchAll(part)].map(([, name]) => name));
  const lines = [
    "module kubebuild",
    ...[...published.matchAll(/^(?:go |godebug ).*$/gm)].map(([line]) => line),
    `require k8s.io/kubernetes ${version}`,
    ...[...parts].map((name) => `replace ${name} => ${name} ${version.replace("v1.", "v0.")}`),
  ];
  writeFileSync(join(folder, "go.mod"), `${lines.join("\n\n")}\n`);
  const imports = programs.map((name) => `\t_ "k8s.io/kubernetes/cmd/${name}"`);
  writeFileSync(join(folder, "tools.go"), toolsFile(imports));
  await go(folder, ["mod", "tidy", "-e"]);
}

/** The programs parse their own version. */
function versionFlags(version: string): string {
  const [major, minor] = version.slice(1).split(".");
  const variables = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: "clean" };
  return ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
    .flatMap((part) => Object.entries(variables).map(([name, value]) => `-X ${part}.${name}=${value}`))
    .join(" ");
}

async function build(folder: string, target: string, what: string, flags = "", tags = ""): Promise<void> {
  const partial = `${target}.${process.pid}`;
  await go(folder, ["build", "-trimpath", `-tags=${tags}`, `-ldflags=-s -w ${flags}`, "-o", partial, what]);
  renameSync(partial, target);
}

/** Throws Error with what to do if there is no Go. */
export async function requireGo(): Promise<void> {
  await go("/", ["version"]).catch((cause: unknown) => {
    const advice = "install Go 1.25 or later, or name a folder with Kubernetes' programs and etcd in KUBE_BIN_DIR";
    throw new Error(`no Go to build Kubernetes with: ${advice}`, { cause });
  });
}

/** Runs at low priority, because a build takes minutes in which somebody may work. */
async function go(folder: string, argv: readonly string[]): Promise<string> {
  const settings = { GOTOOLCHAIN: "local", GOFLAGS: "-mod=mod", GOWORK: "off", CGO_ENABLED: "0" };
  return await run(["env", "-C", folder, "nice", "-n", "10", "go", ...argv], { env: { ...process.env, ...settings } });
}
