import { createHash } from "node:crypto";
import { formatIp, type Ip, ipToBytes } from "#ip";

/**
 * The name of a host-side link: `prefix` and eight hex digits that follow from container and interface, so that a later
 * call, or the agent after a crash, finds the link without any record. At most 15 bytes (IFNAMSIZ) for prefixes up to 7.
 */
export function hostLinkName(prefix: string, containerId: string, ifName: string): string {
  return prefix + createHash("sha256").update(`${containerId}\0${ifName}`).digest("hex").slice(0, 8);
}

/**
 * The MAC address of a Pod's interface that asked for none. It follows from its first address, so that a Pod which gets a
 * fixed address again does not look like an address conflict: 0a:58 and the four octets, or for IPv6 0a:58 and the first
 * four bytes of the SHA-256 of the address's text.
 */
export function derivedMac(ip: Ip): string {
  const tail = ip.family === 4 ? ipToBytes(ip) : createHash("sha256").update(formatIp(ip)).digest().subarray(0, 4);
  return `0a:58:${Array.from(tail, (byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
}
