import { type Ip, ipFromBytes, ipFromValue, ipToBytes, ipValue, parseIp } from "#ip";
import { formatMac, parseMac } from "./mac.ts";

/** A neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4) with its IPv6 header. */
export interface NdpPacket {
  readonly kind: "solicitation" | "advertisement";
  readonly source: Ip;
  readonly destination: Ip;
  readonly target: Ip;
  /** Source link-layer address of a solicitation, target link-layer address of an advertisement. */
  readonly mac: string | undefined;
  /** An answer to a solicitation. Advertisements only. */
  readonly solicited: boolean;
  /** Neighbours replace what they have cached. Advertisements only. */
  readonly override: boolean;
}

/** EtherType of IPv6, in which NDP is carried (RFC 2464). */
export const etherTypeIpv6 = 0x86dd;
/** The link-local all-nodes multicast address (RFC 4291). */
export const allNodes: Ip = parseIp("ff02::1");
const solicitedNodePrefix = 0xff02_0000_0000_0000_0000_0001_ff00_0000n;
const icmpv6 = 58;
/** Neighbour discovery is dropped where a router has forwarded it, which would have lowered this (RFC 4861 §7.1). */
const hopLimit = 255;
const icmpTypes = { solicitation: 135, advertisement: 136 } as const;
const optionTypes = { solicitation: 1, advertisement: 2 } as const;
const solicitedFlag = 0x40;
const overrideFlag = 0x20;
const ipHeaderBytes = 40;
const fixedBytes = 24;
const macOptionBytes = 8;

/** The IPv6 packet, checksum included: what follows the Ethernet header. */
export function encodeNdp({ kind, source, destination, target, mac, solicited, override }: NdpPacket): Uint8Array {
  const payloadBytes = fixedBytes + (mac === undefined ? 0 : macOptionBytes);
  const bytes = Buffer.alloc(ipHeaderBytes + payloadBytes);
  bytes[0] = 0x60; // version 6
  bytes.writeUInt16BE(payloadBytes, 4);
  bytes[6] = icmpv6;
  bytes[7] = hopLimit;
  bytes.set(ipToBytes(source), 8);
  bytes.set(ipToBytes(destination), 24);
  const icmp = bytes.subarray(ipHeaderBytes);
  icmp[0] = icmpTypes[kind];
  icmp[4] = (solicited ? solicitedFlag : 0) | (override ? overrideFlag : 0);
  icmp.set(ipToBytes(target), 8);
  if (mac !== undefined) icmp.set([optionTypes[kind], 1, ...parseMac(mac)], fixedBytes);
  icmp.writeUInt16BE(checksum(bytes), 2);
  return bytes;
}

/** undefined for anything but a valid solicitation or advertisement by the rules of RFC 4861 §7.1. */
export function decodeNdp(bytes: Uint8Array): NdpPacket | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < ipHeaderBytes + fixedBytes) return undefined;
  if (view.getUint8(0) >> 4 !== 6 || view.getUint8(6) !== icmpv6 || view.getUint8(7) !== hopLimit) return undefined;
  const end = ipHeaderBytes + view.getUint16(4);
  if (end > bytes.length || end < ipHeaderBytes + fixedBytes) return undefined;
  const packet = bytes.subarray(0, end);
  const icmp = packet.subarray(ipHeaderBytes);
  const kind = kindOf(icmp[0]);
  if (kind === undefined || icmp[1] !== 0 || checksum(packet) !== 0) return undefined;
  const options = readOptions(icmp.subarray(fixedBytes));
  if (options === undefined) return undefined;
  const flags = kind === "advertisement" ? view.getUint8(ipHeaderBytes + 4) : 0;
  const mac = options.get(optionTypes[kind]);
  return {
    kind,
    source: ipFromBytes(packet.subarray(8, 24)),
    destination: ipFromBytes(packet.subarray(24, 40)),
    target: ipFromBytes(icmp.subarray(8, 24)),
    mac: mac?.length === 6 ? formatMac(mac) : undefined,
    solicited: (flags & solicitedFlag) !== 0,
    override: (flags & overrideFlag) !== 0,
  };
}

/** "This address is mine", unasked and to all nodes (RFC 4861 §7.2.6): neighbours update what they have cached. */
export function unsolicitedAdvertisement(mac: string, ip: Ip): NdpPacket {
  return {
    kind: "advertisement",
    source: ip,
    destination: allNodes,
    target: ip,
    mac,
    solicited: false,
    override: true,
  };
}

/** The group that every holder of an address listens to (RFC 4291 §2.7.1). */
export function solicitedNode(ip: Ip): Ip {
  return ipFromValue(6, solicitedNodePrefix | (ipValue(ip) & 0xff_ffffn));
}

/** The Ethernet address of an IPv6 multicast group (RFC 2464 §7). */
export function multicastMac(group: Ip): string {
  return formatMac(Uint8Array.of(0x33, 0x33, ...ipToBytes(group).subarray(12)));
}

function kindOf(icmpType: number | undefined): NdpPacket["kind"] | undefined {
  if (icmpType === icmpTypes.solicitation) return "solicitation";
  return icmpType === icmpTypes.advertisement ? "advertisement" : undefined;
}

/** Values by type; lengths are in units of eight bytes, and one of zero makes the packet invalid. */
function readOptions(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> | undefined {
  const found = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length; ) {
    const length = 8 * (bytes[at + 1] ?? 0);
    if (length === 0 || at + length > bytes.length) return undefined;
    found.set(bytes[at] ?? 0, bytes.subarray(at + 2, at + length));
    at += length;
  }
  return found;
}

/** Over a pseudo-header (addresses, length, next header) and the ICMPv6 part (RFC 8200 §8.1). 0 if it is right already. */
function checksum(packet: Uint8Array): number {
  let sum = packet.length - ipHeaderBytes + icmpv6;
  for (let at = 8; at < packet.length; at += 2) sum += ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
