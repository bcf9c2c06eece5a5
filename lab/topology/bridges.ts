import { gateway, gateway6 } from "./networks.ts";
import type { LabNode } from "./node.ts";

interface BridgeOptions {
  /** @default "br1" */
  readonly bridge?: string;
}

/**
 * Sets up a host as its administrator would: a bridge with the network card as port, and the host's address moved from the card
 * to the bridge. Can be run again after a power loss, like a start-up script. Returns the commands. The bridges use the userspace
 * datapath, which needs no kernel module.
 */
export async function createBridges(node: LabNode, { bridge = "br1" }: BridgeOptions = {}): Promise<readonly string[]> {
  const commands = [
    `ovs-vsctl --may-exist add-br ${bridge} -- set bridge ${bridge} datapath_type=netdev`,
    `ovs-vsctl --may-exist add-port ${bridge} eth0`,
    "ip addr flush dev eth0",
    "ip -6 route flush dev eth0", // removing an IPv6 address keeps the static routes, unlike IPv4
    `ip addr add ${node.ip}/16 dev ${bridge}`,
    `ip addr add ${node.ip6}/64 dev ${bridge} nodad`,
    `ip link set ${bridge} up`,
    `ip route add default via ${gateway} dev ${bridge}`,
    `ip route add ::/0 via ${gateway6} dev ${bridge}`,
  ];
  for (const command of commands) await node.run(command.split(" "));
  return commands;
}
