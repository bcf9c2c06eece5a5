import { randomInt } from "node:crypto";
import koffi from "koffi";
import { type Family, ipToBytes, parseIp } from "#ip";
import type { Netns } from "#linux";
import { must } from "../../src/linux/errors.ts";
import { libc } from "../../src/linux/libc.ts";
import { poller } from "../../src/linux/poller.ts";

const connect = koffi.load(null).func("int connect(int, void *, uint32_t)");
const einprogress = 115;
const eagain = 11;
const af = { 4: 2, 6: 10 } as const;
const sockStream = 1;
const sockRaw = 3;
const cloexecNonblock = 0o2004000;
const icmp = {
  4: { protocol: 1, request: 8, reply: 0, level: 0, mtuDiscover: 10 },
  6: { protocol: 58, request: 128, reply: 129, level: 41, mtuDiscover: 23 },
} as const;
/** Larger packets than the way carries are refused instead of cut to pieces. */
const mtuDiscoverDo = 2;

export interface PingOptions {
  /** What follows the header of 8 bytes. @default 56 */
  readonly bytes?: number;
  /** @default 60 */
  readonly seconds?: number;
}

/**
 * Sends an echo request a second from a namespace and waits for a reply. A process for each would take most of the time in a
 * user-mode kernel. Throws where there is none within the time, and LinuxError where it cannot be sent.
 */
export async function ping(
  netns: Netns,
  address: string,
  { bytes = 56, seconds = 60 }: PingOptions = {},
): Promise<void> {
  const ip = parseIp(address);
  const { protocol, request, reply, level, mtuDiscover } = icmp[ip.family];
  const what = `ping ${address} from ${netns.path}`;
  const fd = netns.enter(() => must(libc.socket(af[ip.family], sockRaw | cloexecNonblock, protocol), what));
  let again: NodeJS.Timeout | undefined;
  try {
    must(libc.setsockopt(fd, level, mtuDiscover, Buffer.from(Int32Array.of(mtuDiscoverDo).buffer)), what);
    const id = randomInt(0x10000);
    const send = () => libc.sendto(fd, echo(request, id, bytes), 0, socketAddress(address, 0));
    must(send(), what);
    // The kernel gives a neighbour three seconds to say where it is, and then drops what waits for that.
    again = setInterval(send, 1_000);
    const buffer = Buffer.from(new ArrayBuffer(65_536));
    const signal = AbortSignal.timeout(seconds * 1000);
    for (;;) {
      const length = await receive(fd, buffer, what, signal);
      const message = buffer.subarray(ip.family === 4 ? ((buffer[0] ?? 0) & 15) * 4 : 0, length);
      if (message[0] === reply && message.readUInt16BE(4) === id && message.length === 8 + bytes) return;
    }
  } finally {
    clearInterval(again);
    libc.close(fd);
  }
}

/** All that a TCP server sends to a client in a namespace until it closes, within a minute. */
export async function readAll(netns: Netns, address: string, port: number): Promise<Buffer> {
  const what = `connect to ${address} port ${port} from ${netns.path}`;
  const { family } = parseIp(address);
  const fd = netns.enter(() => must(libc.socket(af[family], sockStream | cloexecNonblock, 0), what));
  try {
    const to = socketAddress(address, port);
    if (connect(fd, to, to.length) === -1 && koffi.errno() !== einprogress) must(-koffi.errno(), what);
    const buffer = Buffer.from(new ArrayBuffer(65_536));
    const signal = AbortSignal.timeout(60_000);
    const chunks: Buffer[] = [];
    await poller.readable(fd, { signal });
    for (;;) {
      const length = await receive(fd, buffer, what, signal);
      if (length === 0) return Buffer.concat(chunks);
      chunks.push(Buffer.from(buffer.subarray(0, length)));
    }
  } finally {
    libc.close(fd);
  }
}

async function receive(fd: number, buffer: Buffer, what: string, signal: AbortSignal): Promise<number> {
  for (;;) {
    const length = libc.recvfrom(fd, buffer, 0, null);
    if (length !== -eagain) return must(length, what);
    await poller.readable(fd, { signal });
  }
}

/** RFC 792 and RFC 4443; the kernel fills in the checksum of IPv6. */
function echo(type: number, id: number, bytes: number): Buffer {
  const message = Buffer.alloc(8 + bytes);
  message[0] = type;
  message.writeUInt16BE(id, 4);
  let sum = 0;
  for (let at = 0; at < message.length - 1; at += 2) sum += message.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  message.writeUInt16BE(~sum & 0xffff, 2);
  return message;
}

/** `struct sockaddr_in` and `struct sockaddr_in6`. */
function socketAddress(address: string, port: number): Buffer {
  const ip = parseIp(address);
  const encoded = Buffer.alloc(ip.family === 4 ? 16 : 28);
  encoded.writeUInt16LE(af[ip.family satisfies Family], 0);
  encoded.writeUInt16BE(port, 2);
  encoded.set(ipToBytes(ip), ip.family === 4 ? 4 : 8);
  return encoded;
}
