import type { Ip } from "#ip";
import type { Netns } from "../netns.ts";
import type { LinkRef } from "./request.ts";

/** An interface as the kernel describes it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Lower-case, colons; undefined if the link has no Ethernet address. */
  readonly mac: string | undefined;
  readonly mtuBytes: number;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  readonly carrier: boolean;
  /** `veth`, `bridge`, `macvlan`, …; undefined for hardware and loopback. */
  readonly kind: string | undefined;
  /** The other end of a veth or the parent of a macvlan, as an index of *its* namespace. */
  readonly peerIndex: number | undefined;
  /** Set if that link is in another namespace. */
  readonly peerNetnsId: number | undefined;
  /** Index of the bridge or bond that it belongs to. */
  readonly master: number | undefined;
  readonly group: number;
  readonly txQueueLen: number;
  /** IFF_* bits. */
  readonly flags: number;
  /** 802.1Q tag of a link of kind `vlan`. */
  readonly vlanId: number | undefined;
  /** Mode of a link of kind `macvlan` or `ipvlan`; undefined for every other kind. */
  readonly mode: string | undefined;
}

/** A veth pair to be made. Both ends get one transmit and one receive queue. */
export interface VethSpec {
  readonly name: string;
  readonly mtuBytes?: number;
  /** Always set explicitly, so that udev leaves it alone. @default a random, locally administered one */
  readonly mac?: string;
  readonly up?: boolean;
  /** Keeps the kernel from giving this end an IPv6 link-local address and from its multicast. */
  readonly addrGenModeNone?: boolean;
  /** Takes every packet, as the port of a switch does: a switch that finds it so has nothing to change. */
  readonly promiscuous?: boolean;
  readonly peer: {
    readonly name: string;
    /** The peer is made there directly; absent: beside the first end. */
    readonly netns?: Netns;
    readonly mac?: string;
    /** @default that of the first end */
    readonly mtuBytes?: number;
    readonly up?: boolean;
  };
}

/** One end of a veth pair, as its own namespace knows it. */
export interface VethEnd {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
}

/** A veth pair that was just made: this end, and its peer, which may be in another namespace. */
export interface VethPair extends VethEnd {
  readonly peer: VethEnd;
}

/** A link of any other kind to be made. */
export interface LinkSpec {
  readonly name: string;
  readonly kind: LinkKind;
  readonly mtuBytes?: number;
  readonly mac?: string;
  readonly up?: boolean;
  readonly addrGenModeNone?: boolean;
  readonly master?: LinkRef;
  /** The namespace of the kind's `parent`; absent: the new link's own. */
  readonly parentNetns?: Netns;
}

/** What `Rtnl.tryBeside` is to make: a link in another namespace whose parent is here, and pairs. */
export interface BesideSpec {
  readonly child?: { readonly spec: LinkSpec; readonly netns: Netns } | undefined;
  readonly veths: readonly VethSpec[];
}

/** What of it was made. */
export interface MadeBeside {
  readonly child: boolean;
  /** Undefined if there is none. */
  readonly pairs: readonly VethPair[] | undefined;
}

/** The kind (IFLA_INFO_KIND), with the settings that only this kind has. */
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
      /** UDP; default 4789. */
      readonly port?: number;
    }
  /** Options by their names in sysfs (`bondOptionNames`). */
  | { readonly kind: "bond"; readonly mode: number; readonly options?: Readonly<Record<string, BondValue>> };

/** The kernel's number; a MAC address for `ad_actor_system`; IPv4 addresses for `arp_ip_target`. */
export type BondValue = number | string | readonly Ip[];

/** What to change about a link. Absent fields stay as they are. */
export interface LinkChange {
  readonly up?: boolean;
  readonly promiscuous?: boolean;
  readonly mtuBytes?: number;
  readonly mac?: string;
  readonly newName?: string;
  readonly txQueueLen?: number;
  readonly group?: number;
  /** Takes effect before the link goes up in the same change. False: the kernel's default, from the next time that it goes up. */
  readonly addrGenModeNone?: boolean;
  /** The link's own `net.ipv4.conf.*.rp_filter`, without a file below /proc/sys. */
  readonly rpFilter?: number;
  /** The link's own `net.ipv4.conf.*.arp_notify`: neighbours learn of a MAC address that is changed later. */
  readonly arpNotify?: boolean;
  /** `null` takes it out of its bridge or bond. */
  readonly master?: LinkRef | null;
  /** Moves it there. */
  readonly netns?: Netns;
}
