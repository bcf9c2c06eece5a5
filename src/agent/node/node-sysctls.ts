import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, type Logger, SpiderError } from "#base";
import type { Family } from "#ip";
import { type Netns, readSysctl, writeSysctl } from "#linux";

/** A setting of the node that Pods on underlay networks need. */
interface NodeSetting {
  /** Key for `writeSysctl`. */
  readonly key: string;
  /** The address families that need it. */
  readonly families: readonly Family[];
  readonly value: number;
  /** True if a greater value is fine, too, and is left alone. */
  readonly atLeast?: true;
}

/** The settings; docs/reference/coordinator.md lists them. */
export const nodeSettings: readonly NodeSetting[] = [
  // Every Pod is a neighbour of its node, and the kernel refuses further neighbours beyond this number.
  { key: "net/ipv4/neigh/default/gc_thresh3", families: [4], value: 28_160, atLeast: true },
  { key: "net/ipv6/neigh/default/gc_thresh3", families: [6], value: 28_160, atLeast: true },
  // An interface that comes up announces its addresses.
  { key: "net/ipv4/conf/all/arp_notify", families: [4], value: 1 },
  // Pods reach Services and other nodes through their node.
  { key: "net/ipv4/conf/all/forwarding", families: [4], value: 1 },
  { key: "net/ipv6/conf/all/forwarding", families: [6], value: 1 },
  // Requests to a Pod may arrive on another interface than its answers leave by.
  { key: "net/ipv4/conf/all/rp_filter", families: [4, 6], value: 0 },
];

/** A setting's value before the first agent of this node changed it, and the value it was set to. */
type Recorded = Readonly<Record<string, { readonly before: string; readonly set: string }>>;

const fileName = "node-sysctls.json";

interface NodeSysctlOptions {
  readonly host: Netns;
  /** File with the earlier values, for `restoreNodeSysctls`. */
  readonly stateDir: string;
}

/**
 * Changes settings that differ. Records earlier values on disk before the first change; values that an earlier agent recorded
 * stay. Skips a setting that the kernel does not have, with a warning.
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
 * Restores the settings' earlier values and forgets them, for the uninstallation. Leaves settings alone that somebody has changed
 * since. Returns the restored keys; none if nothing was recorded.
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

/** An invalid file counts as absent. */
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
