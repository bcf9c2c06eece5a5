import { randomBytes } from "node:crypto";

const pattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The six bytes of `aa:bb:cc:dd:ee:ff`. Throws RangeError for anything else. */
export function parseMac(text: string): Uint8Array {
  if (!pattern.test(text)) throw new RangeError(`a MAC address is six hexadecimal bytes joined by colons: ${text}`);
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

/** Lower case, colons. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += text === "" ? hex[byte] : `:${hex[byte]}`;
  return text;
}

/** Of every byte: the addresses of each link that the kernel tells of go through this. */
const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Random, unicast and locally administered. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return formatMac(bytes);
}
