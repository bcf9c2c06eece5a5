import { SpiderError } from "#base";
import { errnoName, LinuxError, must } from "../errors.ts";
import { libc } from "../libc.ts";
import { u32At } from "./bytes.ts";
import { controlTypes, decodeOutcome, flags, MessageReader, Messages } from "./message.ts";

/** The netlink families that are spoken here: `NETLINK_ROUTE`, `NETLINK_NETFILTER`. */
export const protocols = { route: 0, netfilter: 12 } as const;

/** One request, and what the caller was doing, for its error. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
  readonly attempted: () => string;
  /** Codes that count as success, such as `EEXIST`: no error is made of them, which would cost more than the request. */
  readonly tolerate?: readonly string[];
  /** It asks for one object: the kernel answers by one message, which is its end, or refuses it. */
  readonly asks?: true;
}

/** What came back for one request of an exchange. */
export interface Reply {
  readonly error: LinuxError | undefined;
  readonly bodies: readonly Uint8Array[];
}

/** Where bytes go and come from: a socket, or a script in tests. */
export interface Transport extends Disposable {
  send(bytes: Uint8Array): void;
  /** The same off the calling thread. The kernel has worked off the request when it resolves. */
  sendLater(bytes: Uint8Array): Promise<void>;
  /** The next datagram, valid until the next call. Throws LinuxError EAGAIN if there is none. */
  receive(): Datagram;
}

/** Requests of one send: the errors of all must fit the receive buffer (212,992 bytes by default, under 1 KB each). */
const requestsMax = 128;
/** A dump is cut off when what it lists changes meanwhile; on a busy node that can happen a few times in a row. */
const dumpAttemptsMax = 16;

/**
 * Request and answer over one netlink socket, synchronously. Skips answers from any other sender than the kernel, and those
 * of an earlier request that failed (by their sequence number).
 */
export class Channel implements Disposable {
  readonly #transport: Transport;
  readonly #where: string | undefined;
  #sequence = 0;

  /** `where` is the namespace, for errors. */
  constructor(transport: Transport, where?: string) {
    this.#transport = transport;
    this.#where = where;
  }

  /**
   * Sends all requests at once. The kernel handles them in order and goes on after one that fails. Errors come in any case, so
   * only the last request asks for an acknowledgement, if it has no answer of its own. Throws if the exchange itself fails.
   */
  exchange(requests: readonly Request[]): readonly Reply[] {
    if (requests.length === 0) return [];
    if (requests.length <= requestsMax) return this.#exchange(requests);
    const replies: Reply[] = [];
    for (let at = 0; at < requests.length; at += requestsMax) {
      replies.push(...this.#exchange(requests.slice(at, at + requestsMax)));
    }
    return replies;
  }

  #exchange(requests: readonly Request[]): readonly Reply[] {
    const first = this.#sequence;
    this.#transport.send(this.#encode(requests, acknowledged(requests)));
    return this.#collect(requests, first);
  }

  /**
   * One transaction of nfnetlink: all or nothing, between the messages that open and close it. The kernel answers only
   * what lies between; a transaction that it refuses as a whole is an error of the opening message.
   */
  transact(open: Request, requests: readonly Request[], close: Request): readonly Reply[] {
    const all = [open, ...requests, close];
    const first = this.#sequence;
    this.#transport.send(this.#encode(all, requests.length));
    return this.#collect(all, first, requests.length);
  }

  /**
   * Like exchange, but the thread does not wait while the kernel works. For a channel that does nothing else meanwhile,
   * and at most 128 requests.
   */
  async exchangeLater(requests: readonly Request[]): Promise<readonly Reply[]> {
    if (requests.length > requestsMax) throw new RangeError(`at most ${requestsMax} requests: ${requests.length}`);
    const first = this.#sequence;
    await this.#transport.sendLater(this.#encode(requests, acknowledged(requests)));
    return this.#collect(requests, first);
  }

  /** Receives until the last request is answered, or until the first failure if the requests depend on each other. */
  #collect(requests: readonly Request[], first: number, last = requests.length - 1): readonly Reply[] {
    const replies = requests.map(() => silence);
    const opensTransaction = last < requests.length - 1;
    for (;;) {
      const message = this.#receive(requests);
      while (message.next()) {
        const index = (message.sequence - first) >>> 0;
        const request = requests[index];
        const reply = replies[index];
        if (request === undefined || reply === undefined) continue;
        if (message.type !== controlTypes.error) {
          replies[index] = { error: reply.error, bodies: [...reply.bodies, message.body] };
          if (index === last && request.asks) return replies;
          continue;
        }
        const error = this.#errorOf(message, request);
        if (error !== undefined) replies[index] = { error, bodies: reply.bodies };
        if (index === last || (index === 0 && opensTransaction)) return replies;
      }
    }
  }

  /** The one answer to a request that asks; undefined if the kernel refused it with a tolerated code. Throws any other refusal. */
  get(request: Request & { readonly asks: true }): Uint8Array | undefined {
    const reply = this.#exchange([request])[0];
    if (reply?.error !== undefined) throw reply.error;
    return reply?.bodies[0];
  }

  /** The bodies of all entries. Starts again if the kernel says that the list changed meanwhile. */
  dump(request: Request): readonly Uint8Array[] {
    for (let attempt = 1; attempt <= dumpAttemptsMax; attempt++) {
      const bodies = this.#dump(request);
      if (bodies !== undefined) return bodies;
    }
    throw new SpiderError("NETLINK_DUMP_INTERRUPTED", "the kernel's list kept changing while it was read", {
      details: { attempted: this.#attempted(request), attempts: dumpAttemptsMax },
    });
  }

  #dump(request: Request): readonly Uint8Array[] | undefined {
    const requests = [request];
    const sequence = this.#sequence;
    this.#transport.send(this.#encode(requests, 0, flags.dump));
    const bodies: Uint8Array[] = [];
    let interrupted = false;
    for (;;) {
      const message = this.#receive(requests);
      while (message.next()) {
        if (message.sequence !== sequence) continue;
        interrupted ||= (message.flags & flags.dumpInterrupted) !== 0;
        if (message.type === controlTypes.error || message.type === controlTypes.done) {
          const error = this.#errorOf(message, request);
          if (error !== undefined) throw error;
          return interrupted ? undefined : bodies;
        }
        bodies.push(message.body);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  /** The requests as the next messages; the one at `extraAt` with another flag, which asks for the end of the answers. */
  #encode(requests: readonly Request[], extraAt: number, extra: number = flags.ack): Uint8Array {
    const messages = new Messages(requests);
    requests.forEach(({ type, flags: own, body }, index) => {
      messages.add(type, flags.request | own | (index === extraAt ? extra : 0), this.#sequence, body);
      this.#sequence = (this.#sequence + 1) >>> 0;
    });
    return messages.finish();
  }

  /** The messages of the next datagram, if it is the kernel's answer to us; else none. */
  #receive(requests: readonly Request[]): MessageReader {
    try {
      const { bytes, length, senderPort } = this.#transport.receive();
      return new MessageReader(bytes, senderPort === 0 ? length : 0);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      const attempted = requests[0] === undefined ? "netlink request" : this.#attempted(requests[0]);
      throw new LinuxError(error.errno, `wait for the kernel's answer to: ${attempted}`);
    }
  }

  #errorOf(message: MessageReader, request: Request): LinuxError | undefined {
    const { errno, extendedText } = decodeOutcome(message);
    if (errno === 0 || request.tolerate?.includes(errnoName(errno))) return undefined;
    // A stack costs more than the request, and the text says more.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      return new LinuxError(errno, this.#attempted(request), extendedText);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }

  #attempted({ attempted }: Request): string {
    return this.#where === undefined ? attempted() : `${attempted()} in ${this.#where}`;
  }
}

/** Of most requests: they succeed without an answer. */
const silence: Reply = { error: undefined, bodies: [] };

/** The place of the request that asks for an acknowledgement: the last, if it has no answer of its own; else none. */
function acknowledged(requests: readonly Request[]): number {
  return requests.at(-1)?.asks === true ? -1 : requests.length - 1;
}

const familyNetlink = 16;
const typeRaw = 3;
const cloexec = 0o2000000;
const solNetlink = 270;
/** NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK */
const options = [10, 11, 12] as const;
const on = Buffer.from([1, 0, 0, 0]);
/** Far more than the kernel ever puts into one datagram of a dump (32 KB). */
const receiveBytes = 65_536;
/** One for all: what is received is used up before the thread does anything else, and hundreds of Pods have a socket each. */
const received = new Uint8Array(new ArrayBuffer(receiveBytes));
/** Its sender's address, likewise. */
const sender = Buffer.from(new ArrayBuffer(12));
/** MSG_TRUNC and MSG_DONTWAIT. The kernel has answered when a request is sent: nothing need be waited for. */
const receiveFlags = 0x20 | 0x40;
const [eintr, eagain] = [4, 11];

/** What came in one piece, valid until the next call, and the port of its sender: 0 is the kernel. */
interface Datagram {
  /** As large as any may be. */
  readonly bytes: Uint8Array;
  /** How many of the bytes it has. */
  readonly length: number;
  readonly senderPort: number;
}

/** A netlink socket of the namespace in which the calling thread is now. */
function openSocket(protocol: number): number {
  return must(libc.socket(familyNetlink, typeRaw | cloexec, protocol), "make a netlink socket");
}

/** One that is subscribed to the multicast groups in `groups`. */
export function openSubscription(protocol: number, groups: number): number {
  const fd = openSocket(protocol);
  try {
    const address = Buffer.alloc(12);
    address.writeUInt16LE(familyNetlink, 0);
    address.writeUInt32LE(groups, 8);
    must(libc.bind(fd, address), "subscribe a netlink socket");
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/**
 * The real transport. Open it inside the namespace that it is for: a socket keeps the namespace in which it was made. The
 * kernel gives it a port with the first request, and sends it nothing but answers.
 */
export function openTransport(protocol: number): Transport {
  const fd = openSocket(protocol);
  // These are missing in old kernels only, where replies are longer, errors terser and filters ours to apply.
  options.forEach((option) => {
    libc.setsockopt(fd, solNetlink, option, on);
  });
  return {
    send: (bytes) => void must(libc.sendto(fd, bytes, 0, null), "send a netlink request"),
    sendLater: async (bytes) => void must(await libc.sendLater(fd, bytes), "send a netlink request"),
    receive: () => receiveFrom(fd, received),
    [Symbol.dispose]: () => void libc.close(fd),
  };
}

/** One datagram. Throws LinuxError: EAGAIN if there is none, ENOBUFS if the kernel dropped some. */
function receiveFrom(fd: number, buffer: Uint8Array): Datagram {
  return decodeDatagram(receive(fd, buffer), buffer);
}

/** The datagram that waits; undefined if none does. Throws LinuxError ENOBUFS if the kernel dropped some. */
export function receiveReady(fd: number, buffer: Uint8Array): Datagram | undefined {
  const length = receive(fd, buffer);
  return length === -eagain ? undefined : decodeDatagram(length, buffer);
}

function receive(fd: number, buffer: Uint8Array): number {
  for (;;) {
    const length = libc.recvfrom(fd, buffer, receiveFlags, sender);
    if (length !== -eintr) return length;
  }
}

function decodeDatagram(length: number, buffer: Uint8Array): Datagram {
  must(length, "receive from a netlink socket");
  if (length > buffer.length) throw new RangeError(`a netlink datagram of ${length} bytes exceeds ${buffer.length}`);
  return { bytes: buffer, length, senderPort: u32At(sender, 4) };
}
