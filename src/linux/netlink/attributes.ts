import { SpiderError } from "#base";
import { addressBits, type Ip, ipFromBytes, storeIp } from "#ip";
import { formatMac, storeMac } from "../mac.ts";
import { i32At, room, storeU16, storeU32, u8At, u16At } from "./bytes.ts";

/** Flags in an attribute's type field (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`). */
const nestedFlag = 0x8000;
const typeMask = 0x3fff;

/** Room for most messages. */
const usualBytes = 256;

/**
 * Writes a message body: a fixed header field by field, then attributes (`struct nlattr`: length and type as u16, the
 * value, padding to four bytes). Numbers are in host order, which is little-endian on every machine that we ship for;
 * those of nf_tables are big-endian and say so.
 */
export class MessageWriter {
  /** Of others, too: ours are those from `#start` to `#end`. */
  #bytes: Uint8Array;
  #start: number;
  #end: number;
  /** Where the next byte comes. */
  #at: number;

  constructor() {
    const { bytes, at } = room(usualBytes);
    this.#bytes = bytes;
    this.#start = at;
    this.#end = at + usualBytes;
    this.#at = at;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    if (value >>> 8 !== 0) throw new RangeError(`${value} does not fit into 8 bits`);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    storeU16(this.#bytes, at, value);
    return this;
  }

  /** Also takes negative numbers, as the same 32 bits. */
  u32(value: number): this {
    const at = this.#grow(4);
    storeU32(this.#bytes, at, value);
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
    for (let n = 0; n < 4; n++) this.#bytes[at + n] = value >>> (24 - 8 * n);
    return this;
  }

  putIp(type: number, ip: Ip): this {
    const length = addressBits(ip.family) / 8;
    const at = this.#header(type, length).#grow(length);
    storeIp(this.#bytes, at, ip);
    return this;
  }

  putMac(type: number, mac: string): this {
    const at = this.#header(type, macBytes).#grow(macBytes);
    storeMac(this.#bytes, at, mac);
    return this.pad();
  }

  /** With the NUL that the kernel expects. */
  putText(type: number, value: string): this {
    return this.putBytes(type, Buffer.from(`${value}\0`));
  }

  /** An attribute that holds what `build` writes. */
  nest(type: number, build: (writer: this) => void): this {
    // Counted from the start of the message, which moves where there is no room for it any more.
    const before = this.#at - this.#start;
    this.u16(0).u16(type | nestedFlag);
    build(this);
    const length = this.#at - this.#start - before;
    if (length > 0xffff) throw new RangeError(`attribute ${type} is ${length} bytes long; at most 65535 fit`);
    storeU16(this.#bytes, this.#start + before, length);
    return this.pad();
  }

  /** Zeroes up to the next multiple of four. */
  pad(): this {
    this.#grow((this.#start - this.#at) & 3);
    return this;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#at);
  }

  #header(type: number, valueLength: number): this {
    if (valueLength > 0xffff - 4)
      throw new RangeError(`attribute ${type} is ${valueLength} bytes long; at most 65531 fit`);
    return this.u16(4 + valueLength).u16(type);
  }

  /** Makes room and returns its position. To be called first, because it may replace the buffer. */
  #grow(by: number): number {
    if (this.#at + by > this.#end) this.#move(this.#at + by - this.#start);
    const at = this.#at;
    this.#at += by;
    return at;
  }

  /** To where there is room for `length` bytes, and for as many as before once more. */
  #move(length: number): void {
    const written = this.finish();
    const bigger = Math.max(2 * (this.#end - this.#start), length);
    const { bytes, at } = room(bigger);
    bytes.set(written, at);
    this.#bytes = bytes;
    this.#start = at;
    this.#end = at + bigger;
    this.#at = at + written.length;
  }
}

const headerBytes = 4;
const macBytes = 6;

/**
 * The attributes that follow `offset`, by type; of several of one type the last. Every getter is undefined if the attribute
 * is absent. Nothing is made of those that nobody asks for: a link has sixty, and a burst tells of thousands of links.
 */
export class Attributes {
  readonly #bytes: Uint8Array;
  readonly #offset: number;
  readonly #end: number;

  /** Throws NETLINK_MALFORMED if lengths do not fit. */
  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#offset = offset;
    this.#end = end;
    for (let at = offset; at < end; ) at = nextAttribute(bytes, at, end);
  }

  has(type: number): boolean {
    return this.#find(type) >= 0;
  }

  bytes(type: number): Uint8Array | undefined {
    const at = this.#find(type);
    return at < 0 ? undefined : this.#bytes.subarray(at + headerBytes, at + u16At(this.#bytes, at));
  }

  u8(type: number): number | undefined {
    const at = this.#valueAt(type, 1);
    return at < 0 ? undefined : u8At(this.#bytes, at);
  }

  u16(type: number): number | undefined {
    const at = this.#valueAt(type, 2);
    return at < 0 ? undefined : u16At(this.#bytes, at);
  }

  u32(type: number): number | undefined {
    const value = this.i32(type);
    return value === undefined ? undefined : value >>> 0;
  }

  i32(type: number): number | undefined {
    const at = this.#valueAt(type, 4);
    return at < 0 ? undefined : i32At(this.#bytes, at);
  }

  /** Up to the first NUL. */
  text(type: number): string | undefined {
    const at = this.#find(type);
    if (at < 0) return undefined;
    const bytes = this.#bytes;
    const start = at + headerBytes;
    const last = at + u16At(bytes, at);
    const nul = bytes.indexOf(0, start);
    const end = nul < 0 ? last : Math.min(nul, last);
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
  }

  /** An address of either family, by its length. */
  ip(type: number): Ip | undefined {
    const value = this.bytes(type);
    if (value === undefined) return undefined;
    if (value.length !== 4 && value.length !== 16) throw malformed(`address in attribute ${type}`, 0, value.length);
    return ipFromBytes(value);
  }

  /** An Ethernet address; undefined too if the value has another length. */
  mac(type: number): string | undefined {
    const at = this.#find(type);
    const isMac = at >= 0 && u16At(this.#bytes, at) === headerBytes + macBytes;
    return isMac ? formatMac(this.#bytes, at + headerBytes) : undefined;
  }

  nested(type: number): Attributes | undefined {
    const at = this.#find(type);
    return at < 0 ? undefined : new Attributes(this.#bytes, at + headerBytes, at + u16At(this.#bytes, at));
  }

  /** The position of the attribute; -1 if there is none. */
  #find(type: number): number {
    const bytes = this.#bytes;
    let found = -1;
    for (let at = this.#offset; at < this.#end; at += padded(u16At(bytes, at))) {
      if (typeAt(bytes, at) === type) found = at;
    }
    return found;
  }

  /** The position of a value of at least `length` bytes; -1 if there is none. */
  #valueAt(type: number, length: number): number {
    const at = this.#find(type);
    if (at < 0) return -1;
    const found = u16At(this.#bytes, at) - headerBytes;
    if (found < length) throw malformed(`value of attribute ${type}`, 0, found);
    return at + headerBytes;
  }
}

/** Where the next attribute begins. Throws NETLINK_MALFORMED if the length of this one does not fit. */
function nextAttribute(bytes: Uint8Array, at: number, end: number): number {
  const length = at + headerBytes <= end ? u16At(bytes, at) : 0;
  if (length < headerBytes || at + length > end) throw malformed("attribute", at, end);
  return at + padded(length);
}

function typeAt(bytes: Uint8Array, at: number): number {
  return u16At(bytes, at + 2) & typeMask;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

/** Throws NETLINK_MALFORMED unless a message body has room for its fixed header. */
export function requireHeader(bytes: Uint8Array, length: number): void {
  if (bytes.length < length) throw malformed("fixed header", 0, bytes.length);
}

/** The error for an attribute or message that is longer than what was received. `offset` and `available` are bytes. */
export function malformed(what: string, offset: number, available: number): SpiderError {
  return new SpiderError("NETLINK_MALFORMED", "a netlink message is shorter than its own lengths say", {
    details: { what, offset, available },
  });
}
