import { Attributes, MessageWriter, requireHeader } from "../netlink/attributes.ts";
import { i32At, u32At } from "../netlink/bytes.ts";
import { flags } from "../netlink/message.ts";
import { putBond, putKind, readMode, readVlanId } from "./kind.ts";
import { afOf, type Encoding, type LinkRef, linkText, type Operation, type Tolerance, types } from "./request.ts";
import type { BondValue, Link, LinkChange, LinkSpec, VethSpec } from "./types.ts";

/** Attributes of <linux/if_link.h>. */
const ifla = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  txQueueLen: 13,
  linkInfo: 18,
  afSpec: 26,
  group: 27,
  netnsFd: 28,
  extMask: 29,
  numTxQueues: 31,
  numRxQueues: 32,
  carrier: 33,
  linkNetnsId: 37,
} as const;
/** IFLA_INFO_* */
const infoKind = 1;
const infoData = 2;
const vethPeer = 1;
const iffUp = 1;
const iffPromisc = 0x100;
const inetConf = 1;
const inetRpFilter = 8;
const inetArpNotify = 22;
const inet6AddrGenMode = 8;
/** IN6_ADDR_GEN_MODE_* */
const addrGenModes = { eui64: 0, none: 1 } as const;
/** Leaves the statistics out of replies: they are most of their length. */
const skipStatistics = 8;
/** Names of interfaces are at most 15 bytes; the kernel's own answer to a longer one is a bare ERANGE. */
const nameBytesMax = 15;

/** `struct ifinfomsg` for one link; a name goes into an attribute, so that nothing has to be looked up. */
function header(link: LinkRef, { up, promiscuous }: Pick<LinkChange, "up" | "promiscuous"> = {}): MessageWriter {
  const index = typeof link === "number" ? link : 0;
  const change = (up === undefined ? 0 : iffUp) | (promiscuous === undefined ? 0 : iffPromisc);
  const writer = new MessageWriter()
    .u32(0)
    .u32(index)
    .u32((up === true ? iffUp : 0) | (promiscuous === true ? iffPromisc : 0))
    .u32(change);
  return typeof link === "string" ? writer.putText(ifla.name, checkName(link)) : writer;
}

/** The name, if the kernel would take it; else RangeError. */
export function checkName(name: string): string {
  if (name === "" || Buffer.byteLength(name) > nameBytesMax || /[\s/:\0]/.test(name)) {
    throw new RangeError(`an interface name has 1 to ${nameBytesMax} bytes and no space, slash or colon: "${name}"`);
  }
  return name;
}

/** RTM_GETLINK of one link. */
export function encodeGetLink(link: LinkRef): Uint8Array {
  return header(link).putU32(ifla.extMask, skipStatistics).finish();
}

/** RTM_GETLINK as a dump, of all links or of one kind. */
export function encodeDumpLinks(kind?: string): Uint8Array {
  const writer = header(0).putU32(ifla.extMask, skipStatistics);
  if (kind !== undefined) writer.nest(ifla.linkInfo, (info) => info.putText(infoKind, kind));
  return writer.finish();
}

/** One NEWLINK for both ends. Names, MTU, MAC and namespace of the peer work inside the peer's own part. */
export function encodeVeth(spec: VethSpec & { readonly mac: string; readonly peerMac: string }): Uint8Array {
  const { peer } = spec;
  const writer = header(spec.name, flagsAtOnce(spec)).putMac(ifla.address, spec.mac);
  if (spec.mtuBytes !== undefined) writer.putU32(ifla.mtu, spec.mtuBytes);
  oneQueue(writer);
  writer.nest(ifla.linkInfo, (info) =>
    info.putText(infoKind, "veth").nest(infoData, (data) =>
      data.nest(vethPeer, (end) => {
        end.u32(0).u32(0).u32(0).u32(0); // struct ifinfomsg; IFF_UP here would be refused with ENOTCONN
        end.putText(ifla.name, checkName(peer.name)).putMac(ifla.address, spec.peerMac);
        const mtuBytes = peer.mtuBytes ?? spec.mtuBytes;
        if (mtuBytes !== undefined) end.putU32(ifla.mtu, mtuBytes);
        if (peer.netns !== undefined) end.putU32(ifla.netnsFd, peer.netns.fd);
        oneQueue(end);
      }),
    ),
  );
  return writer.finish();
}

/** Address generation cannot be turned off in the request that makes a link, so going up has to wait for that. */
function flagsAtOnce({ up, addrGenModeNone, promiscuous }: Pick<VethSpec, "up" | "addrGenModeNone" | "promiscuous">) {
  return {
    ...(up === true && addrGenModeNone !== true && { up }),
    ...(promiscuous !== undefined && { promiscuous }),
  };
}

/** The kernel would make one queue per CPU: slower to create and of no use to a veth. */
function oneQueue(writer: MessageWriter): void {
  writer.putU32(ifla.numTxQueues, 1).putU32(ifla.numRxQueues, 1);
}

/** Where a link is made that is not in its parent's namespace: the message goes to the one of the two, and names the other. */
type OtherNetns = { readonly parentNetnsId: number } | { readonly ownFd: number };

/** The body of RTM_NEWLINK for a new link; `other`: link and parent are in different network namespaces. */
export function encodeCreateLink(spec: LinkSpec, encoding: Encoding, other?: OtherNetns): Uint8Array {
  const writer = header(spec.name, flagsAtOnce(spec));
  if (spec.mac !== undefined) writer.putMac(ifla.address, spec.mac);
  if (spec.mtuBytes !== undefined) writer.putU32(ifla.mtu, spec.mtuBytes);
  if (spec.master !== undefined) writer.putU32(ifla.master, encoding.indexOf(spec.master));
  if (other !== undefined && "parentNetnsId" in other) writer.putU32(ifla.linkNetnsId, other.parentNetnsId);
  if (other !== undefined && "ownFd" in other) writer.putU32(ifla.netnsFd, other.ownFd);
  if ("parent" in spec.kind && spec.kind.parent !== undefined && spec.kind.kind !== "vxlan") {
    writer.putU32(ifla.link, encoding.indexOf(spec.kind.parent));
  }
  writer.nest(ifla.linkInfo, (info) =>
    info.putText(infoKind, spec.kind.kind).nest(infoData, (data) => putKind(data, spec.kind, encoding)),
  );
  return writer.finish();
}

/** A NEWLINK without the flag to make one changes what is there. */
export function encodeSetBond(link: LinkRef, options: Readonly<Record<string, BondValue>>): Uint8Array {
  const writer = header(link);
  writer.nest(ifla.linkInfo, (info) => info.putText(infoKind, "bond").nest(infoData, (data) => putBond(data, options)));
  return writer.finish();
}

/**
 * The messages for a change: one, or two where the address generation mode has to be in place before the link goes up.
 */
export function setLinkOperations(
  link: LinkRef,
  change: LinkChange,
  encoding: Encoding,
  options: Tolerance,
): readonly Operation[] {
  const { addrGenModeNone, ...rest } = change;
  const operations: Operation[] = [];
  const add = (body: Uint8Array, what: object, tolerate = options.tolerate ?? []) => {
    const attempted = () => `set ${changeText(what)} of link ${linkText(link)}`;
    operations.push({ type: types.setLink, flags: 0, body, attempted, tolerate });
  };
  if (addrGenModeNone !== undefined) {
    // EAFNOSUPPORT: a kernel without IPv6, which generates no addresses anyway.
    const tolerate = [...(options.tolerate ?? []), "EAFNOSUPPORT"];
    add(encodeAddrGenMode(link, addrGenModes[addrGenModeNone ? "none" : "eui64"]), { addrGenModeNone }, tolerate);
  }
  if (Object.values(rest).some((value) => value !== undefined)) add(encodeSetLink(link, rest, encoding), rest);
  return operations;
}

function encodeAddrGenMode(link: LinkRef, mode: number): Uint8Array {
  const writer = header(link);
  writer.nest(ifla.afSpec, (families) => families.nest(afOf(6), (inet6) => inet6.putU8(inet6AddrGenMode, mode)));
  return writer.finish();
}

function encodeSetLink(link: LinkRef, change: LinkChange, encoding: Encoding): Uint8Array {
  // The kernel takes IFLA_IFNAME as the new name if the header has an index.
  const subject = change.newName === undefined ? link : encoding.indexOf(link);
  const writer = header(subject, change);
  if (change.newName !== undefined) writer.putText(ifla.name, checkName(change.newName));
  if (change.mtuBytes !== undefined) writer.putU32(ifla.mtu, change.mtuBytes);
  if (change.mac !== undefined) writer.putMac(ifla.address, change.mac);
  if (change.txQueueLen !== undefined) writer.putU32(ifla.txQueueLen, change.txQueueLen);
  if (change.group !== undefined) writer.putU32(ifla.group, change.group);
  if (change.master !== undefined)
    writer.putU32(ifla.master, change.master === null ? 0 : encoding.indexOf(change.master));
  if (change.netns !== undefined) writer.putU32(ifla.netnsFd, change.netns.fd);
  putIpv4Settings(writer, change);
  return writer.finish();
}

/** Settings of IPv4 by their numbers in <linux/ip.h> (IPV4_DEVCONF_*). */
function putIpv4Settings(writer: MessageWriter, { rpFilter, arpNotify }: LinkChange): void {
  if (rpFilter === undefined && arpNotify === undefined) return;
  writer.nest(ifla.afSpec, (families) =>
    families.nest(afOf(4), (inet) =>
      inet.nest(inetConf, (settings) => {
        if (rpFilter !== undefined) settings.putU32(inetRpFilter, rpFilter);
        if (arpNotify !== undefined) settings.putU32(inetArpNotify, arpNotify ? 1 : 0);
      }),
    ),
  );
}

function changeText(change: object): string {
  const parts = Object.entries(change)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === "object" && value !== null ? value.path : value}`);
  return parts.join(", ");
}

/** RTM_DELLINK. */
export function deleteLinkOperation(link: LinkRef, { tolerate = [] }: Tolerance): Operation {
  const attempted = () => `delete link ${linkText(link)}`;
  return { type: types.deleteLink, flags: 0, body: header(link).finish(), attempted, tolerate };
}

/** Deletes every link of a group with one wait for RCU. */
export function deleteGroupOperation(group: number): Operation {
  const body = header(0).putU32(ifla.group, group).finish();
  return { type: types.deleteLink, flags: 0, body, attempted: () => `delete links of group ${group}` };
}

/** The flags with which links are made: an existing name is EEXIST. */
export const createFlags = flags.create | flags.exclusive;

/** Reads the body of a NEWLINK or DELLINK message. */
export function decodeLink(body: Uint8Array): Link {
  requireHeader(body, 16);
  const attributes = new Attributes(body, 16);
  const linkFlags = u32At(body, 8);
  const info = attributes.nested(ifla.linkInfo);
  const kind = info?.text(infoKind);
  const data = () => info?.nested(infoData);
  const peerIndex = attributes.u32(ifla.link);
  const master = attributes.u32(ifla.master);
  return {
    index: i32At(body, 4),
    name: attributes.text(ifla.name) ?? "",
    mac: attributes.mac(ifla.address),
    mtuBytes: attributes.u32(ifla.mtu) ?? 0,
    up: (linkFlags & iffUp) !== 0,
    carrier: attributes.u8(ifla.carrier) === 1,
    kind,
    peerIndex: peerIndex === 0 ? undefined : peerIndex,
    peerNetnsId: attributes.i32(ifla.linkNetnsId),
    master: master === 0 ? undefined : master,
    group: attributes.u32(ifla.group) ?? 0,
    txQueueLen: attributes.u32(ifla.txQueueLen) ?? 0,
    flags: linkFlags,
    vlanId: readVlanId(kind, data),
    mode: readMode(kind, data),
  };
}
