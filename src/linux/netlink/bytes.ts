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

/** A number of 8 bits; what is beyond the end is zero. Numbers are read without a DataView, which is larger than most messages. */
export function u8At(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

/** The same of 16 bits, little-endian. */
export function u16At(bytes: Uint8Array, at: number): number {
  return u8At(bytes, at) | (u8At(bytes, at + 1) << 8);
}

/** The same of 32 bits with a sign. */
export function i32At(bytes: Uint8Array, at: number): number {
  return u16At(bytes, at) | (u16At(bytes, at + 2) << 16);
}

/** The same of 32 bits without a sign. */
export function u32At(bytes: Uint8Array, at: number): number {
  return i32At(bytes, at) >>> 0;
}

/** Memory that messages share: an allocation of its own costs more than most messages do. None of it is given out twice. */
let shared = new Uint8Array(0);
let given = 0;
const sharedBytes = 16_384;

/** Room for a message of up to `length` bytes: these are the bytes of `bytes` from `at` on. They are zero. */
export function room(length: number): { readonly bytes: Uint8Array; readonly at: number } {
  if (given + length > shared.length) {
    shared = new Uint8Array(Math.max(sharedBytes, length));
    given = 0;
  }
  const at = given;
  given += length;
  return { bytes: shared, at };
}
