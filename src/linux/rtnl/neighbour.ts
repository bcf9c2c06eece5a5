import { type Family, formatIp, type Ip } from "#ip";
import { Attributes, MessageWriter, requireHeader } from "../netlink/attributes.ts";
import { i32At, u8At, u16At } from "../netlink/bytes.ts";
import { flags } from "../netlink/message.ts";
import {
  afOf,
  type Encoding,
  familyOf,
  type LinkRef,
  linkText,
  type Operation,
  type Tolerance,
  types,
} from "./request.ts";

/** An entry of the ARP or NDP table. */
export interface Neighbour {
  readonly ip: Ip;
  readonly mac: string | undefined;
  /** Index of its interface. */
  readonly dev: number;
  /** NUD_* bits. */
  readonly state: number;
  /** Set by hand: it never expires. */
  readonly permanent: boolean;
}

const nda = { dst: 1, mac: 2, ifIndex: 8 } as const;
const permanent = 0x80;
const headerLength = 12;

/** `struct ndmsg`. */
function encode(index: number, ip: Ip, state: number): MessageWriter {
  return new MessageWriter().u32(afOf(ip.family)).u32(index).u16(state).u16(0).putIp(nda.dst, ip);
}

/** Makes or replaces a permanent entry. */
export function setNeighbourOperation(
  link: LinkRef,
  ip: Ip,
  mac: string,
  { tolerate = [] }: Tolerance,
  encoding: Encoding,
): Operation {
  const body = encode(encoding.indexOf(link), ip, permanent).putMac(nda.mac, mac).finish();
  const attempted = () => `set neighbour ${formatIp(ip)} at ${mac} on ${linkText(link)}`;
  return { type: types.newNeighbour, flags: flags.create | flags.replace, body, attempted, tolerate };
}

/** RTM_DELNEIGH. */
export function deleteNeighbourOperation(
  link: LinkRef,
  ip: Ip,
  { tolerate = [] }: Tolerance,
  encoding: Encoding,
): Operation {
  const body = encode(encoding.indexOf(link), ip, 0).finish();
  const attempted = () => `delete neighbour ${formatIp(ip)} on ${linkText(link)}`;
  return { type: types.deleteNeighbour, flags: 0, body, attempted, tolerate };
}

/** A dump that the kernel filters by interface. */
export function encodeDumpNeighbours(family: Family, index: number | undefined): Uint8Array {
  const writer = new MessageWriter().u32(afOf(family)).u32(0).u32(0);
  return (index === undefined ? writer : writer.putU32(nda.ifIndex, index)).finish();
}

/** Reads the body of a NEWNEIGH or DELNEIGH message; undefined for families that are not ours. */
export function decodeNeighbour(body: Uint8Array): Neighbour | undefined {
  requireHeader(body, headerLength);
  const attributes = new Attributes(body, headerLength);
  if (familyOf(u8At(body, 0)) === undefined) return undefined;
  const ip = attributes.ip(nda.dst);
  if (ip === undefined) return undefined;
  const state = u16At(body, 8);
  return {
    ip,
    mac: attributes.mac(nda.mac),
    dev: i32At(body, 4),
    state,
    permanent: (state & permanent) !== 0,
  };
}
