import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { parse } from "yaml";
import { cachePath } from "../lab/tools/cache.ts";
import { chartFolder, readChartValues } from "../scripts/generate/chart-values.ts";
import { type DebianBase, debianArchitecture, debianBase } from "./debian.ts";
import { type Image, type ImageConfig, type Layer, packImage } from "./oci.ts";
import { sbom } from "./sbom.ts";
import { encodeTar } from "./tar.ts";
import { baseTree, productTree } from "./tree.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

interface BuiltImage extends Image {
  /** The image's name in the chart. */
  readonly reference: string;
  /** Bill of materials, SPDX JSON; also in the image. */
  readonly sbom: string;
}

interface BuildOptions {
  /** Use the distribution's newest libraries. @default false */
  readonly updateBase?: boolean;
  /** Cache compressed layers. @default true */
  readonly cache?: boolean;
}

/** Builds the product's image, reproducibly from sources, npm packages and Debian packages. */
export async function buildImage({ updateBase = false, cache = true }: BuildOptions = {}): Promise<BuiltImage> {
  const base = await debianBase({ update: updateBase });
  const { reference, version } = chartImage();
  const config = imageConfig(version);
  const bill = await sbom(base, { version, created: config.created });
  const image = packImage(reference, config, await layersOf(base, bill), cache ? compressOnce : undefined);
  return { ...image, reference, sbom: bill };
}

/** Writes the files of the image into a folder. */
export async function writeRootfs(folder: string): Promise<void> {
  const base = await debianBase();
  const { version } = chartImage();
  const bill = await sbom(base, { version, created: imageConfig(version).created });
  mkdirSync(folder, { recursive: true });
  for (const { tree } of await layersOf(base, bill)) {
    execFileSync("tar", ["--extract", "--directory", folder], { input: encodeTar(tree) });
  }
}

/** The layers, those that change least first. */
export async function layersOf(base: DebianBase, bill: string): Promise<readonly Layer[]> {
  const product = await productTree();
  product.set("usr/share/spiderpool/sbom.spdx.json", { kind: "file", mode: 0o644, content: Buffer.from(bill) });
  return [
    { name: "distribution's libraries and plugins, Node", tree: baseTree(base) },
    { name: "spiderpool", tree: product },
  ];
}

/** The chart's default image, which is the same for all its components. */
export function chartImage(): { readonly reference: string; readonly version: string } {
  const { appVersion: version } = parse(readFileSync(new URL("Chart.yaml", chartFolder), "utf8")) as {
    readonly appVersion: string;
  };
  const image = readChartValues().find(({ path }) => path === "spiderpoolAgent.image")?.default as {
    readonly registry: string;
    readonly repository: string;
  };
  return { reference: `${image.registry}/${image.repository}:v${version}`, version };
}

/** The image's configuration, which the Containerfile repeats. */
export function imageConfig(version: string): ImageConfig {
  return {
    architecture: debianArchitecture,
    created: created(),
    entrypoint: ["/usr/bin/spiderpoolctl"],
    env: ["PATH=/usr/bin"],
    labels: {
      "org.opencontainers.image.title": "spiderpool",
      "org.opencontainers.image.description": "Underlay networking for Kubernetes",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": version,
    },
  };
}

/** A reproducible creation time: $SOURCE_DATE_EPOCH, else that of the commit, else 1970. */
function created(): string {
  const git = () => spawnSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" }).stdout;
  // Sources without their git history.
  const seconds = Number(process.env["SOURCE_DATE_EPOCH"] ?? git() ?? 0) || 0;
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** Compresses with a cache: Node's layer takes 5 s, and hardly ever changes. */
function compressOnce(tar: Buffer, digest: string): Buffer {
  const folder = cachePath("layers");
  const path = join(folder, `${digest}.tar.gz`);
  if (existsSync(path)) return readFileSync(path);
  const compressed = gzipSync(tar);
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${path}.${process.pid}`, compressed);
  renameSync(`${path}.${process.pid}`, path);
  return compressed;
}
