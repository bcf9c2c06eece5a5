import type { Ip, Prefix } from "#ip";
import type { Link, Rule } from "#linux";

/** What one namespace holds, as far as it matters here. Interfaces go by their names. */
export interface Side {
  readonly links: readonly LinkState[];
  readonly addresses: readonly { readonly dev: string; readonly address: Prefix }[];
  readonly routes: readonly RouteState[];
  readonly rules: readonly Pick<Rule, "family" | "from" | "fwmark" | "table" | "pref">[];
  /** The permanent ones. */
  readonly neighbours: readonly NeighbourState[];
}

/** A link as the plan of the coordinator reads it. */
export type LinkState = Pick<Link, "index" | "name" | "mac" | "up" | "flags" | "txQueueLen" | "peerIndex"> &
  Partial<Pick<Link, "kind">>;

/** A neighbour as the plan of the coordinator reads it. `mac` is undefined if the kernel knows none. */
export interface NeighbourState {
  readonly dev: string;
  readonly ip: Ip;
  readonly mac: string | undefined;
}

/** A route as the plan of the coordinator reads it: device names in place of indices. */
export interface RouteState {
  readonly dst: Prefix;
  readonly dev: string;
  readonly gw: Ip | undefined;
  readonly src: Ip | undefined;
  readonly table: number;
  /** The gateway is reached although no other route leads to it, as in Pods of Calico. Absent: no. */
  readonly onlink?: boolean;
}

/** By which way the node would send to an address of the Pod. */
export interface Lookup {
  readonly ip: Ip;
  /** The node's address that it would use. */
  readonly src: Ip | undefined;
  /** Index of the node's interface. */
  readonly dev: number | undefined;
  /** Without a gateway: the node would ask for the address's MAC address itself. */
  readonly onLink: boolean;
}

/** Everything that the plan depends on besides the settings. */
export interface Observed {
  readonly containerId: string;
  /** The Pod's interface that the call is about. */
  readonly ifName: string;
  readonly pod: Side & {
    /** rp_filter of `all`, of `default` and of each link, by name. */
    readonly rpFilters: ReadonlyMap<string, number>;
    /** New links of the Pod have no IPv6. */
    readonly ipv6Off: boolean;
    readonly replyMarks: boolean;
  };
  /** Only the link that leads to the Pod, where there is one, and what goes by it. */
  readonly host: Side & {
    /** The link takes no part in IPv6, as each that is yet to be made. False if the Pod's interface has no IPv6 either. */
    readonly ipv6Off: boolean;
  };
  /** The node's addresses by which Pods may reach it, see node-addresses.ts. */
  readonly nodeAddresses: readonly Ip[];
  /** For the addresses of `ifName`. */
  readonly lookups: readonly Lookup[];
}

const linkLocal6 = 0xfe80n << 112n;
const multicast6 = 0xff00n << 112n;

/** An address that other hosts than the link's own could know: neither link-local nor multicast nor loopback. */
export function isUsable(ip: Ip): boolean {
  if (ip.family === 4) {
    const top = ip.value >>> 24;
    return top !== 127 && top < 224 && ip.value >>> 16 !== 0xa9fe;
  }
  const linkLocal = ip.value >> 118n === linkLocal6 >> 118n;
  return ip.value > 1n && !linkLocal && ip.value < multicast6;
}

/** The addresses of an interface that count. */
export function usableAddresses({ addresses }: Side, dev: string): readonly Ip[] {
  return addresses.filter((one) => one.dev === dev && isUsable(one.address.ip)).map((one) => one.address.ip);
}
