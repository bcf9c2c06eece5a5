import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf, formatError, type JsonObject, type Logger } from "#base";
import { parseJsonObject } from "#cni";
import { type Delegate, deviceInfoCapability, deviceInfoFile, devicePluginFile } from "#multus";
import type { RecordedNetwork, SandboxRecord } from "../sandboxes/records.ts";

/** Size limit of a file; the information about a device has a few hundred bytes. */
const bytesMax = 1 << 16;

/** Copies the device plugins' information about devices to where network plugins look for it. Best effort. */
export function offerDeviceInfo(delegates: readonly Delegate[], log: Logger): void {
  for (const { deviceInfoFile: file, resourceName, deviceId } of delegates) {
    if (file === undefined || resourceName === undefined || deviceId === undefined) continue;
    const told = devicePluginFile(resourceName, deviceId);
    attempt(log, told, () => {
      mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
      copyFileSync(told, file);
    });
  }
}

/** The information about a device in a file; undefined if there is none, or it cannot be read. */
export function readDeviceInfo(file: string | undefined, log: Logger): JsonObject | undefined {
  if (file === undefined) return undefined;
  return attempt(log, file, () => {
    if (statSync(file).size > bytesMax) throw new Error(`more than ${bytesMax} bytes`);
    return parseJsonObject(readFileSync(file), file);
  });
}

/** Removes the files for a sandbox's networks. */
export function removeDeviceInfo(record: SandboxRecord | undefined, log: Logger): void {
  for (const network of record?.networks ?? []) {
    const file = record && recordedDeviceInfoFile(record, network);
    if (file !== undefined) attempt(log, file, () => rmSync(file, { force: true }));
  }
}

/** The file for a recorded network. A path that the runtime chose itself is not ours to read or remove. */
export function recordedDeviceInfoFile(
  { containerId }: Pick<SandboxRecord, "containerId">,
  { name, ifName, capabilityArgs }: RecordedNetwork,
): string | undefined {
  const file = deviceInfoFile(name, containerId, ifName);
  return capabilityArgs[deviceInfoCapability] === file ? file : undefined;
}

function attempt<T>(log: Logger, file: string, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (codeOf(error) !== "ENOENT")
      log.warn({ file, err: formatError(error) }, "what is known of a device is passed over");
    return undefined;
  }
}
