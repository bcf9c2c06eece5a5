import { readFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, isJsonObject } from "#base";
import { CniError, cniCodes, parseJsonObject } from "#cni";

/** The kubelet's checkpoint of allocated devices, relative to its root directory. */
const deviceCheckpoint = "device-plugins/kubelet_internal_checkpoint";

/**
 * The devices that the kubelet with this root directory has allocated to the Pod with this UID, by resource, for all
 * containers together. Empty if the kubelet has no checkpoint.
 *
 * @throws CniError 5 for a checkpoint that cannot be read
 */
export function readDevices(podUid: string, kubeletRoot: string): ReadonlyMap<string, readonly string[]> {
  const path = join(kubeletRoot, deviceCheckpoint);
  const devices = new Map<string, string[]>();
  for (const entry of entriesOf(path)) {
    const resource = entry["ResourceName"];
    if (entry["PodUID"] !== podUid || typeof resource !== "string") continue;
    const ids = idsOf(entry["DeviceIDs"]);
    devices.set(resource, [...new Set([...(devices.get(resource) ?? []), ...ids])]);
  }
  return devices;
}

function entriesOf(path: string): readonly Readonly<Record<string, unknown>>[] {
  try {
    const { Data: data } = parseJsonObject(readFileSync(path), path);
    const entries = isJsonObject(data) ? data["PodDeviceEntries"] : undefined;
    return Array.isArray(entries) ? entries.filter(isJsonObject) : [];
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return [];
    throw new CniError(cniCodes.io, "kubelet's record of devices cannot be read", { details: { path }, cause });
  }
}

/** A list of IDs, or since Kubernetes 1.20 one for each NUMA node. */
function idsOf(value: unknown): readonly string[] {
  const lists = isJsonObject(value) ? Object.values(value) : [value];
  return lists.flatMap((list) => (Array.isArray(list) ? list.filter((id) => typeof id === "string") : []));
}
