import { type Ip, ipFromBytes, storeIp } from "#ip";
import { formatMac, storeMac } from "./mac.ts";

/** An ARP packet for IPv4 over Ethernet (RFC 826). */
export interface ArpPacket {
  readonly operation: "request" | "reply";
  readonly senderMac: string;
  readonly senderIp: Ip;
  readonly targetMac: string;
  readonly targetIp: Ip;
}

/** Every host on the segment. */
export const broadcastMac = "ff:ff:ff:ff:ff:ff";
/** EtherType of ARP (RFC 826). */
export const etherTypeArp = 0x0806;
/** Ethernet, IPv4, six and four bytes long. */
const prefix = [0, 1, 8, 0, 6, 4, 0];
const packetBytes = 28;

/** The 28 bytes that follow the Ethernet header. */
export function encodeArp({ operation, senderMac, senderIp, targetMac, targetIp }: ArpPacket): Uint8Array {
  const bytes = new Uint8Array(packetBytes);
  bytes.set(prefix);
  bytes[7] = operation === "request" ? 1 : 2;
  storeMac(bytes, 8, senderMac);
  storeIp(bytes, 14, senderIp);
  storeMac(bytes, 18, targetMac);
  storeIp(bytes, 24, targetIp);
  return bytes;
}

/** undefined for anything but a whole ARP request or reply for IPv4 over Ethernet. Trailing padding is ignored. */
export function decodeArp(bytes: Uint8Array): ArpPacket | undefined {
  if (bytes.length < packetBytes || prefix.some((byte, at) => bytes[at] !== byte)) return undefined;
  const operation = bytes[7];
  if (operation !== 1 && operation !== 2) return undefined;
  return {
    operation: operation === 1 ? "request" : "reply",
    senderMac: formatMac(bytes, 8),
    senderIp: ipFromBytes(bytes.subarray(14, 18)),
    targetMac: formatMac(bytes, 18),
    targetIp: ipFromBytes(bytes.subarray(24, 28)),
  };
}

/**
 * "This address is mine", as a request whose sender and target are the address itself (RFC 5227 §2.3): neighbours update
 * what they have cached.
 */
export function gratuitousArp(mac: string, ip: Ip): ArpPacket {
  return { operation: "request", senderMac: mac, senderIp: ip, targetMac: broadcastMac, targetIp: ip };
}
