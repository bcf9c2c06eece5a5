import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf, formatError, type Logger } from "#base";
import { type JsonObject, parseJsonObject } from "#cni";
import { type Delegate, deviceInfoCapability, deviceInfoFile, devicePluginFile } from "#multus";
import type { RecordedNetwork, SandboxRecord } from "./records.ts";

/** What is known of a device has a few hundred bytes. */
const bytesMax = 1 << 16;

/** Puts what device plugins told of their devices where the networks' plugins look for it. Best effort, as all of this. */
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

/** What a file tells of a device; undefined where there is none, or none that can be read. */
export function readDeviceInfo(file: string | undefined, log: Logger): JsonObject | undefined {
  if (file === undefined) return undefined;
  return attempt(log, file, () => {
    if (statSync(file).size > bytesMax) throw new Error(`more than ${bytesMax} bytes`);
    return parseJsonObject(readFileSync(file), file);
  });
}

/** Takes away the files that a sandbox's networks were offered. */
export function removeDeviceInfo(record: SandboxRecord | undefined, log: Logger): void {
  for (const network of record?.networks ?? []) {
    const file = record && recordedDeviceInfoFile(record, network);
    if (file !== undefined) attempt(log, file, () => rmSync(file, { force: true }));
  }
}

/** The file of a recorded network. One that a runtime named by itself is not ours to read or remove. */
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
