import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, type Logger, SpiderError } from "#base";
import type { Family } from "#ip";
import { type Netns, readSysctl, writeSysctl } from "#linux";

/** A setting of the node that Pods on underlay networks need. */
interface NodeSetting {
  /** As `writeSysctl` takes it. */
  readonly key: string;
  /** The families for which it matters. */
  readonly families: readonly Family[];
  readonly value: number;
  /** A greater value serves as well and is left alone. */
  readonly atLeast?: true;
}

/** The settings that are made; docs/reference/coordinator.md lists them. */
export const nodeSettings: readonly NodeSetting[] = [
  // Every Pod is a neighbour of its node: beyond this many the kernel refuses new ones.
  { key: "net/ipv4/neigh/default/gc_thresh3", families: [4], value: 28_160, atLeast: true },
  { key: "net/ipv6/neigh/default/gc_thresh3", families: [6], value: 28_160, atLeast: true },
  // An interface that comes up tells the segment its addresses.
  { key: "net/ipv4/conf/all/arp_notify", families: [4], value: 1 },
  // Pods reach Services and other nodes through theirs.
  { key: "net/ipv4/conf/all/forwarding", families: [4], value: 1 },
  { key: "net/ipv6/conf/all/forwarding", families: [6], value: 1 },
  // Requests to a Pod may come by another interface than its answers leave.
  { key: "net/ipv4/conf/all/rp_filter", families: [4, 6], value: 0 },
];

/** What a setting was before the first agent of this node set it, and what it was set to. */
type Recorded = Readonly<Record<string, { readonly before: string; readonly set: string }>>;

const fileName = "node-sysctls.json";

interface NodeSysctlOptions {
  readonly host: Netns;
  /** Where the earlier values are kept, for `restoreNodeSysctls`. */
  readonly stateDir: string;
}

/**
 * Sets what differs. The earlier values are on disk before the first change; those that an earlier agent has recorded stay.
 * A setting that the kernel does not have is passed over with a warning.
 *
 * @throws SpiderError NODE_SYSCTL naming the setting that could not be written
 */
export function tuneNodeSysctls({
  host,
  stateDir,
  families,
  log,
}: NodeSysctlOptions & { readonly families: readonly Family[]; readonly log: Logger }): void {
  const needed = nodeSettings.flatMap((setting) => {
    if (!setting.families.some((family) => families.includes(family))) return [];
    const before = readSysctl(host, setting.key);
    if (before === undefined) log.warn({ setting: setting.key }, "the kernel has no such setting: passed over");
    return before === undefined || serves(setting, before) ? [] : [{ ...setting, before }];
  });
  if (needed.length === 0) return;
  const recorded = readRecord(stateDir);
  const added = needed
    .filter(({ key }) => recorded[key] === undefined)
    .map(({ key, before, value }) => [key, { before, set: String(value) }] as const);
  if (added.length > 0) writeRecord(stateDir, { ...recorded, ...Object.fromEntries(added) });
  for (const { key, value, before } of needed) {
    try {
      writeSysctl(host, key, value);
    } catch (cause) {
      throw new SpiderError("NODE_SYSCTL", "a setting of the node cannot be written", {
        details: {
          setting: key.replaceAll("/", "."),
          found: before,
          wanted: value,
          fix: "let the agent write below /proc/sys (privileged), or set tuneSysctlConfig: false and see to it yourself",
        },
        cause,
      });
    }
    log.info({ setting: key, before, value }, "set on this node");
  }
}

/**
 * Gives the settings their earlier values back and forgets them: for the uninstallation. What somebody has changed since
 * stays as it is. Returns the keys that were restored; none where nothing was recorded.
 */
export function restoreNodeSysctls({ host, stateDir }: NodeSysctlOptions): readonly string[] {
  const restored = Object.entries(readRecord(stateDir)).flatMap(([key, { before, set }]) => {
    return readSysctl(host, key) === set && writeSysctl(host, key, before) ? [key] : [];
  });
  rmSync(join(stateDir, fileName), { force: true });
  return restored;
}

function serves({ value, atLeast }: NodeSetting, found: string): boolean {
  return atLeast === true ? Number(found) >= value : found === String(value);
}

/** A file that is no record of ours counts as absent. */
function readRecord(stateDir: string): Recorded {
  try {
    const found: unknown = JSON.parse(readFileSync(join(stateDir, fileName), "utf8"));
    if (typeof found !== "object" || found === null) return {};
    return Object.fromEntries(
      Object.entries(found).filter(([key, one]) => {
        return (
          nodeSettings.some((setting) => setting.key === key) && /^\d+$/.test(one?.before) && /^\d+$/.test(one?.set)
        );
      }),
    );
  } catch (error) {
    if (error instanceof SyntaxError || codeOf(error) === "ENOENT") return {};
    throw error;
  }
}

function writeRecord(stateDir: string, recorded: Recorded): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, fileName);
  writeFileSync(`${path}.new`, JSON.stringify(recorded), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
