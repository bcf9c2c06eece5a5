import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { TextFile } from "./io.ts";

/** How much is read of one file. The API server refuses objects of over 3 MiB. */
const fileBytesMax = 32 << 20;

/** The files of a `-f`, as kubectl takes it: a file, a folder with files of YAML and JSON, or standard input for `-`. */
export async function readFiles(path: string): Promise<readonly TextFile[]> {
  if (path === "-") return [{ name: "-", text: await readText(process.stdin) }];
  const isFolder = (await stat(path)).isDirectory();
  if (!isFolder) return [{ name: path, text: await readText(createReadStream(path)) }];
  const names = (await readdir(path)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  if (names.length === 0) throw new Error("the folder has no file with the ending .yaml, .yml or .json");
  const files: TextFile[] = [];
  for (const name of names.map((one) => join(path, one))) {
    files.push({ name, text: await readText(createReadStream(name)) });
  }
  return files;
}

async function readText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > fileBytesMax) throw new Error(`it has more than ${fileBytesMax >> 20} MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes).toString("utf8");
}
