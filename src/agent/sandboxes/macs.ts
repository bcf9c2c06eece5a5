import { hasCode } from "#base";
import { openNetns } from "#linux";
import { isSandboxThere, type Records, recordedResult, type SandboxRecord } from "./records.ts";

/** Whether a sandbox has a NIC with this MAC address. */
export function hasMac(record: SandboxRecord, mac: string): boolean {
  const wanted = mac.toLowerCase();
  return [...macsAnswered(record), ...macsIn(record)].some((one) => one.toLowerCase() === wanted);
}

/** Who has a NIC with this MAC address, for people: the Pod of a sandbox on record, other than this container. */
export function holderOfMac(records: Records, mac: string, except: string): string | undefined {
  const others = records.list().filter((one) => one.containerId !== except && isSandboxThere(one));
  const found = others.find((one) => hasMac(one, mac));
  if (found === undefined) return undefined;
  const { pod, containerId } = found;
  return pod === null ? `container ${containerId}` : `Pod ${pod.namespace}/${pod.name} (container ${containerId})`;
}

/** The MAC addresses of which the record's results tell: also of interfaces that no kernel has. */
function macsAnswered({ networks }: SandboxRecord): readonly string[] {
  return networks.flatMap((network) => recordedResult(network)?.interfaces ?? []).flatMap(({ mac }) => mac ?? []);
}

/** Those that the sandbox has now: an ADD that is still under way has told of none. */
function macsIn({ netns: { path } }: SandboxRecord): readonly string[] {
  try {
    using pod = openNetns(path);
    return pod.rtnl.links().flatMap(({ mac }) => mac ?? []);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "NOT_A_NETNS")) return [];
    throw error;
  }
}
