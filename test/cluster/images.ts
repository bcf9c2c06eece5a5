import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianArchitecture } from "../../images/debian.ts";
import { packImage } from "../../images/oci.ts";
import type { Entry, Tree } from "../../images/tar.ts";
import { cachePath } from "../../lab/tools/cache.ts";
import { run } from "../../lab/topology/index.ts";

/** The first container of every Pod. */
export const pauseImage = "localhost/pause:1";
/** The image that the examples run: a shell, a web server, and usual tools. */
export const busyboxImage = "docker.io/library/busybox:1.37";

const pauseSource = `#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { (void)signal; exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap); for (;;) pause(); }
`;

/** Makes the images that a cluster needs out of this machine's programs; returns the paths of their archives. */
export async function buildImages(): Promise<readonly string[]> {
  const pause: Tree = new Map([["pause", executable(await compile(pauseSource))]]);
  return [
    keepImage("pause.tar", pack(pauseImage, ["/pause"], pause)),
    keepImage("busybox.tar", pack(busyboxImage, [], await busybox())),
  ];
}

/** Writes an image's archive into the cache, where nodes see it; returns its path. */
export function keepImage(name: string, archive: Buffer): string {
  const directory = cachePath("images");
  mkdirSync(directory, { recursive: true });
  const partial = join(directory, `${name}.${process.pid}`);
  writeFileSync(partial, archive);
  renameSync(partial, join(directory, name));
  return join(directory, name);
}

function pack(reference: string, entrypoint: readonly string[], tree: Tree): Buffer {
  const config = {
    architecture: debianArchitecture,
    created: "2026-01-01T00:00:00Z",
    labels: {},
    entrypoint,
    env: ["PATH=/bin"],
  };
  return packImage(reference, config, [{ name: "test", tree }]).archive;
}

function executable(content: Buffer): Entry {
  return { kind: "file", mode: 0o755, content };
}

async function compile(source: string): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-image-"));
  try {
    const output = join(folder, "program");
    await run(["gcc", "-O2", "-static", "-s", "-o", output, "-x", "c", "-"], { input: source });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function busybox(): Promise<Tree> {
  const program = (await run(["sh", "-c", "command -v busybox"])).trim();
  const applets = (await run([program, "--list"])).trim().split("\n");
  const file = (text: string): Entry => ({ kind: "file", mode: 0o644, content: Buffer.from(text) });
  return new Map<string, Entry>([
    ...applets.map((name) => [`bin/${name}`, { kind: "link", target: "busybox" }] as const),
    ["bin/busybox", executable(readFileSync(program))],
    ["etc/passwd", file("root:x:0:0:root:/root:/bin/sh\n")],
    ["etc/group", file("root:x:0:\n")],
    ["root", { kind: "directory", mode: 0o700 }],
    ["tmp", { kind: "directory", mode: 0o1777 }],
  ]);
}
