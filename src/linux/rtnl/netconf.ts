import type { Family } from "#ip";
import { Attributes, MessageWriter, requireHeader } from "../netlink/attributes.ts";
import { afOf } from "./request.ts";

/**
 * Settings of one interface, as files below /proc/sys/net/ipv4/conf and ipv6/conf show them. Asking costs 9 µs; the files
 * cost up to 0.5 ms each on a machine with many namespaces.
 */
export interface Netconf {
  readonly forwarding: boolean;
  /** IPv4 only. */
  readonly rpFilter: number | undefined;
  /** proxy_arp or proxy_ndp. */
  readonly proxyNeighbours: boolean;
  readonly ignoreRoutesWithLinkdown: boolean;
}

const netconfa = { ifIndex: 1, forwarding: 2, rpFilter: 3, proxyNeighbours: 5, ignoreLinkdown: 6 } as const;

/** Indexes that stand for the settings of all interfaces and of future ones. */
export const netconfIndexes = { all: -1, default: -2 } as const;

/** RTM_GETNETCONF of one interface. */
export function encodeGetNetconf(family: Family, index: number): Uint8Array {
  return new MessageWriter().u8(afOf(family)).pad().putU32(netconfa.ifIndex, index).finish();
}

/** The body of RTM_NEWNETCONF. */
export function decodeNetconf(body: Uint8Array): Netconf {
  requireHeader(body, 4);
  const attributes = new Attributes(body, 4);
  return {
    forwarding: attributes.i32(netconfa.forwarding) === 1,
    rpFilter: attributes.i32(netconfa.rpFilter),
    proxyNeighbours: attributes.i32(netconfa.proxyNeighbours) === 1,
    ignoreRoutesWithLinkdown: attributes.i32(netconfa.ignoreLinkdown) === 1,
  };
}
