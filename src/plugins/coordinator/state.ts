import type { Ip, Prefix } from "#ip";
import type { Link, Rule } from "#linux";

/** The state of one namespace, as far as the plan needs it. Interfaces are named, not numbered. */
export interface Side {
  readonly links: readonly LinkState[];
  readonly addresses: readonly { readonly dev: string; readonly address: Prefix }[];
  readonly routes: readonly RouteState[];
  readonly rules: readonly Pick<Rule, "family" | "from" | "fwmark" | "table" | "pref">[];
  /** Permanent neighbour entries only. */
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

/** The node's route to one address of the Pod, as the kernel looks it up. */
export interface Lookup {
  readonly ip: Ip;
  /** The source address that the node would use. */
  readonly src: Ip | undefined;
  /** Index of the node's interface that it leads to. */
  readonly dev: number | undefined;
  /** The route has no gateway: the node would resolve the address itself, by ARP or NDP. */
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
    /** IPv6 is disabled on new links of the Pod. */
    readonly ipv6Off: boolean;
    readonly replyMarks: boolean;
  };
  /** Of the node only the link to the Pod, if there is one, with its routes and neighbours. */
  readonly host: Side & {
    /** IPv6 is disabled on the link, as on each new one. False if the Pod's interface has no IPv6 either. */
    readonly ipv6Off: boolean;
  };
  /** The node's addresses by which Pods may reach it, see node-addresses.ts. */
  readonly nodeAddresses: readonly Ip[];
  /** One for each address of `ifName`. */
  readonly lookups: readonly Lookup[];
}

const linkLocal6 = 0xfe80n << 112n;
const multicast6 = 0xff00n << 112n;

/** Whether other hosts can use the address: it is neither link-local nor multicast nor loopback. */
export function isUsable(ip: Ip): boolean {
  if (ip.family === 4) {
    const top = ip.value >>> 24;
    return top !== 127 && top < 224 && ip.value >>> 16 !== 0xa9fe;
  }
  const linkLocal = ip.value >> 118n === linkLocal6 >> 118n;
  return ip.value > 1n && !linkLocal && ip.value < multicast6;
}

/** The addresses of an interface that other hosts can use. */
export function usableAddresses({ addresses }: Side, dev: string): readonly Ip[] {
  return addresses.filter((one) => one.dev === dev && isUsable(one.address.ip)).map((one) => one.address.ip);
}
