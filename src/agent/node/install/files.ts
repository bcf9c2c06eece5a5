import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { codeOf } from "#base";

/** Larger files of the node are neither ours nor a network configuration. */
const fileBytesMax = 64 << 20;

/** Replaces a file at once: readers, even after a power cut, see the old or the new one. Returns false if nothing changed. */
export function replaceFile(path: string, content: Uint8Array, mode: number): boolean {
  if (isFile(path, content, mode)) return false;
  const fresh = temporaryName(path);
  try {
    const file = openSync(fresh, "wx", mode);
    try {
      writeFileSync(file, content);
      fchmodSync(file, mode); // `openSync` applies our umask.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
  flushFolder(dirname(path));
  return true;
}

/** Flushes a folder, so that renames and removals in it survive a power cut. */
export function flushFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** A temporary name beside `path` that no runtime reads as a configuration or plugin. */
export function temporaryName(path: string): string {
  return `${path}.${randomBytes(6).toString("hex")}.new`;
}

/** Removes temporary files that a killed agent left beside files of these names. */
export function removeTemporary(folder: string, names: readonly string[]): void {
  for (const file of readdirSync(folder)) {
    const [, name] = /^(.+)\.[0-9a-f]{12}\.new$/.exec(file) ?? [];
    if (name !== undefined && names.includes(name)) rmSync(join(folder, file), { force: true });
  }
}

/** The content of a regular file; undefined if there is none (or a folder, a FIFO, something enormous). */
export function readRegularFile(path: string): Buffer | undefined {
  try {
    const found = statSync(path);
    return found.isFile() && found.size <= fileBytesMax ? readFileSync(path) : undefined;
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) return undefined;
    throw error;
  }
}

/** SHA-256 in hex. */
export function checksum(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** True if `path` is a regular file with exactly this content and these permissions. */
export function isFile(path: string, content: Uint8Array, mode: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && (found.mode & 0o777) === mode && readRegularFile(path)?.equals(content) === true;
}
