import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { buildImage } from "../../images/build.ts";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findHelm } from "../../lab/tools/helm.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { defaultNetwork, installNamespace, kubeadmConfigOf } from "../../scripts/common/product-lab.ts";
import { keepImage } from "./images.ts";
import { type ClusterOptions, launchCluster } from "./launch.ts";
import { clusterRanges } from "./protocol.ts";

export const chart = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));

/** The flags of the walk-through's installation. */
export const walkthroughFlags: readonly string[] = [
  ...["--namespace", installNamespace],
  ...["--set", `multus.multusCNI.defaultCniCRName=${defaultNetwork}`],
  ...["--set", "plugins.installOvsCNI=true"],
];

export interface ProductCluster {
  readonly cluster: LabHandle;
  /** Shows nothing, unless `print` was given. */
  readonly stage: Stage;
}

export type ProductClusterOptions = Partial<ClusterOptions> & { readonly print?: (line: string) => void };

/** Path of the archive of the product's image. It is built once for all suites of a run, which get it by `$E2E_IMAGE`. */
export async function productImage(say: (line: string) => void = () => {}): Promise<string> {
  const built = process.env["E2E_IMAGE"];
  if (built !== undefined) return built;
  say("Building the product's image (the first time, this fetches packages) …");
  return keepImage("spiderpool.tar", (await buildImage()).archive);
}

/** A real cluster with the product's image on its nodes and the settings that kubeadm leaves. Nothing is installed. */
export async function launchForProduct({
  print = () => {},
  ...options
}: ProductClusterOptions): Promise<ProductCluster> {
  if (options.logDirectory !== undefined) mkdirSync(options.logDirectory, { recursive: true });
  // Of the machine's own containerd.
  const imageStore = options.containerd2 === true ? undefined : process.env["E2E_IMAGE_STORE"];
  const cluster = await launchCluster({
    nodes: 2,
    ...options,
    ...(imageStore !== undefined && { imageStore }),
    images: [...(imageStore === undefined ? [await productImage(options.say)] : []), ...(options.images ?? [])],
    manifests: [JSON.stringify(kubeadmConfigOf(clusterRanges(options))), ...(options.manifests ?? [])],
  });
  const [kubectl, helm] = await Promise.all([findKubectl("1.35"), findHelm()]);
  return { cluster, stage: new Stage({ lab: cluster, kubectl, helm, print }) };
}

/**
 * {@link launchForProduct}, with the chart installed from the checkout and every program ready. Throws Error with what failed.
 */
export async function launchProductCluster(
  options: ProductClusterOptions & { readonly flags?: readonly string[] },
): Promise<ProductCluster> {
  const { flags = [], ...rest } = options;
  const product = await launchForProduct(rest);
  const { stage, cluster } = product;
  await stage.helm("install", "spiderpool", chart, ...walkthroughFlags, ...flags);
  await installed(stage);
  if (stage.failures.length === 0) return product;
  const pods = await stage.quiet("get", "pods,events", "-n", installNamespace);
  await cluster.stop();
  throw new Error(`the product was not installed: ${stage.failures.join("; ")}\n${pods.stdout}`);
}

/** Waits until agents and controller are ready, and says so. */
export async function installed(stage: Stage, namespace = installNamespace): Promise<void> {
  // Whatever names it has: all that belongs to the release.
  for (const kind of ["daemonset", "deployment"])
    await stage.kubectl(
      ...["rollout", "status", kind, "-l", "app.kubernetes.io/instance=spiderpool"],
      ...["-n", namespace, "--timeout=300s"],
    );
}

/** A chart repository on the host's loopback, as `helm repo add` wants it. `folder` gets the packaged chart. */
async function serveChart(folder: string): Promise<AsyncDisposable & { readonly url: string }> {
  const helm = await findHelm();
  const packed = join(folder, "repository");
  mkdirSync(packed, { recursive: true });
  await promisify(execFile)(helm, ["package", chart, "--destination", packed]);
  await promisify(execFile)(helm, ["repo", "index", packed]);
  const server = createServer((request, answer) => {
    try {
      answer.end(readFileSync(join(packed, basename(request.url ?? ""))));
    } catch {
      answer.writeHead(404).end();
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The walk-through's installation, as its guide has it. Returns when every program is ready; checks what a user then sees. */
export async function playInstallation(stage: Stage): Promise<void> {
  stage.title("Install");
  await using repository = await serveChart(stage.lab.directory);
  await stage.helm("repo", "add", "spiderpool", repository.url);
  await stage.helm("repo", "update", "spiderpool");
  await stage.helm("install", "spiderpool", "spiderpool/spiderpool", ...walkthroughFlags);
  await installed(stage);
  const { stdout } = await stage.kubectl("get", "pods", "-n", installNamespace);
  const rows = stdout.trim().split("\n").slice(1);
  const seen = (pattern: RegExp) => rows.filter((row) => pattern.test(row)).length;
  const agents = seen(/^spiderpool-agent-\w{5} +1\/1 +Running +0 /);
  stage.check("an agent runs on every node", agents === stage.lab.nodes.length, stdout);
  stage.check("one controller runs", seen(/^spiderpool-controller-\w+-\w{5} +1\/1 +Running +0 /) === 1, stdout);
  stage.check("the init Job's Pod has completed", seen(/^spiderpool-init-\w{5} +0\/1 +Completed +0 /) === 1, stdout);
  const { stdout: nad } = await stage.quiet(
    "get",
    "net-attach-def",
    defaultNetwork,
    "-n",
    installNamespace,
    "-o",
    "json",
  );
  stage.check("the default network exists and is empty", (JSON.parse(nad || "{}").spec?.config ?? "") === "", nad);
}
