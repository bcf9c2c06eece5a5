import { randomBytes } from "node:crypto";

const pattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The six bytes of `aa:bb:cc:dd:ee:ff`. Throws RangeError for anything else. */
export function parseMac(text: string): Uint8Array {
  if (!pattern.test(text)) throw new RangeError(`a MAC address is six hexadecimal bytes joined by colons: ${text}`);
  const bytes = new Uint8Array(6);
  for (let at = 0; at < 6; at++) bytes[at] = Number.parseInt(text.slice(3 * at, 3 * at + 2), 16);
  return bytes;
}

/** Six bytes as text: lower case, colons. */
export function formatMac(bytes: Uint8Array): string {
  for (let at = 0; at < 6; at++) {
    const byte = bytes[at] ?? 0;
    written[3 * at] = digits[byte >>> 4] ?? 0;
    written[3 * at + 1] = digits[byte & 15] ?? 0;
  }
  return written.toString("latin1");
}

/** It is called for each link that the kernel reports, hundreds of times for an ADD in a burst. So it allocates only the text. */
const written = Buffer.from("00:00:00:00:00:00");
const digits = Buffer.from("0123456789abcdef");

/** Random, unicast and locally administered. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return formatMac(bytes);
}
