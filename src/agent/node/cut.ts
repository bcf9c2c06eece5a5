import { hasCode } from "#base";
import { type Netns, openNetns } from "#linux";
import type { SandboxRecord } from "../sandboxes/records.ts";
import { hostLinksOf } from "./host-state.ts";

/**
 * Cuts a sandbox off the network: the node's ends of its links go down, and its own interfaces, some of which have no such
 * end (macvlan, ipvlan, vlan). Loopback is left.
 */
export function cutOff(record: SandboxRecord, host: Netns): void {
  for (const name of hostLinksOf(record)) takeDown(host, name);
  let pod: Netns;
  try {
    pod = openNetns(record.netns.path);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "NOT_A_NETNS")) return;
    throw error;
  }
  try {
    for (const { ifName } of record.networks) takeDown(pod, ifName);
  } finally {
    pod[Symbol.dispose]();
  }
}

function takeDown({ rtnl }: Netns, name: string): void {
  if (rtnl.link(name) !== undefined) rtnl.setLink(name, { up: false });
}
