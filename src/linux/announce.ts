import type { Ip } from "#ip";
import { broadcastMac, encodeArp, etherTypeArp, gratuitousArp } from "./arp.ts";
import { allNodes, encodeNdp, etherTypeIpv6, multicastMac, unsolicitedAdvertisement } from "./ndp.ts";
import type { Netns } from "./netns.ts";
import { PacketSocket } from "./packet-socket.ts";
import type { VethEnd } from "./rtnl/types.ts";

/**
 * Tells the segment that these addresses are at this interface: a gratuitous ARP request for each IPv4 address, an
 * unsolicited neighbour advertisement for each IPv6 address. Everything is sent when this returns; the promise is the end
 * of the socket's clean-up. Throws, by rejection, LinuxError if the interface is missing or down.
 *
 * @param link the interface by its name, or by all that has to be known of it
 */
export async function announce(netns: Netns, link: string | VethEnd, addresses: readonly Ip[]): Promise<void> {
  if (addresses.length === 0) return;
  const socket = PacketSocket.open(netns, link, etherTypeArp);
  try {
    for (const ip of addresses) {
      if (ip.family === 4) {
        const payload = encodeArp(gratuitousArp(socket.mac, ip));
        socket.send({ destination: broadcastMac, etherType: etherTypeArp, payload });
      } else {
        const payload = encodeNdp(unsolicitedAdvertisement(socket.mac, ip));
        socket.send({ destination: multicastMac(allNodes), etherType: etherTypeIpv6, payload });
      }
    }
  } finally {
    await socket.close();
  }
}
