import { linkSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { SpiderError } from "#base";
import { formatShimSettings, shimSettingsFile } from "#cni";
import { isFile, readRegularFile, removeTemporary, replaceFile, temporaryName } from "./files.ts";
import type { Manifest } from "./manifest.ts";

/** The default names under which container runtimes and other meta-plugins find us. */
export const executableNames = [
  ...(["multus", "spiderpool", "coordinator", "ifacer"] as const),
  ...(["ovs", "ovs-mirror-producer", "ovs-mirror-consumer"] as const),
] as const;
const shimFile = ".spiderpool-shim";

/** Which file goes where, under which names, and who keeps account of it. */
export interface ExecutablesOptions {
  /** The runtime's plugin directory. */
  readonly binDir: string;
  /** The plugin executable to install. */
  readonly shim: string;
  /** The agent's socket. */
  readonly socket: string;
  /** Names of our plugins on this node. Files with other names are left alone. */
  readonly names: readonly string[];
  readonly manifest: Pick<Manifest, "add">;
}

/**
 * Installs the shim in the runtime's plugin directory under each of our names. Each file appears complete or not at all, and
 * correct files are not touched, so that a call that executes one is never disturbed.
 */
export function installExecutables({ binDir, shim, socket, names, manifest }: ExecutablesOptions): void {
  const program = readRegularFile(shim);
  if (program === undefined) throw new SpiderError("SHIM_MISSING", `there is no plugin executable ${shim} to install`);
  mkdirSync(binDir, { recursive: true, mode: 0o755 });
  removeTemporary(binDir, [...names, shimFile, shimSettingsFile]);
  const put = (path: string, content: Buffer, mode: number) => {
    manifest.add(path, content);
    return replaceFile(path, content, mode);
  };
  put(join(binDir, shimSettingsFile), Buffer.from(formatShimSettings({ socketPath: socket })), 0o644);
  const changed = put(join(binDir, shimFile), program, 0o755);
  for (const name of names) {
    const path = join(binDir, name);
    if (!changed && isLinked(path, join(binDir, shimFile))) continue;
    manifest.add(path, program);
    const fresh = temporaryName(path);
    linkSync(join(binDir, shimFile), fresh);
    try {
      renameSync(fresh, path);
    } catch (error) {
      rmSync(fresh, { force: true });
      throw error;
    }
  }
}

/** Names that are missing or belong to somebody else now; "the shim itself" if it is the shim. */
export function wrongExecutables({ binDir, shim, socket, names }: ExecutablesOptions): readonly string[] {
  const installed = join(binDir, shimFile);
  const settings = Buffer.from(formatShimSettings({ socketPath: socket }));
  const program = readRegularFile(shim);
  const isRight =
    (program === undefined || isFile(installed, program, 0o755)) &&
    isFile(join(binDir, shimSettingsFile), settings, 0o644);
  const wrong = names.filter((name) => !isLinked(join(binDir, name), installed));
  return isRight ? wrong : [...wrong, "the shim itself"];
}

function isLinked(path: string, shim: string): boolean {
  const [found, wanted] = [statSync(path, { throwIfNoEntry: false }), statSync(shim, { throwIfNoEntry: false })];
  return wanted !== undefined && found?.ino === wanted.ino && found.dev === wanted.dev;
}
