import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readRegularFile, removeTemporary, replaceFile } from "./files.ts";
import type { Manifest } from "./manifest.ts";

/** Where the reference plugins come from and go to. */
export interface ReferenceOptions {
  /** The runtime's plugin directory. */
  readonly binDir: string;
  /** A folder with the reference plugins (bridge, host-local, loopback …), each an executable file. */
  readonly from: string;
  /** Names under which the shim is installed; these are not touched. */
  readonly names: readonly string[];
  readonly manifest: Pick<Manifest, "add" | "stateOf">;
}

/**
 * Installs each reference plugin unless the node has a file of that name, and updates those that we installed earlier. Leaves
 * files alone that somebody else put there, before us or in place of ours. Throws if the folders can't be read or written.
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

/** The plugins without a file on the node. Cheap, because it is called at each change in the directory. */
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
