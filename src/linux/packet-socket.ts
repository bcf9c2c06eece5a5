import { constants } from "node:os";
import type { Signal } from "#base";
import { LinuxError, must } from "./errors.ts";
import { libc } from "./libc.ts";
import { formatMac, parseMac, storeMac } from "./mac.ts";
import type { Netns } from "./netns.ts";
import { poller } from "./poller.ts";
import type { VethEnd } from "./rtnl/types.ts";

const afPacket = 17;
const rawCloexecNonblock = 3 | 0o2004000;
const ethernetBytes = 14;
const frameBytesMax = 65_536;
const eagain = 11;
/** <linux/if_packet.h> */
const solPacket = 263;
const addMembership = 1;
const allMulticast = 2;

/** One Ethernet frame without its checksum. */
export interface Frame {
  readonly destination: string;
  readonly source: string;
  readonly etherType: number;
  readonly payload: Uint8Array;
}

/** Ethernet frames of one EtherType on one interface; close it with `close`, which does not wait. */
export class PacketSocket {
  readonly mac: string;
  readonly #fd: number;
  readonly #index: number;
  readonly #attempted: string;
  #buffer: Buffer | undefined;

  private constructor(fd: number, index: number, mac: string, attempted: string) {
    this.#fd = fd;
    this.#index = index;
    this.mac = mac;
    this.#attempted = attempted;
  }

  /** Throws LinuxError ENODEV if there is no such interface, RangeError if it has no Ethernet address. */
  static open(netns: Netns, of: string | VethEnd, etherType: number): PacketSocket {
    const name = typeof of === "string" ? of : of.name;
    const attempted = `packets on ${name} in ${netns.path}`;
    const link = typeof of === "string" ? netns.rtnl.link(of) : of;
    if (link === undefined) throw new LinuxError(constants.errno.ENODEV, attempted);
    if (link.mac === undefined) throw new RangeError(`not an Ethernet interface: ${name} in ${netns.path}`);
    const fd = netns.enter(() => must(libc.socket(afPacket, rawCloexecNonblock, 0), attempted));
    // Bound to type and interface in one step: a socket made with a protocol would see every interface until bound.
    const returned = libc.bind(fd, socketAddress(link.index, etherType));
    if (returned < 0) void libc.closeLater(fd);
    must(returned, attempted);
    return new PacketSocket(fd, link.index, link.mac, attempted);
  }

  /** From the interface's own address, of any EtherType. Throws LinuxError (`ENETDOWN`). */
  send({ destination, etherType, payload }: Omit<Frame, "source">): void {
    const frame = Buffer.alloc(ethernetBytes + payload.length);
    storeMac(frame, 0, destination);
    storeMac(frame, 6, this.mac);
    frame.writeUInt16BE(etherType, 12);
    frame.set(payload, ethernetBytes);
    must(libc.sendto(this.#fd, frame, 0, socketAddress(this.#index, etherType)), `send ${this.#attempted}`);
  }

  /** From now on it gets every multicast frame, also of groups to which nobody on the interface listens. */
  receiveAllMulticast(): void {
    const membership = Buffer.alloc(16); // struct packet_mreq
    membership.writeInt32LE(this.#index, 0);
    membership.writeUInt16LE(allMulticast, 4);
    must(libc.setsockopt(this.#fd, solPacket, addMembership, membership), `all multicast ${this.#attempted}`);
  }

  /** Sender and payload of the next frame, own ones left out. */
  async receive({ signal }: Signal): Promise<Pick<Frame, "source" | "payload">> {
    for (;;) {
      signal.throwIfAborted();
      const frame = this.received();
      if (frame !== undefined) return frame;
      await poller.readable(this.#fd, { signal });
    }
  }

  /** The same of a frame that is here already, if any is. */
  received(): Pick<Frame, "source" | "payload"> | undefined {
    const own = Buffer.from(parseMac(this.mac));
    // Most sockets only send.
    this.#buffer ??= Buffer.from(new ArrayBuffer(frameBytesMax));
    const buffer = this.#buffer;
    for (;;) {
      const length = libc.recvfrom(this.#fd, buffer, 0, null);
      if (length === -eagain) return undefined;
      must(length, `receive ${this.#attempted}`);
      if (length < ethernetBytes || own.equals(buffer.subarray(6, 12))) continue;
      return {
        source: formatMac(buffer, 6),
        payload: Uint8Array.from(buffer.subarray(ethernetBytes, length)),
      };
    }
  }

  /** Resolves when the kernel has let go of it: an RCU grace period, spent on a pool thread. */
  close(): Promise<void> {
    return libc.closeLater(this.#fd);
  }
}

/** `struct sockaddr_ll` without a hardware address. */
function socketAddress(index: number, etherType: number): Uint8Array {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(afPacket, 0);
  address.writeUInt16BE(etherType, 2);
  address.writeInt32LE(index, 4);
  return address;
}
