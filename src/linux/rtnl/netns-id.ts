import { Attributes, MessageWriter } from "../netlink/attributes.ts";

/** Attributes of <linux/net_namespace.h>. */
const netnsa = { id: 1, fd: 3 } as const;
const anyId = 0xffff_ffff;
/** `struct rtgenmsg`, padded. */
const headerBytes = 4;

/** Has the kernel choose the number by which a namespace knows the one with this descriptor; EEXIST where it has. */
export function encodeNewNetnsId(fd: number): Uint8Array {
  return new MessageWriter().u32(0).putU32(netnsa.fd, fd).putU32(netnsa.id, anyId).finish();
}

/** RTM_GETNSID for the network namespace behind a descriptor. */
export function encodeGetNetnsId(fd: number): Uint8Array {
  return new MessageWriter().u32(0).putU32(netnsa.fd, fd).finish();
}

/** The number; negative if there is none. */
export function decodeNetnsId(body: Uint8Array): number {
  return new Attributes(body, headerBytes).i32(netnsa.id) ?? -1;
}
