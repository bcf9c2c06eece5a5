import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../lab/topology/index.ts";
import { dockerArchive, type Entry } from "./archive.ts";
import { cacheDirectory } from "./binaries.ts";

/** The first container of every Pod. */
export const pauseImage = "localhost/pause:1";
/** What the examples run: a shell, a web server, the usual tools. */
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
  const directory = join(cacheDirectory(), "images");
  mkdirSync(directory, { recursive: true });
  const write = (name: string, bytes: Buffer) => {
    const partial = join(directory, `${name}.${process.pid}`);
    writeFileSync(partial, bytes);
    renameSync(partial, join(directory, name));
    return join(directory, name);
  };
  const pause = { path: "pause", content: await compile(pauseSource), mode: 0o755 };
  return [
    write("pause.tar", dockerArchive({ name: pauseImage, entrypoint: ["/pause"] }, [pause])),
    write("busybox.tar", dockerArchive({ name: busyboxImage }, await busybox())),
  ];
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

async function busybox(): Promise<readonly Entry[]> {
  const program = (await run(["sh", "-c", "command -v busybox"])).trim();
  const applets = (await run([program, "--list"])).trim().split("\n");
  return [
    ...["bin", "etc", "tmp", "root"].map((path) => ({ path, directory: true as const })),
    { path: "bin/busybox", content: readFileSync(program), mode: 0o755 },
    ...applets.filter((name) => name !== "busybox").map((name) => ({ path: `bin/${name}`, link: "busybox" })),
    { path: "etc/passwd", content: Buffer.from("root:x:0:0:root:/root:/bin/sh\n") },
    { path: "etc/group", content: Buffer.from("root:x:0:\n") },
  ];
}
