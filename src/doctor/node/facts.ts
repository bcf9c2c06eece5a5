import type { Family, Prefix } from "#ip";
import type { Link } from "#linux";
import type { BridgeInfo, OvsPort } from "#ovsdb";

/** A Pod's NIC on this node, as its record has it. */
export interface PodNic {
  readonly ifName: string;
  /** `namespace/name` of its network. */
  readonly network: string;
  readonly addresses: readonly {
    readonly address: Prefix;
    readonly gateway: string | undefined;
    readonly pool: string;
  }[];
  /** The node's ends of its interfaces. */
  readonly hostLinks: readonly string[];
  /** Of a NIC on Open vSwitch. */
  readonly bridge: string | undefined;
  /** The table of the node in which the Pod's routes are; undefined if nobody coordinates the NIC. */
  readonly hostRuleTable: number | undefined;
}

/** A Pod of the node whose sandbox is there. */
export interface PodFacts {
  /** `namespace/name` */
  readonly pod: string;
  readonly netnsPath: string;
  readonly nics: readonly PodNic[];
}

/** A network on a bridge that Pods may ask for. */
export interface NetworkFacts {
  readonly name: string;
  readonly bridge: string;
  /** VLANs that its Pods send in: 0 is untagged; undefined: all (a trunk). */
  readonly vlans: readonly number[] | undefined;
}

/** All that the checks of a node look at, read at one time. */
export interface NodeFacts {
  readonly node: string;
  /** The install namespace, for commands. */
  readonly namespace: string;
  readonly now: Date;
  readonly cni: {
    readonly confDir: string;
    /** Configurations by file name, as a runtime reads them. */
    readonly configs: readonly string[];
    readonly binDir: string;
    /** The shim, where it is installed. */
    readonly shim: string | undefined;
    /** What we installed under our names and is no longer what we installed. */
    readonly foreignExecutables: readonly string[];
  };
  /** The container runtime's configuration; absent: none was found. */
  readonly runtime?:
    | {
        readonly file: string;
        readonly confDir: string;
        readonly binDirs: readonly string[];
        /** Which of the two the file says; the other is the runtime's default. */
        readonly says: { readonly confDir: boolean; readonly binDirs: boolean };
      }
    | undefined;
  /** The agent's socket for the plugins, as they are told of it; absent: they are not installed. */
  readonly agentSocket?: { readonly path: string; readonly error: string | undefined } | undefined;
  /** The agent's own token; absent: none is mounted. */
  readonly token?: { readonly path: string; readonly issued: Date; readonly expires: Date } | undefined;
  /** The profile that confines the process that asks, without its mode; absent: unconfined. */
  readonly appArmor?: string | undefined;
  readonly ovs: {
    readonly endpoint: string;
    readonly error: string | undefined;
    readonly bridges: readonly BridgeInfo[];
    readonly ports: readonly OvsPort[];
  };
  readonly host: {
    readonly links: readonly Link[];
    readonly addresses: readonly { readonly dev: string; readonly address: Prefix }[];
    readonly defaultRoutes: readonly { readonly dev: string; readonly gateway: string; readonly family: Family }[];
    readonly rules: readonly { readonly family: Family; readonly pref: number; readonly table: number }[];
    /** net.ipv4.conf.<interface>.rp_filter, of `all` and of the node's ends of Pods' interfaces. */
    readonly rpFilters: ReadonlyMap<string, number>;
  };
  /** Absent: NetworkManager doesn't run. */
  readonly networkManager?: { readonly confDir: string; readonly leavesPods: boolean } | undefined;
  /** Absent: systemd-networkd doesn't run. */
  readonly networkd?: { readonly confDir: string; readonly keepsForeign: boolean } | undefined;
  readonly networks: readonly NetworkFacts[];
  /** Bridges that this node is said to have; others of `networks` may be on other nodes only. */
  readonly bridges: readonly string[];
  readonly pods: readonly PodFacts[];
  /** Gateways that were asked for from a Pod. */
  readonly gateways: readonly {
    readonly gateway: string;
    readonly pool: string;
    readonly pod: string;
    readonly ifName: string;
    readonly answered: boolean;
  }[];
}

/** The bridges that networks name or Pods are on. */
export function bridgesOf({ networks, pods }: Pick<NodeFacts, "networks" | "pods">): ReadonlySet<string> {
  const used = pods.flatMap(({ nics }) => nics.flatMap(({ bridge }) => bridge ?? []));
  return new Set([...networks.map(({ bridge }) => bridge), ...used]);
}
