import { withTimeout } from "#base";
import { type Ip, parseIp, sameIp } from "#ip";
import { broadcastMac, decodeArp, encodeArp, etherTypeArp } from "./arp.ts";
import { decodeNdp, encodeNdp, etherTypeIpv6, multicastMac, solicitedNode } from "./ndp.ts";
import type { Netns } from "./netns.ts";
import { type Frame, PacketSocket } from "./packet-socket.ts";

const zeroMac = "00:00:00:00:00:00";
const unspecified = { 4: parseIp("0.0.0.0"), 6: parseIp("::") } as const;
/** PROBE_NUM of RFC 5227: several, so that a lost probe does not decide. */
const questions = 3;

/** Who asks, and for how long. */
export interface ProbeOptions {
  /**
   * Who asks. Absent to find out whether an address is free: the probe of RFC 5227 §2.1.1 or the solicitation of RFC 4862
   * §5.4.2, which nobody caches. The own address to find a gateway.
   */
  readonly source?: Ip;
  /** Three questions, spread evenly over this time. Silence for as long means that nobody has the address. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Asks the segment who has an address. Resolves to the MAC address of the first that answers; undefined after silence.
 * Rejects with the signal's reason, or with LinuxError if the interface is missing or down.
 */
export async function probe(
  netns: Netns,
  ifname: string,
  ip: Ip,
  { source, timeoutMs, signal }: ProbeOptions,
): Promise<string | undefined> {
  const socket = PacketSocket.open(netns, ifname, ip.family === 4 ? etherTypeArp : etherTypeIpv6);
  const silence = new Error("nobody answered");
  using deadline = withTimeout(signal, timeoutMs, () => silence);
  const ask = () => socket.send(question(socket.mac, ip, source));
  let again: NodeJS.Timeout | undefined;
  try {
    // Those who make sure of an address, too, ask a group to which only its holders listen; answers go to all nodes.
    if (ip.family === 6 && source === undefined) socket.receiveAllMulticast();
    deadline.throwIfAborted();
    ask();
    let left = questions - 1;
    again = setInterval(() => {
      left -= 1;
      if (left <= 0) clearInterval(again);
      try {
        ask();
      } catch {
        clearInterval(again); // The interface went down: nobody will answer.
      }
    }, timeoutMs / questions);
    for (;;) {
      const holder = holderOf(ip, await socket.receive({ signal: deadline }), source);
      if (holder !== undefined) return holder;
    }
  } catch (error) {
    if (error !== silence) throw error;
    // On a busy machine the time may be over before anybody looked at an answer that came within it.
    for (let frame = socket.received(); frame !== undefined; frame = socket.received()) {
      const holder = holderOf(ip, frame, source);
      if (holder !== undefined) return holder;
    }
    return undefined;
  } finally {
    clearInterval(again);
    await socket.close();
  }
}

function holderOf(ip: Ip, heard: Heard, source: Ip | undefined): string | undefined {
  return ip.family === 4 ? arpHolder(ip, heard, source) : ndpHolder(ip, heard, source);
}

function question(mac: string, ip: Ip, source: Ip | undefined): Omit<Frame, "source"> {
  if (ip.family === 4) {
    const senderIp = source ?? unspecified[4];
    const packet = { operation: "request", senderMac: mac, senderIp, targetMac: zeroMac, targetIp: ip } as const;
    return { destination: broadcastMac, etherType: etherTypeArp, payload: encodeArp(packet) };
  }
  const destination = solicitedNode(ip);
  const payload = encodeNdp({
    kind: "solicitation",
    source: source ?? unspecified[6],
    destination,
    target: ip,
    // RFC 4861 §4.3: no option if the source is unspecified.
    mac: source === undefined ? undefined : mac,
    solicited: false,
    override: false,
  });
  return { destination: multicastMac(destination), etherType: etherTypeIpv6, payload };
}

type Heard = Pick<Frame, "source" | "payload">;

/**
 * Whoever answers with the address; and, where it is to be free, whoever sends from it or probes for it at the same time
 * (RFC 5227 §2.1.1).
 */
function arpHolder(ip: Ip, { payload }: Heard, source: Ip | undefined): string | undefined {
  const packet = decodeArp(payload);
  if (packet === undefined) return undefined;
  const { operation, senderIp, senderMac, targetIp } = packet;
  if (sameIp(senderIp, ip) && (operation === "reply" || source === undefined)) return senderMac;
  const probesToo = source === undefined && operation === "request" && sameIp(senderIp, unspecified[4]);
  return probesToo && sameIp(targetIp, ip) ? senderMac : undefined;
}

/** Likewise: whoever advertises the address, or makes sure of it at the same time (RFC 4862 §5.4.3). */
function ndpHolder(ip: Ip, { source: from, payload }: Heard, source: Ip | undefined): string | undefined {
  const packet = decodeNdp(payload);
  if (packet === undefined || !sameIp(packet.target, ip)) return undefined;
  if (packet.kind === "advertisement") return packet.mac ?? from;
  return source === undefined && sameIp(packet.source, unspecified[6]) ? from : undefined;
}
