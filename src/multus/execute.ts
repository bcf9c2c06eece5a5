import { CniError, type CniResult, type JsonObject, type PodRef } from "#cni";
import { formatPrefix } from "#ip";
import { deviceInfoCapability } from "./device-info.ts";
import type { Delegate } from "./types.ts";

/**
 * CNI_ARGS for a delegate, in the order in which they are written: those of Kubernetes, those that the runtime sent, then `MAC`
 * and `IP` if the annotation asks for them. Each key occurs once, with its last value, as plugins would read it. `IgnoreUnknown`
 * is always set, because most plugins know none of these keys.
 */
export function delegateArgs(
  { selection }: Delegate,
  call: { readonly containerId: string; readonly pod: PodRef | undefined; readonly args: ReadonlyMap<string, string> },
): ReadonlyMap<string, string> {
  const { pod, containerId, args } = call;
  const all = new Map<string, string>().set("IgnoreUnknown", "true");
  if (pod !== undefined) {
    all.set("K8S_POD_NAMESPACE", pod.namespace);
    all.set("K8S_POD_NAME", pod.name);
    all.set("K8S_POD_INFRA_CONTAINER_ID", containerId);
    all.set("K8S_POD_UID", pod.uid);
  }
  args.forEach((value, key) => {
    if (key !== "IgnoreUnknown") all.set(key, value);
  });
  if (selection?.mac !== undefined) all.set("MAC", selection.mac);
  if (selection?.ips !== undefined) all.set("IP", selection.ips.join(","));
  return all;
}

/**
 * The values by capability that are offered to a delegate's plugins: those that the runtime offered us and, except for the
 * master, those that the annotation asks for. A plugin receives only those that it declares (`pluginInput` of #cni).
 */
export function capabilityArgs(
  { master, selection, deviceId, deviceInfoFile }: Delegate,
  received: JsonObject,
): JsonObject {
  if (master) return received;
  const asked = {
    portMappings: selection?.portMappings,
    bandwidth: selection?.bandwidth,
    ips: selection?.ips,
    mac: selection?.mac,
    infinibandGUID: selection?.infinibandGuid,
    deviceID: deviceId ?? selection?.deviceId,
    [deviceInfoCapability]: deviceInfoFile,
  };
  return { ...received, ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)) };
}

/** The error for the runtime when a delegate's ADD failed. It keeps the number of the plugin's error. */
export function addFailure(pod: PodRef | undefined, { displayName }: Delegate, error: unknown): CniError {
  const { cniCode, message, text } = CniError.from(error);
  const where = `[${pod?.namespace ?? ""}/${pod?.name ?? ""}/${pod?.uid ?? ""}:${displayName}]`;
  const what = `error adding container to network ${JSON.stringify(displayName)}`;
  return new CniError(cniCode, `${where}: ${what}: ${message}`, { text, cause: error });
}

/** A failure's message without what `addFailure` puts before the plugin's own words. */
export function withoutAddFailure(message: string): string {
  return message.replace(/^\[[^\s\]]*\]: error adding container to network "[^"]*": /, "");
}

/** The message of the Event `AddedInterface`; undefined if the result has neither interfaces nor addresses. */
export function addedInterfaceMessage({ ifName, displayName }: Delegate, result: CniResult): string | undefined {
  if (result.interfaces.length === 0 && result.ips.length === 0) return undefined;
  return `Add ${ifName} [${result.ips.map(({ address }) => formatPrefix(address)).join(" ")}] from ${displayName}`;
}
