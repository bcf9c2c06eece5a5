import { randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { formatShimSettings, shimSettingsFile } from "#cni";

/** The names under which container runtimes and other meta-plugins find us. One file, linked under each. */
export const executableNames = ["multus", "ovs", "spiderpool", "coordinator"] as const;
const shimFile = ".spiderpool-shim";
export const networkFile = "00-multus.conf";

/**
 * Puts the shim into the runtime's plugin directory under every name of ours. Each file appears complete or not at all, and
 * files that are right already are left alone, so that a call that executes one meanwhile is never disturbed.
 */
export function installExecutables(options: {
  readonly binDir: string;
  readonly shim: string;
  readonly socket: string;
}): void {
  const { binDir, shim, socket } = options;
  mkdirSync(binDir, { recursive: true, mode: 0o755 });
  replaceFile(join(binDir, shimSettingsFile), Buffer.from(formatShimSettings({ socketPath: socket })), 0o644);
  const changed = replaceFile(join(binDir, shimFile), readFileSync(shim), 0o755);
  for (const name of executableNames) {
    const path = join(binDir, name);
    if (!changed && isLinked(path, join(binDir, shimFile))) continue;
    const fresh = temporaryName(path);
    linkSync(join(binDir, shimFile), fresh);
    renameSync(fresh, path);
  }
}

/** What the runtime is told to call; multus.md's keys that we honour. */
export interface NetworkFileOptions {
  readonly confDir: string;
  readonly clusterNetwork: string;
  /** Where cluster-wide networks are looked up. */
  readonly multusNamespace: string;
}

/** Tells the runtime of us; done last, when the agent answers. A file with the same content is left alone. */
export function writeNetworkFile({ confDir, clusterNetwork, multusNamespace }: NetworkFileOptions): void {
  mkdirSync(confDir, { recursive: true, mode: 0o755 });
  const conf = {
    cniVersion: "1.0.0",
    name: "multus-cni-network",
    type: "multus",
    confDir,
    clusterNetwork,
    multusNamespace,
    capabilities: { portMappings: true, bandwidth: true },
  };
  replaceFile(join(confDir, networkFile), Buffer.from(`${JSON.stringify(conf, undefined, 2)}\n`), 0o600);
}

/** Written aside, flushed, renamed: a reader and a power cut see the old or the new. False where it had this content already. */
function replaceFile(path: string, content: Buffer, mode: number): boolean {
  if (hasMode(path, mode) && readFileSync(path).equals(content)) return false;
  const fresh = temporaryName(path);
  try {
    const file = openSync(fresh, "wx", mode);
    try {
      writeFileSync(file, content);
      fchmodSync(file, mode); // Whatever our umask takes away from `openSync`.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
  return true;
}

function temporaryName(path: string): string {
  return `${path}.${randomBytes(6).toString("hex")}.new`;
}

function hasMode(path: string, mode: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && (found.mode & 0o777) === mode;
}

function isLinked(path: string, shim: string): boolean {
  const [found, wanted] = [statSync(path, { throwIfNoEntry: false }), statSync(shim)];
  return found?.ino === wanted.ino && found.dev === wanted.dev;
}
