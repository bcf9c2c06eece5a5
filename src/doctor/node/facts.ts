import type { Family, Prefix } from "#ip";
import type { Link } from "#linux";
import type { BridgeInfo, OvsPort } from "#ovsdb";

/** A NIC of a Pod on this node, according to the agent's record. */
export interface PodNic {
  readonly ifName: string;
  /** `namespace/name` of its network. */
  readonly network: string;
  readonly addresses: readonly {
    readonly address: Prefix;
    readonly gateway: string | undefined;
    readonly pool: string;
  }[];
  /** Names of its interfaces on the node. */
  readonly hostLinks: readonly string[];
  /** Whether its network gave it an interface: a plugin of others may hand over a device without one. */
  readonly hasLink: boolean;
  /** Its bridge; undefined if the NIC is not on Open vSwitch. */
  readonly bridge: string | undefined;
  /** The node's routing table with the routes to the Pod; undefined if no coordinator runs for the NIC. */
  readonly hostRuleTable: number | undefined;
}

/** A Pod of the node with a sandbox. */
export interface PodFacts {
  /** `namespace/name` */
  readonly pod: string;
  readonly netnsPath: string;
  readonly nics: readonly PodNic[];
}

/** A network on a bridge that Pods can use. */
export interface NetworkFacts {
  readonly name: string;
  readonly bridge: string;
  /** The VLANs that its Pods send in, 0 for untagged frames; undefined for all (a trunk). */
  readonly vlans: readonly number[] | undefined;
}

/** What the checks of a node look at, read at one time. */
export interface NodeFacts {
  readonly node: string;
  /** The install namespace; commands of fixes need it. */
  readonly namespace: string;
  readonly now: Date;
  readonly cni: {
    readonly confDir: string;
    /** File names of the network configurations that a runtime would read. */
    readonly configs: readonly string[];
    readonly binDir: string;
    /** Path of the shim; undefined if it is not installed. */
    readonly shim: string | undefined;
    /** Paths of executables that we installed and that somebody has replaced. */
    readonly foreignExecutables: readonly string[];
  };
  /** The container runtime's configuration; absent if none was found. */
  readonly runtime?:
    | {
        readonly file: string;
        readonly confDir: string;
        readonly binDirs: readonly string[];
        /** Which of the two are set in the file. The others are the runtime's defaults. */
        readonly says: { readonly confDir: boolean; readonly binDirs: boolean };
      }
    | undefined;
  /** The socket that the plugins are told to use; absent if they are not installed. */
  readonly agentSocket?: { readonly path: string; readonly error: string | undefined } | undefined;
  /** The agent's token; absent if none is mounted. */
  readonly token?: { readonly path: string; readonly issued: Date; readonly expires: Date } | undefined;
  /** The AppArmor profile that confines this process, without its mode; absent if it is unconfined. */
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
    /** net.ipv4.conf.<interface>.rp_filter of `all` and of the Pods' interfaces on the node. */
    readonly rpFilters: ReadonlyMap<string, number>;
  };
  /** Absent if NetworkManager does not run. */
  readonly networkManager?: { readonly confDir: string; readonly leavesPods: boolean } | undefined;
  /** Absent if systemd-networkd does not run. */
  readonly networkd?: { readonly confDir: string; readonly keepsForeign: boolean } | undefined;
  readonly networks: readonly NetworkFacts[];
  /** Bridges that must be on this node. Other bridges of `networks` may be on other nodes only. */
  readonly bridges: readonly string[];
  readonly pods: readonly PodFacts[];
  /** NICs whose interface is not in their Pod any more. */
  readonly lostNics: readonly { readonly pod: string; readonly ifName: string }[];
  /** Gateways that were probed from a Pod, with the outcome. */
  readonly gateways: readonly {
    readonly gateway: string;
    readonly pool: string;
    readonly pod: string;
    readonly ifName: string;
    readonly answered: boolean;
  }[];
}

/** The bridges that networks name or that Pods are on. */
export function bridgesOf({ networks, pods }: Pick<NodeFacts, "networks" | "pods">): ReadonlySet<string> {
  const used = pods.flatMap(({ nics }) => nics.flatMap(({ bridge }) => bridge ?? []));
  return new Set([...networks.map(({ bridge }) => bridge), ...used]);
}
