import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { checksum, flushFolder, readRegularFile, replaceFile } from "./files.ts";

/** One file that we installed on the node. */
interface Entry {
  readonly path: string;
  /** SHA-256, hex. */
  readonly sha256: string;
}

const manifestFile = "installed.json";

/**
 * Lists, in the state directory, the files that we wrote on the node outside our own directories, with checksums. Uninstalling
 * removes exactly these, and only if they are unchanged: a file that another system put in its place belongs to that system.
 */
export class Manifest {
  readonly #path: string;

  /** @param stateDir created if absent */
  constructor(stateDir: string) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    this.#path = join(stateDir, manifestFile);
  }

  /** Notes that `path` will have this content. Called before the file is written: a note without a file does no harm. */
  add(path: string, content: Uint8Array): void {
    const sha256 = checksum(content);
    // The present file stays noted: the process may end before it is replaced.
    const kept = this.#read().filter((one) => one.path !== path || (one.sha256 !== sha256 && isThere(one)));
    this.#write([...kept, { path, sha256 }]);
  }

  /** Whether the file at `path` is ours, according to this record. */
  stateOf(path: string): "ours" | "missing" | "foreign" | "unknown" {
    const noted = this.#read().filter((one) => one.path === path);
    if (noted.length === 0) return "unknown";
    if (noted.some(isThere)) return "ours";
    return readRegularFile(path) === undefined ? "missing" : "foreign";
  }

  /**
   * Removes our files, the newest first (the runtime's configuration before the plugins that it names). Returns the removed
   * paths, and those left because somebody else has changed or replaced them.
   */
  remove(): { readonly removed: readonly string[]; readonly left: readonly string[] } {
    const entries = this.#read();
    const removed: string[] = [];
    for (const entry of entries.toReversed()) {
      if (!isThere(entry)) continue;
      rmSync(entry.path);
      flushFolder(dirname(entry.path));
      removed.push(entry.path);
    }
    const left = new Set(entries.map(({ path }) => path).filter((path) => readRegularFile(path) !== undefined));
    rmSync(this.#path, { force: true });
    return { removed, left: [...left] };
  }

  #read(): readonly Entry[] {
    try {
      const found: unknown = JSON.parse(readRegularFile(this.#path)?.toString("utf8") ?? '{"files":[]}');
      return isManifest(found) ? found.files : [];
    } catch (error) {
      if (error instanceof SyntaxError) return []; // We replace it by rename, so somebody else must have damaged it.
      throw error;
    }
  }

  #write(files: readonly Entry[]): void {
    replaceFile(this.#path, Buffer.from(`${JSON.stringify({ format: 1, files }, undefined, 2)}\n`), 0o600);
  }
}

function isThere({ path, sha256 }: Entry): boolean {
  const content = readRegularFile(path);
  return content !== undefined && checksum(content) === sha256;
}

function isManifest(value: unknown): value is { readonly files: readonly Entry[] } {
  if (typeof value !== "object" || value === null || !("files" in value) || !Array.isArray(value.files)) return false;
  return value.files.every((one: unknown) => {
    if (typeof one !== "object" || one === null || !("path" in one && "sha256" in one)) return false;
    return typeof one.path === "string" && typeof one.sha256 === "string";
  });
}
