/**
 * Stores a number of 16 bits, little-endian. Byte by byte: Buffer's own writers check their arguments, which takes a third of the
 * memory that an ADD's netlink requests use. Throws RangeError for what does not fit.
 */
export function storeU16(bytes: Uint8Array, at: number, value: number): void {
  if (value >>> 16 !== 0) throw new RangeError(`${value} does not fit into 16 bits`);
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

/** The same of 32 bits; negative numbers as the same 32 bits. */
export function storeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** Returns zeroes from memory that messages share: an allocation costs more than most messages do. */
export function zeroes(length: number): Uint8Array {
  return Buffer.allocUnsafe(length).fill(0);
}
