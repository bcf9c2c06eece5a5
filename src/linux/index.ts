/**
 * The Linux kernel, as this product needs it: network namespaces, netlink (links, addresses, routes, rules, neighbours,
 * nf_tables), ethtool, sysctls, packet sockets and the ARP and NDP codecs. Calls are synchronous and short (under a
 * millisecond); what is slow in the kernel is asynchronous and says so. Starts no process.
 *
 * It will not do policy: which addresses, names and tables are used is the caller's decision. Imports `#ip` and `#base`.
 * `#ovsdb`, the plugins, the agent and the lab may import it.
 */
import type { Ip } from "#ip";
import type { Netns } from "./netns.ts";
import type { Address } from "./rtnl/address.ts";
import type { Neighbour } from "./rtnl/neighbour.ts";
import type { Route } from "./rtnl/route.ts";
import type { Rule } from "./rtnl/rule.ts";
import type { Link } from "./rtnl/types.ts";

export { LinuxError } from "./errors.ts";
export { formatMac, parseMac, randomMac } from "./mac.ts";
export {
  createNetns,
  deleteNetns,
  hostNetns,
  Netns,
  type NetnsId,
  openNetns,
  readNetnsId,
  sameNetns,
} from "./netns.ts";
export type { AddAddressOptions, Address } from "./rtnl/address.ts";
export type { Batch } from "./rtnl/batch.ts";
export { bondOptionNames } from "./rtnl/link.ts";
export type { Neighbour } from "./rtnl/neighbour.ts";
export type { Netconf } from "./rtnl/netconf.ts";
export type { LinkRef, Tolerance } from "./rtnl/request.ts";
export type { AddRouteOptions, NextHop, Route, RouteFilter, RouteGetOptions, RouteSpec } from "./rtnl/route.ts";
export { mainTable } from "./rtnl/route.ts";
export { Rtnl } from "./rtnl/rtnl.ts";
export type { Rule, RuleSpec } from "./rtnl/rule.ts";
export type { Link, LinkChange, LinkKind, LinkSpec, VethEnd, VethPair, VethSpec } from "./rtnl/types.ts";

export type NetworkTopic = "links" | "addresses" | "routes" | "rules" | "neighbours";
export type NetworkEvent =
  | { readonly kind: "link"; readonly action: "new" | "delete"; readonly link: Link }
  | { readonly kind: "address"; readonly action: "new" | "delete"; readonly address: Address }
  | { readonly kind: "route"; readonly action: "new" | "delete"; readonly route: Route }
  | { readonly kind: "rule"; readonly action: "new" | "delete"; readonly rule: Rule }
  | { readonly kind: "neighbour"; readonly action: "new" | "delete"; readonly neighbour: Neighbour }
  /** The kernel dropped events: list again. */
  | { readonly kind: "overrun" };
/** Subscribed when it returns (list after that), ends when the signal aborts. The kernel's socket buffer is the only queue. */
export declare function monitor(
  netns: Netns,
  options: { readonly topics: readonly NetworkTopic[]; readonly signal: AbortSignal },
): AsyncIterable<NetworkEvent>;

/** TX checksum offload of an interface (ETHTOOL_STXCSUM). */
export declare function setTxChecksum(netns: Netns, ifname: string, on: boolean): void;
export declare function readTxChecksum(netns: Netns, ifname: string): boolean;

/** `key` with slashes, below /proc/sys: `net/ipv4/conf/eth0.100/rp_filter`. undefined where the kernel has no such key. */
export declare function readSysctl(netns: Netns, key: string): string | undefined;
/** Returns false where the kernel has no such key. */
export declare function writeSysctl(netns: Netns, key: string, value: string | number): boolean;

/** Gratuitous ARP (request form) and unsolicited neighbour advertisements for the interface's own addresses. */
export declare function announce(netns: Netns, ifname: string, addresses: readonly Ip[]): void;

/** nf_tables marks that make replies leave through the interface by which the connection came. Idempotent. */
export declare function ensureReplyMarks(netns: Netns, ifname: string, mark: number): void;
export declare function hasReplyMarks(netns: Netns, ifname: string, mark: number): boolean;

/** The signal which this process gets when its parent ends; 0 clears it. */
export declare function setParentDeathSignal(signal: NodeJS.Signals | 0): void;
/** Differs after each boot of the machine. */
export declare function bootId(): string;
