import { Attributes, malformed } from "./attributes.ts";
import { storeU16, storeU32, zeroes } from "./bytes.ts";

/** Flags of `struct nlmsghdr`. */
export const flags = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

/** Types below 16 belong to netlink itself. */
export const controlTypes = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

const headerLength = 16;
/** In an error message: the request's payload is left out; attributes with the extended acknowledgement follow. */
const cappedFlag = 0x100;
const extendedFlag = 0x200;
const extendedText = 1;

/**
 * One netlink message: the fields of `struct nlmsghdr` and what follows it. Its port is left out: the kernel answers the socket
 * that asked, whatever port the request names.
 */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

/** Several messages as one buffer, each padded to four bytes. */
export function encodeMessages(messages: readonly Message[]): Uint8Array {
  const padded = (length: number) => (length + 3) & ~3;
  const total = messages.reduce((sum, { body }) => sum + headerLength + padded(body.length), 0);
  const bytes = zeroes(total);
  let at = 0;
  for (const { type, flags, sequence, body } of messages) {
    storeU32(bytes, at, headerLength + body.length);
    storeU16(bytes, at + 4, type);
    storeU16(bytes, at + 6, flags);
    storeU32(bytes, at + 8, sequence);
    bytes.set(body, at + headerLength);
    at += headerLength + padded(body.length);
  }
  return bytes;
}

/** The messages of one datagram. Throws NETLINK_MALFORMED if a length does not fit. Bodies share the buffer. */
export function decodeMessages(bytes: Uint8Array): readonly Message[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: Message[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = at + headerLength <= bytes.length ? view.getUint32(at, true) : 0;
    if (length < headerLength || at + length > bytes.length) throw malformed("message", at, bytes.length);
    found.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: bytes.subarray(at + headerLength, at + length),
    });
    at += (length + 3) & ~3;
  }
  return found;
}

/** The kernel's answer to one request. `errno` 0 is success. */
interface Outcome {
  readonly errno: number;
  readonly extendedText: string | undefined;
}

/** Reads the body of an error message (which is an acknowledgement if its number is 0) or of the end of a dump. */
export function decodeOutcome({ type, flags, body }: Message): Outcome {
  if (body.length < 4) {
    // A dump may end with an empty body.
    if (type === controlTypes.done && body.length === 0) return { errno: 0, extendedText: undefined };
    throw malformed("outcome", 0, body.length);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const errno = 0 - view.getInt32(0, true);
  if ((flags & extendedFlag) === 0) return { errno, extendedText: undefined };
  return { errno, extendedText: new Attributes(body, extendedOffset(type, flags, view)).text(extendedText) };
}

/** Where the attributes start: an error repeats the request's header, and its payload unless it is capped. */
function extendedOffset(type: number, flags: number, view: DataView): number {
  if (type === controlTypes.done) return 4;
  if (view.byteLength < 4 + headerLength) throw malformed("request in an error", 4, view.byteLength);
  return (flags & cappedFlag) !== 0 ? 4 + headerLength : 4 + ((view.getUint32(4, true) + 3) & ~3);
}
