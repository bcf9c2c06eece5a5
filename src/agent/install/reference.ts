import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readRegularFile, removeTemporary, replaceFile } from "./files.ts";
import type { Manifest } from "./manifest.ts";

export interface ReferenceOptions {
  /** The runtime's plugin directory. */
  readonly binDir: string;
  /** A folder with the reference plugins (bridge, host-local, loopback …), each an executable file. */
  readonly from: string;
  /** Names under which the shim is installed: these are ours alone. */
  readonly names: readonly string[];
  readonly manifest: Pick<Manifest, "add" | "stateOf">;
}

/**
 * Puts each reference plugin on the node that has none of that name, and brings those that we put there earlier up to date.
 * A file that somebody else put there, before us or in our place, is theirs. Throws where the folders can't be read or written.
 */
export function installReference(options: ReferenceOptions): void {
  const { binDir, from, manifest } = options;
  const plugins = pluginsOf(options);
  removeTemporary(binDir, plugins);
  for (const name of plugins) {
    const path = join(binDir, name);
    const state = manifest.stateOf(path);
    if (state === "foreign" || (state === "unknown" && isThere(path))) continue;
    const content = readRegularFile(join(from, name));
    if (content === undefined) continue;
    manifest.add(path, content);
    replaceFile(path, content, 0o755);
  }
}

/** The plugins of which the node has no file at all. Cheap: it is asked at each change in the directory. */
export function missingReference(options: ReferenceOptions): readonly string[] {
  return pluginsOf(options).filter((name) => !isThere(join(options.binDir, name)));
}

function pluginsOf({ from, names }: ReferenceOptions): readonly string[] {
  return readdirSync(from)
    .filter((name) => !names.includes(name))
    .sort();
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
