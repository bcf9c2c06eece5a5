/**
 * The Linux kernel, as this product needs it: network namespaces, netlink (links, addresses, routes, rules, neighbours,
 * nf_tables), ethtool, sysctls, packet sockets and the ARP and NDP codecs. Calls are synchronous and short (under a
 * millisecond); what is slow in the kernel is asynchronous and says so. Starts no process.
 *
 * It will not do policy: which addresses, names and tables are used is the caller's decision. Imports `#ip` and `#base`.
 * `#ovsdb`, the plugins, the agent and the lab may import it.
 */

import { SpiderError } from "#base";
import type { Family, Ip, Prefix } from "#ip";

// Signatures first; each moves to its file as it is written.

/** A system call or netlink request that the kernel refused. `code` is the errno's name (`EEXIST`). The message names what was attempted on which object, then the kernel's own text. */
export declare class LinuxError extends SpiderError {
  readonly errno: number;
  /** The kernel's extended acknowledgement, where it sent one. */
  readonly extendedText: string | undefined;
}

/** Identity of a namespace. A path is only a hint: it may be mounted anew over another namespace. */
export interface NetnsId {
  readonly device: bigint;
  readonly inode: bigint;
}

export declare class Netns implements Disposable {
  private constructor();
  readonly path: string;
  readonly id: NetnsId;
  /** Netlink of this namespace; its socket is made at first use. */
  get rtnl(): Rtnl;
  /** Runs `act` with the calling thread inside. Synchronous by type: anything asynchronous would leak the namespace. */
  enter<T>(act: () => T extends PromiseLike<unknown> ? never : T): T;
  [Symbol.dispose](): void;
}
/** Throws LinuxError ENOENT where the path is absent, SpiderError NOT_A_NETNS where it is anything but a network namespace. */
export declare function openNetns(path: string): Netns;
/** The namespace in which this process was started. Never disposed. */
export declare function hostNetns(): Netns;
/** Makes a new namespace, bound to `path` (the file is created). For tests and the lab. */
export declare function createNetns(path: string): Netns;
/** Unmounts and removes; a path that is gone is success. */
export declare function deleteNetns(path: string): void;
/** undefined where the path is absent; throws NOT_A_NETNS like openNetns. */
export declare function readNetnsId(path: string): NetnsId | undefined;
export declare function sameNetns(a: NetnsId, b: NetnsId): boolean;

/** An interface by name or by index. Names cost one small request each, once per batch. */
export type LinkRef = string | number;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** Lower-case, colons; undefined where the link has no Ethernet address. */
  readonly mac: string | undefined;
  readonly mtuBytes: number;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  readonly carrier: boolean;
  /** `veth`, `bridge`, `macvlan`, …; undefined for hardware and loopback. */
  readonly kind: string | undefined;
  /** IFLA_LINK: the other end of a veth or the parent of a macvlan, as an index of *its* namespace. */
  readonly peerIndex: number | undefined;
  /** Set where that other end is in another namespace. */
  readonly peerNetnsId: number | undefined;
  /** Index of the bridge or bond that it belongs to. */
  readonly master: number | undefined;
  readonly group: number;
  readonly txQueueLen: number;
  /** IFF_* bits. */
  readonly flags: number;
  /** macvlan/ipvlan mode, VLAN id, bond mode, VXLAN id, … where the kind has them. */
  readonly vlanId: number | undefined;
}

export interface VethSpec {
  readonly name: string;
  readonly mtuBytes?: number;
  /** Random and locally administered where absent; always set explicitly so that udev leaves it alone. */
  readonly mac?: string;
  readonly up?: boolean;
  /** Keeps the kernel from giving this end an IPv6 link-local address. */
  readonly addrGenModeNone?: boolean;
  readonly peer: {
    readonly name: string;
    /** The peer is created there directly; absent: beside the first end. */
    readonly netns?: Netns;
    readonly mac?: string;
    readonly mtuBytes?: number;
    readonly up?: boolean;
  };
}
export interface VethEnd {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
}
export interface VethPair extends VethEnd {
  readonly peer: VethEnd;
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mtuBytes?: number;
  readonly mac?: string;
  readonly newName?: string;
  readonly txQueueLen?: number;
  readonly group?: number;
  readonly addrGenModeNone?: boolean;
  /** `null` takes it out of its bridge or bond. */
  readonly master?: LinkRef | null;
  /** Moves it there. */
  readonly netns?: Netns;
}

/** Any other link kind. */
export interface LinkSpec {
  readonly name: string;
  readonly kind: LinkKind;
  readonly mtuBytes?: number;
  readonly mac?: string;
  readonly up?: boolean;
  readonly addrGenModeNone?: boolean;
  readonly master?: LinkRef;
  /** Where the new link is put; its parent stays here. */
  readonly netns?: Netns;
}
export type LinkKind =
  | { readonly kind: "bridge" | "dummy" | "ifb" }
  | { readonly kind: "macvlan"; readonly parent: LinkRef; readonly mode: "private" | "vepa" | "bridge" | "passthru" }
  | { readonly kind: "ipvlan"; readonly parent: LinkRef; readonly mode: "l2" | "l3" | "l3s" }
  | { readonly kind: "vlan"; readonly parent: LinkRef; readonly id: number }
  | {
      readonly kind: "vxlan";
      readonly id: number;
      readonly parent?: LinkRef;
      readonly remote?: Ip;
      readonly port?: number;
    }
  | { readonly kind: "bond"; readonly mode: number; readonly options?: Readonly<Record<string, number>> };

export interface Address {
  readonly link: number;
  readonly address: Prefix;
  readonly peer: Prefix | undefined;
  readonly scope: number;
  /** IFA_F_* bits. */
  readonly flags: number;
  /** Duplicate address detection is still running or has failed. */
  readonly tentative: boolean;
}

export interface RouteSpec {
  readonly dst: Prefix;
  readonly gw?: Ip;
  readonly dev?: LinkRef;
  readonly src?: Ip;
  /** Default: link where there is no gateway, else global. */
  readonly scope?: "global" | "site" | "link" | "host" | "nowhere" | number;
  /** Default 254, main. */
  readonly table?: number;
  readonly metric?: number;
  readonly protocol?: number;
  /** The gateway is reachable on `dev` whatever the other routes say. */
  readonly onlink?: boolean;
  readonly type?: "unicast" | "blackhole" | "unreachable" | "prohibit";
}
export interface Route {
  readonly dst: Prefix;
  readonly gw: Ip | undefined;
  /** Index; undefined for a multipath or unreachable route. */
  readonly dev: number | undefined;
  readonly src: Ip | undefined;
  readonly scope: number;
  readonly table: number;
  readonly metric: number | undefined;
  readonly protocol: number;
  readonly type: number;
  readonly onlink: boolean;
  /** Next hops of a multipath route; else empty. */
  readonly nextHops: readonly { readonly gw: Ip | undefined; readonly dev: number }[];
}

export interface RuleSpec {
  readonly family: Family;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly fwmark?: number;
  /** Default: all bits. */
  readonly fwmask?: number;
  readonly iif?: string;
  readonly oif?: string;
  readonly table: number;
  /** Preference; kernel-chosen where absent. */
  readonly pref?: number;
}
export interface Rule {
  readonly family: Family;
  readonly from: Prefix | undefined;
  readonly to: Prefix | undefined;
  readonly fwmark: number | undefined;
  readonly fwmask: number | undefined;
  readonly iif: string | undefined;
  readonly oif: string | undefined;
  readonly table: number;
  readonly pref: number;
}

export interface Neighbour {
  readonly ip: Ip;
  readonly mac: string | undefined;
  readonly dev: number;
  /** NUD_* bits. */
  readonly state: number;
  readonly permanent: boolean;
}

/** Per-interface settings as the kernel reports them (RTM_GETNETCONF): cheaper than reading the sysctl files. */
export interface Netconf {
  readonly forwarding: boolean;
  /** IPv4 only. */
  readonly rpFilter: number | undefined;
  readonly proxyNeighbours: boolean;
  readonly ignoreRoutesWithLinkdown: boolean;
}

/** What one request of a batch tolerates: codes that count as success. */
export interface Tolerance {
  readonly tolerate?: readonly string[];
}

/** Collects requests; all go to the kernel in one send, in order. An operation that fails does not stop the later ones. */
export interface Batch {
  setLink(link: LinkRef, change: LinkChange, options?: Tolerance): void;
  deleteLink(link: LinkRef, options?: Tolerance): void;
  addAddress(
    link: LinkRef,
    address: Prefix,
    options?: Tolerance & { readonly nodad?: boolean; readonly scope?: number },
  ): void;
  deleteAddress(link: LinkRef, address: Prefix, options?: Tolerance): void;
  addRoute(route: RouteSpec, options?: Tolerance & { readonly replace?: boolean }): void;
  deleteRoute(route: RouteSpec, options?: Tolerance): void;
  addRule(rule: RuleSpec, options?: Tolerance): void;
  deleteRule(rule: RuleSpec, options?: Tolerance): void;
  /** Permanent; replaces an entry that is there. */
  setNeighbour(link: LinkRef, ip: Ip, mac: string, options?: Tolerance): void;
  deleteNeighbour(link: LinkRef, ip: Ip, options?: Tolerance): void;
}

/** Netlink of one namespace. Synchronous; each method is also an operation of `batch` where it changes something. */
export declare class Rtnl implements Batch, Disposable {
  private constructor();
  /** Sends all in one message. Throws the first failure (LinuxError); `details.failures` has the texts of all. */
  batch(build: (batch: Batch) => void): void;

  links(): readonly Link[];
  link(link: LinkRef): Link | undefined;
  createVeth(spec: VethSpec): VethPair;
  /** Several pairs in one send, all or none. */
  createVeths(specs: readonly VethSpec[]): readonly VethPair[];
  createLink(spec: LinkSpec): void;
  setLink(link: LinkRef, change: LinkChange, options?: Tolerance): void;
  /** Synchronous: about 24 ms for a veth. The ADD and DEL paths use deleteLinksLater. */
  deleteLink(link: LinkRef, options?: Tolerance): void;
  /** Off the main thread, with others that wait; names that are gone are success. */
  deleteLinksLater(names: readonly string[]): Promise<void>;

  addresses(filter?: { readonly link?: LinkRef; readonly family?: Family }): readonly Address[];
  addAddress(
    link: LinkRef,
    address: Prefix,
    options?: Tolerance & { readonly nodad?: boolean; readonly scope?: number },
  ): void;
  deleteAddress(link: LinkRef, address: Prefix, options?: Tolerance): void;

  /** Default: table main. `table: 0` is every table. */
  routes(filter: { readonly family: Family; readonly table?: number; readonly link?: LinkRef }): readonly Route[];
  addRoute(route: RouteSpec, options?: Tolerance & { readonly replace?: boolean }): void;
  deleteRoute(route: RouteSpec, options?: Tolerance): void;
  /** What the kernel would use now; undefined where it has no route. */
  routeGet(dst: Ip, options?: { readonly from?: Ip; readonly mark?: number }): Route | undefined;

  rules(family: Family): readonly Rule[];
  addRule(rule: RuleSpec, options?: Tolerance): void;
  deleteRule(rule: RuleSpec, options?: Tolerance): void;

  neighbours(filter: { readonly family: Family; readonly link?: LinkRef }): readonly Neighbour[];
  setNeighbour(link: LinkRef, ip: Ip, mac: string, options?: Tolerance): void;
  deleteNeighbour(link: LinkRef, ip: Ip, options?: Tolerance): void;

  netconf(link: LinkRef, family: Family): Netconf | undefined;
  [Symbol.dispose](): void;
}

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
