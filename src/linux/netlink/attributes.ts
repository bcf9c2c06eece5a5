import { SpiderError } from "#base";
import { type Ip, ipFromBytes } from "#ip";

/** Flags in an attribute's type field (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`). */
const nestedFlag = 0x8000;
const typeMask = 0x3fff;

/**
 * Writes a message body: a fixed header field by field, then attributes (`struct nlattr`: length and type as u16, the
 * value, padding to four bytes). Numbers are in host order, which is little-endian on every machine that we ship for;
 * those of nf_tables are big-endian and say so.
 */
export class MessageWriter {
  #bytes = Buffer.alloc(256);
  #length = 0;

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#bytes.writeUInt16LE(value, at);
    return this;
  }

  /** Also takes negative numbers, as the same 32 bits. */
  u32(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeUInt32LE(value >>> 0, at);
    return this;
  }

  raw(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  putBytes(type: number, value: Uint8Array): this {
    return this.#header(type, value.length).raw(value).pad();
  }

  /** An attribute whose presence alone says something. */
  putFlag(type: number): this {
    return this.#header(type, 0);
  }

  putU8(type: number, value: number): this {
    return this.#header(type, 1).u8(value).pad();
  }

  putU16(type: number, value: number): this {
    return this.#header(type, 2).u16(value).pad();
  }

  putU32(type: number, value: number): this {
    return this.#header(type, 4).u32(value);
  }

  putU32be(type: number, value: number): this {
    const at = this.#header(type, 4).#grow(4);
    this.#bytes.writeUInt32BE(value >>> 0, at);
    return this;
  }

  /** With the NUL that the kernel expects. */
  putText(type: number, value: string): this {
    return this.putBytes(type, Buffer.from(`${value}\0`));
  }

  /** An attribute that holds what `build` writes. */
  nest(type: number, build: (writer: this) => void): this {
    const start = this.#length;
    this.u16(0).u16(type | nestedFlag);
    build(this);
    const length = this.#length - start;
    if (length > 0xffff) throw new RangeError(`attribute ${type} is ${length} bytes long; at most 65535 fit`);
    this.#bytes.writeUInt16LE(length, start);
    return this.pad();
  }

  /** Zeroes up to the next multiple of four. */
  pad(): this {
    this.#grow(-this.#length & 3);
    return this;
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset, this.#length);
  }

  #header(type: number, valueLength: number): this {
    if (valueLength > 0xffff - 4)
      throw new RangeError(`attribute ${type} is ${valueLength} bytes long; at most 65531 fit`);
    return this.u16(4 + valueLength).u16(type);
  }

  /** Makes room and returns where it is. Call it first: the buffer may be another one afterwards. */
  #grow(by: number): number {
    const at = this.#length;
    this.#length += by;
    if (this.#length > this.#bytes.length) {
      const bigger = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#length));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
    }
    return at;
  }
}

/** One attribute as it came. */
export interface RawAttribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** All attributes in order, for lists whose members share a type. Throws NETLINK_MALFORMED where lengths do not fit. */
export function listAttributes(bytes: Uint8Array, offset = 0): readonly RawAttribute[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: RawAttribute[] = [];
  let at = offset;
  while (at < bytes.length) {
    const length = at + 4 <= bytes.length ? view.getUint16(at, true) : 0;
    if (length < 4 || at + length > bytes.length) throw malformed("attribute", at, bytes.length);
    found.push({ type: view.getUint16(at + 2, true) & typeMask, value: bytes.subarray(at + 4, at + length) });
    at += (length + 3) & ~3;
  }
  return found;
}

/** The attributes that follow `offset`, by type. Every getter is undefined where the attribute is absent. */
export class Attributes {
  readonly #values: ReadonlyMap<number, Uint8Array>;

  constructor(bytes: Uint8Array, offset = 0) {
    this.#values = new Map(listAttributes(bytes, offset).map(({ type, value }) => [type, value]));
  }

  has(type: number): boolean {
    return this.#values.has(type);
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#view(type, 1)?.getUint8(0);
  }

  u16(type: number): number | undefined {
    return this.#view(type, 2)?.getUint16(0, true);
  }

  u32(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0, true);
  }

  i32(type: number): number | undefined {
    return this.#view(type, 4)?.getInt32(0, true);
  }

  u32be(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0, false);
  }

  /** Up to the first NUL. */
  text(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString("utf8");
  }

  /** An address of either family, by its length. */
  ip(type: number): Ip | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    if (value.length !== 4 && value.length !== 16) throw malformed(`address in attribute ${type}`, 0, value.length);
    return ipFromBytes(value);
  }

  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new Attributes(value);
  }

  #view(type: number, length: number): DataView | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    if (value.length < length) throw malformed(`value of attribute ${type}`, 0, value.length);
    return new DataView(value.buffer, value.byteOffset, value.length);
  }
}

/** The fixed header of a message body: at least `length` bytes, or NETLINK_MALFORMED. */
export function headerView(bytes: Uint8Array, length: number): DataView {
  if (bytes.length < length) throw malformed("fixed header", 0, bytes.length);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function malformed(what: string, offset: number, available: number): SpiderError {
  return new SpiderError("NETLINK_MALFORMED", "a netlink message is shorter than its own lengths say", {
    details: { what, offset, available },
  });
}
