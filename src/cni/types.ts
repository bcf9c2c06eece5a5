import type { JsonObject, Signal, Steps } from "#base";
import type { Ip, Prefix } from "#ip";

/** The verbs that carry a network configuration. VERSION does not, and never leaves the shim. */
export const verbs = ["ADD", "DEL", "CHECK", "GC", "STATUS"] as const;
/** A command of the CNI specification that carries a configuration. */
export type Verb = (typeof verbs)[number];

/** The Pod that the runtime named in CNI_ARGS. `uid` is "" if the runtime gave none. */
export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** One interface of one container; every call of a plugin is about one. */
export interface Attachment {
  readonly containerId: string;
  readonly ifName: string;
  /** Path of the network namespace; "" if the runtime no longer has one (DEL). */
  readonly netns: string;
  readonly pod: PodRef | undefined;
  /** CNI_ARGS; a repeated key has its last value. */
  readonly args: ReadonlyMap<string, string>;
  /** Which of the Pod's networks this is; absent where others attach them. */
  readonly place?: {
    /** 0 for the default network. */
    readonly position: number;
    /** Its NetworkAttachmentDefinition as `namespace/name`; undefined if it comes from a file. */
    readonly nad: string | undefined;
  };
  /** Runs plugins that are not ours; absent outside a call of the runtime. */
  readonly run?: RunForeign;
}

/** A plugin that is not ours, with the object that it gets on stdin. */
export interface ForeignPlugin {
  readonly type: string;
  readonly config: JsonObject;
}

/**
 * Runs a plugin that is not ours for one attachment, in the runtime's own mount namespace. Returns its result at ADD, an empty
 * one for the other verbs. Throws the plugin's error, CniError 7 if there is no such plugin, CniError 11 at the call's deadline.
 */
export type RunForeign = (verb: Verb, plugin: ForeignPlugin, options: Signal) => Promise<CniResult>;

/** A plugin's configuration, as it arrives on stdin. */
export interface PluginConfig {
  readonly cniVersion: string;
  readonly name: string;
  readonly type: string;
  readonly prevResult?: CniResult;
  /** The whole object, for the plugin's own keys. */
  readonly raw: JsonObject;
}

/** One call of a plugin. GC and STATUS have no container: their Attachment fields are empty. */
export interface CniRequest extends Attachment {
  readonly verb: Verb;
  /** The file name under which the plugin was executed. For an IPAM plugin it differs from `config.type`. */
  readonly executable: string;
  /** The directories of CNI_PATH. */
  readonly path: readonly string[];
  /** Whether `netns` may be the plugin's own namespace (CNI_NETNS_OVERRIDE). */
  readonly netnsOverride: boolean;
  /** When the runtime made the call, by the monotonic clock of this node. The shim may have waited for an agent since. */
  readonly calledMs?: number;
  readonly config: PluginConfig;
}

/** A plugin's result, independent of the version that it is encoded in. Every conversion keeps the order and the indices. */
export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniIp[];
  readonly routes: readonly CniRoute[];
  readonly dns?: CniDns;
}

/** An entry of `interfaces` in a result. */
export interface CniInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtuBytes?: number;
  /** Path of the namespace; absent for the host's end. */
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciId?: string;
}

/** An entry of `ips` in a result. */
export interface CniIp {
  /** Address with its host bits and the length of its network. */
  readonly address: Prefix;
  readonly gateway?: Ip;
  /** Index into `interfaces`; absent in the result of an IPAM plugin. */
  readonly interface?: number;
}

/** An entry of `routes` in a result. The numbers are those of `ip route`. */
export interface CniRoute {
  readonly dst: Prefix;
  /** Absent: the gateway of the address of the same family. */
  readonly gw?: Ip;
  readonly mtuBytes?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

/** `dns` of a configuration or result: what belongs in resolv.conf. */
export interface CniDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/**
 * Asks, over the attachment's own link, whether anybody answers for an address. Returns the MAC address of the one that did,
 * or undefined. It may be called while the link is still being made, and then waits for the link.
 */
export type Probe = (ip: Ip, o: Signal) => Promise<string | undefined>;

/** An address, and the foreign host that answered for it. */
export interface AddressConflict {
  readonly ip: Ip;
  readonly mac: string;
}

/**
 * Address management as a plugin sees it. The ledger, static addresses, host-local and foreign executables implement it.
 * An `Ipam` is made for each call, from that call's configuration.
 */
export interface Ipam {
  /** Allocates the attachment's addresses, and registers on `steps` how that is undone. */
  allocate(attachment: Attachment, steps: Steps, probe?: Probe): Promise<CniResult>;
  /**
   * Sets an allocated address aside because another host answers for it, and allocates another one in its place. Returns all
   * addresses of the attachment. Absent if this kind of address management cannot choose addresses.
   */
  replace?(attachment: Attachment, conflict: AddressConflict, steps: Steps): Promise<CniResult>;
  /** Whether the one that answers is an earlier sandbox of the same Pod, whose DEL has not come yet. @default false */
  isOwn?(attachment: Attachment, conflict: AddressConflict): boolean;
  /** Releases the attachment's addresses. Idempotent: it succeeds if there are none. */
  release(attachment: Attachment, options: Signal): Promise<void>;
  /** Throws if an address of `got` is no longer held by the attachment. */
  check(attachment: Attachment, got: CniResult, options: Signal): Promise<void>;
}
