import { createHash } from "node:crypto";

/** An entry of a tar archive: a folder, a file or a symbolic link. */
export type Entry =
  | { readonly path: string; readonly directory: true; readonly mode?: number }
  | { readonly path: string; readonly content: Buffer; readonly mode?: number }
  | { readonly path: string; readonly link: string };

const block = 512;

/** A tar archive (POSIX ustar) of these entries, owned by root and of no age: equal entries make equal bytes. */
export function tar(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const content = "content" in entry ? entry.content : Buffer.alloc(0);
    return [header(entry, content.length), content, Buffer.alloc(-content.length & (block - 1))];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}

function header(entry: Entry, size: number): Buffer {
  const path = Buffer.from("directory" in entry ? `${entry.path}/` : entry.path);
  if (path.length > 100) throw new RangeError(`a path of at most 100 bytes fits this archive: received ${path}`);
  const bytes = Buffer.alloc(block);
  const octal = (value: number, offset: number, digits: number) =>
    bytes.write(value.toString(8).padStart(digits, "0"), offset);
  path.copy(bytes);
  octal(("mode" in entry ? entry.mode : undefined) ?? ("directory" in entry ? 0o755 : 0o644), 100, 7);
  for (const offset of [108, 116]) octal(0, offset, 7);
  octal(size, 124, 11);
  octal(0, 136, 11);
  bytes.fill(" ", 148, 156);
  bytes.write("directory" in entry ? "5" : "link" in entry ? "2" : "0", 156);
  if ("link" in entry) bytes.write(entry.link, 157, 100);
  bytes.write("ustar\u000000", 257);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

export interface ImageConfig {
  /** `registry/repository:tag` */
  readonly name: string;
  readonly entrypoint?: readonly string[];
  readonly path?: string;
}

/** An image of one layer as `docker save` writes it, which every runtime's import reads; no container engine is needed. */
export function dockerArchive({ name, entrypoint = [], path = "/bin" }: ImageConfig, layer: readonly Entry[]): Buffer {
  const layerTar = tar(layer);
  const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  const config = Buffer.from(
    JSON.stringify({
      ...{ architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux" },
      config: { Env: [`PATH=${path}`], Entrypoint: entrypoint },
      rootfs: { type: "layers", diff_ids: [`sha256:${digest(layerTar)}`] },
      history: [{ created_by: "spiderpool test" }],
    }),
  );
  const configName = `${digest(config)}.json`;
  const manifest = [{ Config: configName, RepoTags: [name], Layers: ["layer.tar"] }];
  return tar([
    { path: configName, content: config },
    { path: "layer.tar", content: layerTar },
    { path: "manifest.json", content: Buffer.from(JSON.stringify(manifest)) },
  ]);
}
