import { IpParseError } from "./errors.ts";

/** The version of IP. */
export type Family = 4 | 6;

/** An address as a value: 32 bits fit a number, 128 need a bigint. Comparable with `sameIp` and `compareIp`, not with `===`. */
export type Ip = { readonly family: 4; readonly value: number } | { readonly family: 6; readonly value: bigint };

/** How many bits an address of the family has: 32 or 128. */
export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/**
 * The address written in `text`. IPv4 is four decimal octets without leading zeros; IPv6 is any text form of RFC 4291 §2.2
 * without a zone. IPv4-mapped IPv6 (`::ffff:0:0/96`) is refused: it would be two spellings of one address in two families.
 * With `family`, an address of the other family is refused too. Throws IpParseError.
 */
export function parseIp(text: string, family?: Family): Ip {
  const found = scan(text);
  if (typeof found === "string") throw new IpParseError(`invalid IP format${inFamily(family)}`, text, found);
  if (family !== undefined && found.family !== family) {
    throw new IpParseError(`invalid IP format${inFamily(family)}`, text, `it is an IPv${found.family} address`);
  }
  return found;
}

/** As `parseIp`, but returns undefined instead of throwing. */
export function tryParseIp(text: string, family?: Family): Ip | undefined {
  const found = scan(text);
  return typeof found === "string" || (family !== undefined && found.family !== family) ? undefined : found;
}

/** Canonical text: dotted IPv4, or IPv6 by RFC 5952 §4 (lower case, the first longest run of zero groups shortened). */
export function formatIp(ip: Ip): string {
  if (ip.family === 4) return formatIpv4(ip.value);
  const groups = ipv6Groups(ip.value);
  const { start, length } = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

/** A comparator for `Array.prototype.sort`; IPv4 comes before IPv6. */
export function compareIp(a: Ip, b: Ip): number {
  if (a.family !== b.family) return a.family - b.family;
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}

/** Whether both are the same address of the same family. */
export function sameIp(a: Ip, b: Ip): boolean {
  return a.family === b.family && a.value === b.value;
}

/** The address as an unsigned integer, for arithmetic that does not care about the family. */
export function ipValue(ip: Ip): bigint {
  return BigInt(ip.value);
}

/** The address with this integer. Throws RangeError if the family has no such address. */
export function ipFromValue(family: Family, value: bigint): Ip {
  if (value < 0n || value >> BigInt(addressBits(family)) !== 0n) {
    throw new RangeError(`Cannot make an IPv${family} address as 'value' is out of range: current value is ${value}`);
  }
  return family === 4 ? { family: 4, value: Number(value) } : { family: 6, value };
}

/** 4 or 16 bytes in network order. */
export function ipToBytes(ip: Ip): Uint8Array {
  // No DataView: it would move this short array out of V8's heap, which costs more than everything else here.
  const bytes = new Uint8Array(addressBits(ip.family) / 8);
  storeIp(bytes, 0, ip);
  return bytes;
}

/** Stores these bytes where there is room for them already, as in a packet. */
export function storeIp(bytes: Uint8Array, at: number, ip: Ip): void {
  if (ip.family === 4) {
    storeWord(bytes, at, ip.value);
    return;
  }
  for (let n = 0; n < 16; n += 4) {
    storeWord(bytes, at + n, Number(BigInt.asUintN(32, ip.value >> BigInt(96 - 8 * n))));
  }
}

/**
 * The address in 4 or 16 bytes in network order; throws RangeError for other lengths. Accepts mapped addresses, as in packets.
 */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return { family: 4, value: wordAt(bytes, 0) };
  if (bytes.length !== 16) {
    throw new RangeError(`Cannot read an address as 'bytes' must be 4 or 16 long: current length is ${bytes.length}`);
  }
  let value = 0n;
  for (let at = 0; at < 16; at += 4) value = (value << 32n) | BigInt(wordAt(bytes, at));
  return { family: 6, value };
}

/** 32 bits, most significant first. */
function storeWord(bytes: Uint8Array, at: number, word: number): void {
  for (let n = 0; n < 4; n++) bytes[at + n] = word >>> (24 - 8 * n);
}

function wordAt(bytes: Uint8Array, at: number): number {
  let word = 0;
  for (let n = 0; n < 4; n++) word = word * 256 + (bytes[at + n] ?? 0);
  return word;
}

/** " in IPv4", for messages about text of a known family. */
export function inFamily(family: Family | undefined): string {
  return family === undefined ? "" : ` in IPv${family}`;
}

/** The eight 16-bit groups, most significant first. */
export function ipv6Groups(value: bigint): number[] {
  const groups: number[] = [];
  for (const shift of [96n, 64n, 32n, 0n]) {
    const word = Number(BigInt.asUintN(32, value >> shift));
    groups.push(word >>> 16, word & 0xffff);
  }
  return groups;
}

function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [at, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: at - length + 1, length };
  }
  return best;
}

/** Length of the longest text form, IPv6 with a dotted tail. Longer text is refused without a scan. */
const longestText = 45;

const dot = 0x2e;
const colon = 0x3a;

/** The address, or why the text is not one. */
function scan(text: string): Ip | string {
  if (text.length === 0) return "it is empty";
  if (text.length > longestText) return "it is too long for an address";
  if (!text.includes(":")) {
    const value = scanIpv4(text, 0);
    return value === undefined ? "want four decimal octets without leading zeros" : { family: 4, value };
  }
  const value = scanIpv6(text);
  if (value === undefined) return "want groups of hexadecimal digits, with '::' at most once";
  if (value >> 32n === 0xffffn) return "IPv4-mapped IPv6 is not accepted, write the IPv4 address";
  return { family: 6, value };
}

function scanIpv4(text: string, from: number): number | undefined {
  let value = 0;
  let octet = 0;
  let digits = 0;
  let octets = 0;
  for (let at = from; at <= text.length; at++) {
    const code = at === text.length ? dot : text.charCodeAt(at);
    if (code === dot) {
      if (digits === 0 || octets === 4) return undefined;
      value = value * 256 + octet;
      octets++;
      octet = 0;
      digits = 0;
    } else {
      const digit = code - 0x30;
      if (digit < 0 || digit > 9 || (digits > 0 && octet === 0)) return undefined;
      octet = octet * 10 + digit;
      digits++;
      if (octet > 255) return undefined;
    }
  }
  return octets === 4 ? value : undefined;
}

/** One pass over the characters; `gap` is the number of groups before the "::". */
function scanIpv6(text: string): bigint | undefined {
  const groups: number[] = [];
  let gap = -1;
  let at = 0;
  if (text.startsWith("::")) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    const start = at;
    let group = 0;
    for (; at < text.length; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0) break;
      group = group * 16 + digit;
    }
    if (text.charCodeAt(at) === dot) return joinDottedTail(text, start, groups, gap);
    if (at === start || at - start > 4) return undefined;
    groups.push(group);
    if (at === text.length) break;
    if (text.charCodeAt(at) !== colon || groups.length > 8) return undefined;
    at++;
    if (text.charCodeAt(at) === colon) {
      if (gap >= 0) return undefined;
      gap = groups.length;
      at++;
    } else if (at === text.length) return undefined;
  }
  return joinGroups(groups, gap);
}

/** RFC 4291 §2.2 form 3: the last 32 bits may be written as an IPv4 address. */
function joinDottedTail(text: string, start: number, groups: number[], gap: number): bigint | undefined {
  const tail = scanIpv4(text, start);
  if (tail === undefined || (groups.length === 0 && gap < 0)) return undefined;
  groups.push(tail >>> 16, tail & 0xffff);
  return joinGroups(groups, gap);
}

function joinGroups(groups: number[], gap: number): bigint | undefined {
  if (gap < 0 ? groups.length !== 8 : groups.length > 7) return undefined;
  while (groups.length < 8) groups.splice(gap, 0, 0);
  // 32 bits at a time, because one bigint operation costs as much as the rest of the scan.
  let value = 0n;
  for (let at = 0; at < 8; at += 2) {
    value = (value << 32n) | BigInt((groups[at] ?? 0) * 0x10000 + (groups[at + 1] ?? 0));
  }
  return value;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
