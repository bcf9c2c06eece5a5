import { annotations } from "#api";
import type { JsonObject } from "#base";
import { CniError, type CniResult, type PodRef } from "#cni";
import { formatIp, formatPrefix, tryParseIp } from "#ip";
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

/**
 * The message of the Event `AddressNotGiven`; undefined if the NIC has each address that the annotation's `ips` ask for. As with
 * Multus, the Pod runs nevertheless, with other addresses.
 */
export function addressNotGivenMessage({ ifName, selection }: Delegate, result: CniResult): string | undefined {
  const given = new Set(result.ips.map(({ address }) => formatIp(address.ip)));
  const missing = (selection?.ips ?? []).filter((asked) => {
    const ip = tryParseIp(asked.split("/", 1)[0] ?? "");
    return ip !== undefined && !given.has(formatIp(ip));
  });
  if (missing.length === 0) return undefined;
  const effect = "IPPools, and plugins without the capability ips, do not heed it";
  const advice = `to ask for an address of an IPPool, name a pool of that address alone in annotation ${annotations.ippools}`;
  return `${ifName} does not have ${missing.join(", ")}, which "ips" of its network selection asks for: ${effect}; ${advice}`;
}
