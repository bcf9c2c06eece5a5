import { hash } from "node:crypto";
import { formatIp, type Ip, ipFromBytes, type Prefix, storeIp } from "#ip";
import { formatMac, parseMac } from "#linux";

/**
 * The name of a host-side link: `prefix` and eight hex digits that follow from container and interface, so that a later
 * call, or the agent after a crash, finds the link without any record. At most 15 bytes (IFNAMSIZ) for prefixes up to 7.
 */
export function hostLinkName(prefix: string, containerId: string, ifName: string): string {
  return prefix + hash("sha256", `${containerId}\0${ifName}`).slice(0, 8);
}

/**
 * The MAC address of a Pod's interface that asked for none. It follows from its first address, so that a Pod which gets a
 * fixed address again does not look like an address conflict: 0a:58 and the four octets, or for IPv6 0a:58 and the first
 * four bytes of the SHA-256 of the address's text.
 */
export function derivedMac(ip: Ip): string {
  const bytes = Uint8Array.of(0x0a, 0x58, 0, 0, 0, 0);
  if (ip.family === 4) storeIp(bytes, 2, ip);
  else bytes.set(hash("sha256", formatIp(ip), "buffer").subarray(0, 4), 2);
  return formatMac(bytes);
}

/** The IPv6 link-local address that follows from a MAC address (RFC 4291, appendix A). */
export function linkLocalAddress(mac: string): Prefix {
  const [first = 0, second = 0, third = 0, ...last] = parseMac(mac);
  const bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, first ^ 0x02, second, third, 0xff, 0xfe, ...last];
  return { ip: ipFromBytes(Uint8Array.from(bytes)), bits: 64 };
}
