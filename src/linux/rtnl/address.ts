import { type Family, formatPrefix, type Prefix } from "#ip";
import { Attributes, MessageWriter, requireHeader } from "../netlink/attributes.ts";
import { u8At, u32At } from "../netlink/bytes.ts";
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

/** An address of an interface. */
export interface Address {
  /** Index of its interface. */
  readonly link: number;
  readonly address: Prefix;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** IFA_F_* bits. */
  readonly flags: number;
  /** Duplicate address detection still runs, or has failed: the address cannot be used. */
  readonly tentative: boolean;
}

/** How the address is added, beside errors that count as success. */
export interface AddAddressOptions extends Tolerance {
  /** Usable at once, without duplicate address detection (IPv6). */
  readonly nodad?: boolean;
  /** RT_SCOPE_*; default 0, global. */
  readonly scope?: number;
}

const ifa = { address: 1, local: 2, flags: 8 } as const;
const noDad = 0x02;
const dadFailed = 0x08;
const tentative = 0x40;

/** `struct ifaddrmsg`. */
function encode(index: number, { ip, bits }: Prefix, scope: number): MessageWriter {
  return new MessageWriter()
    .u8(afOf(ip.family))
    .u8(bits)
    .u8(0)
    .u8(scope)
    .u32(index)
    .putIp(ifa.local, ip)
    .putIp(ifa.address, ip);
}

/** RTM_NEWADDR; fails with EEXIST if the link has the address. `nodad`: without duplicate address detection. */
export function addAddressOperation(
  link: LinkRef,
  address: Prefix,
  { tolerate = [], nodad = false, scope = 0 }: AddAddressOptions,
  encoding: Encoding,
): Operation {
  const writer = encode(encoding.indexOf(link), address, scope);
  if (nodad) writer.putU32(ifa.flags, noDad);
  const attempted = () => `add address ${formatPrefix(address)} to ${linkText(link)}`;
  return { type: types.newAddress, flags: flags.create | flags.exclusive, body: writer.finish(), attempted, tolerate };
}

/** RTM_DELADDR. */
export function deleteAddressOperation(
  link: LinkRef,
  address: Prefix,
  { tolerate = [] }: Tolerance,
  encoding: Encoding,
): Operation {
  const body = encode(encoding.indexOf(link), address, 0).finish();
  const attempted = () => `delete address ${formatPrefix(address)} of ${linkText(link)}`;
  return { type: types.deleteAddress, flags: 0, body, attempted, tolerate };
}

/** RTM_GETADDR as a dump: addresses of one interface, of one family or of both. */
export function encodeDumpAddresses(family: Family | undefined, index: number): Uint8Array {
  return new MessageWriter()
    .u32(family === undefined ? 0 : afOf(family))
    .u32(index)
    .finish();
}

/** Reads the body of a NEWADDR or DELADDR message; undefined for families that are not ours. */
export function decodeAddress(body: Uint8Array): Address | undefined {
  requireHeader(body, 8);
  const attributes = new Attributes(body, 8);
  // On a point-to-point link IFA_ADDRESS is the other side; the local one is what we mean.
  if (familyOf(u8At(body, 0)) === undefined) return undefined;
  const ip = attributes.ip(ifa.local) ?? attributes.ip(ifa.address);
  if (ip === undefined) return undefined;
  const addressFlags = attributes.u32(ifa.flags) ?? u8At(body, 2);
  return {
    link: u32At(body, 4),
    address: { ip, bits: u8At(body, 1) },
    scope: u8At(body, 3),
    flags: addressFlags,
    tentative: (addressFlags & (tentative | dadFailed)) !== 0,
  };
}
