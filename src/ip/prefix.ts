import { IpParseError } from "./errors.ts";
import {
  addressBits,
  type Family,
  formatIp,
  type Ip,
  inFamily,
  ipFromValue,
  ipValue,
  sameIp,
  tryParseIp,
} from "./ip.ts";
import type { IpRange } from "./range.ts";

/** An address with a prefix length. As a network its host bits are zero (`networkOf`); as an interface address they are not. */
export interface Prefix {
  readonly ip: Ip;
  /** 0–32 or 0–128. */
  readonly bits: number;
}

/** `10.6.0.0/16` or `fd00::/64`; host bits are kept. Throws IpParseError. */
export function parsePrefix(text: string, family?: Family): Prefix {
  const prefix = tryParsePrefix(text, family);
  if (prefix !== undefined) return prefix;
  throw new IpParseError(`invalid CIDR format${inFamily(family)}`, text, "want an address, '/' and a prefix length");
}

/** As `parsePrefix`, but returns undefined instead of throwing. */
export function tryParsePrefix(text: string, family?: Family): Prefix | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const ip = tryParseIp(text.slice(0, slash), family);
  const length = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined;
  const bits = Number(length);
  return bits <= addressBits(ip.family) ? { ip, bits } : undefined;
}

/** CIDR notation; host bits stay: `10.6.0.10/16`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.ip)}/${prefix.bits}`;
}

/** Whether both have the same address, host bits too, and the same length. */
export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.bits === b.bits && sameIp(a.ip, b.ip);
}

/** The CIDR that holds this address only. */
export function hostPrefix(ip: Ip): Prefix {
  return { ip, bits: addressBits(ip.family) };
}

/** The prefix with its host bits zero. */
export function networkOf(prefix: Prefix): Prefix {
  return { ip: prefixRange(prefix).first, bits: prefix.bits };
}

/** True for a CIDR in the form that pools and subnets require: host bits zero, canonical address text. */
export function isCanonicalPrefix(text: string): boolean {
  const prefix = tryParsePrefix(text);
  return prefix !== undefined && formatPrefix(networkOf(prefix)) === text;
}

/** False for an address of the other family. */
export function prefixContains(prefix: Prefix, ip: Ip): boolean {
  if (prefix.ip.family !== ip.family) return false;
  const hostBits = BigInt(addressBits(ip.family) - prefix.bits);
  return ipValue(prefix.ip) >> hostBits === ipValue(ip) >> hostBits;
}

/** From the network address to the last address, both included. */
export function prefixRange(prefix: Prefix): IpRange {
  const { family } = prefix.ip;
  const hostBits = BigInt(addressBits(family) - prefix.bits);
  const first = (ipValue(prefix.ip) >> hostBits) << hostBits;
  return { first: ipFromValue(family, first), last: ipFromValue(family, first + (1n << hostBits) - 1n) };
}
