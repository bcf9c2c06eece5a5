import { mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { codeOf, isJsonObject, removeFile, SpiderError, writeState, writeStateFile } from "#base";
import { type CniResult, decodeResult } from "#cni";
import { bootId, readNetnsId, sameNetns } from "#linux";

/** One delegate of a sandbox as ADD resolved it. CNI demands that DEL uses the configuration of ADD. */
export interface RecordedNetwork {
  /** `namespace/name` of the NetworkAttachmentDefinition, or the name of the configuration. */
  readonly name: string;
  readonly ifName: string;
  /** The plugin objects in ADD's order, each complete with name and cniVersion. */
  readonly plugins: readonly Readonly<Record<string, unknown>>[];
  readonly cniVersion: string;
  readonly networkName: string;
  /** CNI_ARGS as pairs. */
  readonly cniArgs: readonly (readonly [string, string])[];
  /** Values by capability, as they were offered to the plugins. */
  readonly capabilityArgs: Readonly<Record<string, unknown>>;
  /** The last plugin's result in `cniVersion`, once ADD had it. */
  readonly result?: Readonly<Record<string, unknown>>;
  /** CHECK does not look at this network. */
  readonly disableCheck?: boolean;
}

/** What a record is found by. */
export type RecordKey = Pick<SandboxRecord, "containerId" | "ifName" | "plugin">;

/** What survives the agent: written before the first side effect of an ADD, completed before its answer. */
export interface SandboxRecord {
  readonly format: 1;
  readonly containerId: string;
  /** CNI_IFNAME of the call. */
  readonly ifName: string;
  /** The executable that was called, where it was not `multus`: another meta-plugin may call several of ours, one by one. */
  readonly plugin?: string;
  /** Name of the configuration that the runtime called with: the scope of its GC. */
  readonly network: string;
  readonly netns: { readonly path: string; readonly device: string; readonly inode: string };
  readonly bootId: string;
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string } | null;
  readonly networks: readonly RecordedNetwork[];
  /** When the shim of its ADD was started: by it, an ADD that is said again, because the agent ended, is known to be the same. */
  readonly calledMs?: number;
  /** True once ADD has answered. */
  readonly complete: boolean;
  /** When it did, by the monotonic clock of the node's boot. */
  readonly answeredAtMs?: number;
  /** True if an address of it has another holder: it was cut off the network, and nothing of it is put back. */
  readonly cut?: boolean;
}

const fileLimitBytes = 1 << 20;
/** Of the file that is about to replace a record's. */
const freshEnding = ".new";

/**
 * Sandbox records: all in memory, and each in a small file of its own that is replaced by rename. A file that is torn or not
 * ours counts as absent. Each is kept in several folders, so that what somebody deletes in one is not lost: on tmpfs, which
 * lives exactly as long as sandboxes do, and on a disk, for the claims that remained.
 */
export class Records {
  readonly #folders: readonly string[];
  readonly #records = new Map<string, SandboxRecord>();

  /**
   * @param folders the first that has a record is believed; made if absent, readable by root only; what an earlier agent left
   * is read now, and put back where it is missing
   */
  constructor(...folders: readonly string[]) {
    this.#folders = folders;
    const copies = new Map<string, number>();
    for (const folder of folders) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      for (const name of readdirSync(folder)) {
        // Of an agent that was killed as it replaced a record: nobody else knows of it.
        if (name.endsWith(freshEnding)) removeFile(join(folder, name));
        const record = name.endsWith(".json") ? readRecord(join(folder, name)) : undefined;
        if (record === undefined) continue;
        const key = keyOf(record);
        copies.set(key, (copies.get(key) ?? 0) + 1);
        if (!this.#records.has(key)) this.#records.set(key, record);
      }
    }
    for (const [key, record] of this.#records) if (copies.get(key) !== folders.length) this.write(record);
  }

  /** Synchronous: 20 to 40 µs a folder, and nothing may happen between "will do" and the side effect. */
  write(record: SandboxRecord): void {
    const key = keyOf(record);
    const text = JSON.stringify(record);
    if (text.length > fileLimitBytes) {
      throw new SpiderError(
        "RECORD_TOO_LARGE",
        `the networks of this Pod need a record of ${text.length} bytes, ${fileLimitBytes} are allowed`,
      );
    }
    const isFirst = !this.#records.has(key);
    for (const folder of this.#folders) {
      const path = pathOf(folder, key);
      // A first one that is torn is absent, as it was before.
      const writtenTo = isFirst ? path : `${path}${freshEnding}`;
      try {
        writeState(folder, () => {
          writeStateFile(writtenTo, text);
          if (!isFirst) renameSync(writtenTo, path);
        });
      } catch (error) {
        // What a full file system took of it.
        removeFile(writtenTo);
        throw error;
      }
    }
    this.#records.set(key, record);
  }

  read(of: RecordKey): SandboxRecord | undefined {
    return this.#records.get(keyOf(of));
  }

  remove(of: RecordKey): void {
    const key = keyOf(of);
    for (const folder of this.#folders) removeFile(pathOf(folder, key));
    this.#records.delete(key);
  }

  list(): readonly SandboxRecord[] {
    return [...this.#records.values()];
  }

  /** The configurations of all plugins of all sandboxes. */
  *plugins(): Generator<RecordedNetwork["plugins"][number]> {
    for (const { networks } of this.#records.values()) for (const { plugins } of networks) yield* plugins;
  }
}

function pathOf(folder: string, key: string): string {
  return `${folder}/${key}.json`;
}

/** Container IDs and interface names are validated CNI values, and the plugin is one of ours: none can hold a path separator. */
function keyOf({ containerId, ifName, plugin }: RecordKey): string {
  return plugin === undefined ? `${containerId}@${ifName}` : `${containerId}@${ifName}@${plugin}`;
}

function readRecord(path: string): SandboxRecord | undefined {
  try {
    const record: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isRecord(record) ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is SandboxRecord {
  return isJsonObject(value) && value["format"] === 1 && Array.isArray(value["networks"]);
}

/** The result of a network's ADD in its record; undefined if the ADD had none. */
export function recordedResult({ result, cniVersion }: RecordedNetwork): CniResult | undefined {
  return result === undefined ? undefined : decodeResult(result, cniVersion);
}

/** The record's namespace is still the one in which ADD worked, in the same boot. */
export function isSandboxThere({ netns, bootId: boot }: SandboxRecord): boolean {
  if (boot !== bootId()) return false;
  try {
    const now = readNetnsId(netns.path);
    return now !== undefined && sameNetns(now, { device: BigInt(netns.device), inode: BigInt(netns.inode) });
  } catch {
    return false; // The path is something else by now.
  }
}
