import { randomBytes } from "node:crypto";

const pattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The six bytes of `aa:bb:cc:dd:ee:ff`. Throws RangeError for anything else. */
export function parseMac(text: string): Uint8Array {
  const bytes = new Uint8Array(6);
  storeMac(bytes, 0, text);
  return bytes;
}

/** Stores these six bytes where there is room for them already: most MAC addresses go into a message. */
export function storeMac(bytes: Uint8Array, at: number, text: string): void {
  if (!pattern.test(text)) throw new RangeError(`a MAC address is six hexadecimal bytes joined by colons: ${text}`);
  for (let n = 0; n < 6; n++) bytes[at + n] = (digitAt(text, 3 * n) << 4) | digitAt(text, 3 * n + 1);
}

/** The value of a hexadecimal digit, in either case. */
function digitAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}

/** The six bytes at `at` as text: lower case, colons. */
export function formatMac(bytes: Uint8Array, at = 0): string {
  for (let n = 0; n < 6; n++) {
    const byte = bytes[at + n] ?? 0;
    written[3 * n] = digits[byte >>> 4] ?? 0;
    written[3 * n + 1] = digits[byte & 15] ?? 0;
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
