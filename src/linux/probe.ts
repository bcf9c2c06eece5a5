import { withTimeout } from "#base";
import { type Ip, parseIp, sameIp } from "#ip";
import { broadcastMac, decodeArp, encodeArp, etherTypeArp } from "./arp.ts";
import { decodeNdp, encodeNdp, etherTypeIpv6, multicastMac, solicitedNode } from "./ndp.ts";
import type { Netns } from "./netns.ts";
import { type Frame, PacketSocket } from "./packet-socket.ts";

const zeroMac = "00:00:00:00:00:00";
const anyIpv4 = parseIp("0.0.0.0");

export interface ProbeOptions {
  /**
   * Who asks. IPv4: absent to find a conflict (the probe of RFC 5227 §2.1.1, which nobody caches), the own address to find
   * a gateway. IPv6: the interface's link-local address, required.
   */
  readonly source?: Ip;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Asks the segment once who has an address. The MAC address of the first that answers; undefined after silence. Throws, by
 * rejection, the signal's reason, and LinuxError where the interface is missing or down.
 */
export async function probe(
  netns: Netns,
  ifname: string,
  ip: Ip,
  { source, timeoutMs, signal }: ProbeOptions,
): Promise<string | undefined> {
  const etherType = ip.family === 4 ? etherTypeArp : etherTypeIpv6;
  const socket = PacketSocket.open(netns, ifname, etherType);
  const silence = new Error("nobody answered");
  using deadline = withTimeout(signal, timeoutMs, () => silence);
  try {
    socket.send(question(socket.mac, ip, source));
    for (;;) {
      const answer = answerTo(ip, await socket.receive({ signal: deadline }));
      if (answer !== undefined) return answer;
    }
  } catch (error) {
    if (error === silence) return undefined;
    throw error;
  } finally {
    await socket.close();
  }
}

function question(mac: string, ip: Ip, source: Ip | undefined): Omit<Frame, "source"> {
  if (ip.family === 4) {
    const senderIp = source ?? anyIpv4;
    const packet = { operation: "request", senderMac: mac, senderIp, targetMac: zeroMac, targetIp: ip } as const;
    return { destination: broadcastMac, etherType: etherTypeArp, payload: encodeArp(packet) };
  }
  if (source === undefined) throw new RangeError("an IPv6 probe needs a source address");
  const destination = solicitedNode(ip);
  const payload = encodeNdp({
    kind: "solicitation",
    source,
    destination,
    target: ip,
    mac,
    solicited: false,
    override: false,
  });
  return { destination: multicastMac(destination), etherType: etherTypeIpv6, payload };
}

/** The MAC address where a packet says that somebody has the address. */
function answerTo(ip: Ip, payload: Uint8Array): string | undefined {
  if (ip.family === 4) {
    const packet = decodeArp(payload);
    return packet?.operation === "reply" && sameIp(packet.senderIp, ip) ? packet.senderMac : undefined;
  }
  const packet = decodeNdp(payload);
  return packet?.kind === "advertisement" && sameIp(packet.target, ip) ? packet.mac : undefined;
}
