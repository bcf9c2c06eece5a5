import { Attributes, malformed } from "./attributes.ts";
import { i32At, room, storeU16, storeU32, u16At, u32At } from "./bytes.ts";

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

/** Puts messages with these bodies into one buffer, each padded to four bytes. */
export class Messages {
  /** Of others, too: ours begin at `#start`. */
  readonly #bytes: Uint8Array;
  readonly #start: number;
  #at: number;

  constructor(bodies: readonly Pick<Message, "body">[]) {
    const length = bodies.reduce((sum, { body }) => sum + headerLength + padded(body.length), 0);
    const { bytes, at } = room(length);
    this.#bytes = bytes;
    this.#start = at;
    this.#at = at;
  }

  /** Adds the next one. */
  add(type: number, flags: number, sequence: number, body: Uint8Array): void {
    const bytes = this.#bytes;
    const at = this.#at;
    storeU32(bytes, at, headerLength + body.length);
    storeU16(bytes, at + 4, type);
    storeU16(bytes, at + 6, flags);
    storeU32(bytes, at + 8, sequence);
    bytes.set(body, at + headerLength);
    this.#at += headerLength + padded(body.length);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#at);
  }
}

/** Several messages as one buffer. */
export function encodeMessages(messages: readonly Message[]): Uint8Array {
  const written = new Messages(messages);
  for (const { type, flags, sequence, body } of messages) written.add(type, flags, sequence, body);
  return written.finish();
}

/**
 * Walks through the messages of one datagram. Reads them where they are: of the most, acknowledgements and answers to others,
 * nothing has to be made.
 */
export class MessageReader implements Message {
  readonly #bytes: Uint8Array;
  readonly #length: number;
  #at = 0;
  #next = 0;

  /** `length`: how many of the bytes were received. */
  constructor(bytes: Uint8Array, length = bytes.length) {
    this.#bytes = bytes;
    this.#length = length;
  }

  /** Goes on to the next message; false if there is none. Throws NETLINK_MALFORMED if its length does not fit. */
  next(): boolean {
    this.#at = this.#next;
    const available = this.#length - this.#at;
    if (available <= 0) return false;
    const length = available < headerLength ? 0 : u32At(this.#bytes, this.#at);
    if (length < headerLength || length > available) throw malformed("message", this.#at, this.#length);
    this.#next = this.#at + padded(length);
    return true;
  }

  get type(): number {
    return u16At(this.#bytes, this.#at + 4);
  }

  get flags(): number {
    return u16At(this.#bytes, this.#at + 6);
  }

  get sequence(): number {
    return u32At(this.#bytes, this.#at + 8);
  }

  /** A copy, because the next datagram may come into the same memory. */
  get body(): Uint8Array {
    return this.#bytes.slice(this.#at + headerLength, this.#at + u32At(this.#bytes, this.#at));
  }
}

/** The messages of one datagram. Throws NETLINK_MALFORMED if a length does not fit. */
export function decodeMessages(bytes: Uint8Array, length = bytes.length): readonly Message[] {
  const reader = new MessageReader(bytes, length);
  const found: Message[] = [];
  while (reader.next()) {
    const { type, flags, sequence, body } = reader;
    found.push({ type, flags, sequence, body });
  }
  return found;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

/** The kernel's answer to one request. `errno` 0 is success. */
interface Outcome {
  readonly errno: number;
  readonly extendedText: string | undefined;
}

/** Reads the body of an error message (which is an acknowledgement if its number is 0) or of the end of a dump. */
export function decodeOutcome({ type, flags, body }: Omit<Message, "sequence">): Outcome {
  if (body.length < 4) {
    // A dump may end with an empty body.
    if (type === controlTypes.done && body.length === 0) return { errno: 0, extendedText: undefined };
    throw malformed("outcome", 0, body.length);
  }
  const errno = 0 - i32At(body, 0);
  if (errno === 0 || (flags & extendedFlag) === 0) return { errno, extendedText: undefined };
  return { errno, extendedText: new Attributes(body, extendedOffset(type, flags, body)).text(extendedText) };
}

/** Where the attributes start: an error repeats the request's header, and its payload unless it is capped. */
function extendedOffset(type: number, flags: number, body: Uint8Array): number {
  if (type === controlTypes.done) return 4;
  if (body.length < 4 + headerLength) throw malformed("request in an error", 4, body.length);
  return (flags & cappedFlag) !== 0 ? 4 + headerLength : 4 + padded(u32At(body, 4));
}
