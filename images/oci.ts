import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { encodeTar, type Tree } from "./tar.ts";

export interface ImageConfig {
  /** Go's word for it: `amd64`, `arm64`. */
  readonly architecture: string;
  /** RFC 3339. */
  readonly created: string;
  readonly entrypoint: readonly string[];
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface Layer {
  /** How it was made, for `history`. */
  readonly name: string;
  readonly tree: Tree;
}

export interface Image {
  /** One file that is both an OCI layout and a `docker save` archive: ctr, docker, podman, skopeo and nerdctl read it. */
  readonly archive: Buffer;
  /** `sha256:…` of the manifest. */
  readonly digest: string;
}

const media = "application/vnd.oci.image";
const directory = "blobs/sha256";

/**
 * Packs layers into an image called `reference`. The same input gives the same bytes.
 * `compress` makes gzip of a layer's tar; another one may keep what it made.
 */
export function packImage(
  reference: string,
  { architecture, created, entrypoint, env, labels }: ImageConfig,
  layers: readonly Layer[],
  compress: (tar: Buffer, digest: string) => Buffer = (tar) => gzipSync(tar),
): Image {
  const blobs: Tree = new Map();
  const add = (content: Buffer) => {
    const digest = sha256(content);
    blobs.set(`${directory}/${digest}`, { kind: "file", mode: 0o644, content });
    return { digest: `sha256:${digest}`, size: content.length };
  };
  const packed = layers.map(({ name, tree }) => {
    const tar = encodeTar(tree);
    const diffId = sha256(tar);
    return { name, diffId, blob: add(compress(tar, diffId)) };
  });
  const config = add(
    json({
      architecture,
      os: "linux",
      created,
      config: { Env: env, Entrypoint: entrypoint, WorkingDir: "/", Labels: labels },
      rootfs: { type: "layers", diff_ids: packed.map(({ diffId }) => `sha256:${diffId}`) },
      history: packed.map(({ name }) => ({ created, created_by: name })),
    }),
  );
  const manifest = add(
    json({
      schemaVersion: 2,
      mediaType: `${media}.manifest.v1+json`,
      config: { mediaType: `${media}.config.v1+json`, ...config },
      layers: packed.map(({ blob }) => ({ mediaType: `${media}.layer.v1.tar+gzip`, ...blob })),
      annotations: labels,
    }),
  );
  const path = ({ digest }: { readonly digest: string }) => `${directory}/${digest.replace("sha256:", "")}`;
  const file = (content: Buffer) => ({ kind: "file", mode: 0o644, content }) as const;
  const tag = reference.slice(reference.lastIndexOf(":") + 1);
  blobs.set("oci-layout", file(json({ imageLayoutVersion: "1.0.0" })));
  blobs.set(
    "index.json",
    file(
      json({
        schemaVersion: 2,
        mediaType: `${media}.index.v1+json`,
        manifests: [
          {
            mediaType: `${media}.manifest.v1+json`,
            ...manifest,
            platform: { architecture, os: "linux" },
            annotations: { "io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag },
          },
        ],
      }),
    ),
  );
  const layerPaths = packed.map(({ blob }) => path(blob));
  blobs.set("manifest.json", file(json([{ Config: path(config), RepoTags: [reference], Layers: layerPaths }])));
  return { archive: encodeTar(blobs), digest: manifest.digest };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
