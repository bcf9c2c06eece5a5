import type { Signal } from "#base";

/** The value of external_ids:owner by which ports are known to be ours, also to ovs-cni itself on the same node. */
export const portOwnerTag = "ovs-cni.network.kubevirt.io";

/** Which VLANs pass a port. A trunk without ids passes all; access with tag 0 is not the same as a trunk. */
export type Vlan =
  | { readonly mode: "access"; readonly tag: number }
  | { readonly mode: "trunk"; readonly ids: readonly number[] };

/** Whose port it is: kept in the port's external_ids. `contPodUid` is "" when it is not known. */
export interface PortOwner {
  readonly contPodUid: string;
  readonly contNetns: string;
  readonly contIface: string;
}

/** The port of this name, or all ports of this network namespace and interface. */
export type PortsToDetach = string | Pick<PortOwner, "contNetns" | "contIface">;

/** A port as it is asked for. */
export interface PortSpec {
  readonly bridge: string;
  /** Name of the port and of its one interface: the host's network device. */
  readonly name: string;
  readonly vlan: Vlan;
  readonly owner: PortOwner;
  /** Interface.type. @default absent: `system`, the type of an ordinary network device */
  readonly interfaceType?: string;
  /** The OpenFlow port number wanted; Open vSwitch may give another. */
  readonly ofportRequest?: number;
  /** The logical port of OVN, kept as the interface's external_ids:iface-id. */
  readonly ifaceId?: string;
  /** The datapath with which the bridge is created if there is none. If absent, the bridge must exist. */
  readonly createBridge?: { readonly datapathType: DatapathType };
}

/** `system` is the kernel's datapath, `netdev` runs in user space. */
export type DatapathType = "system" | "netdev";

/** A mirror: what passes some ports of a bridge is copied to another. Ports go by their names. */
export interface OvsMirror {
  readonly uuid: string;
  readonly name: string;
  readonly bridge: string;
  readonly owned: boolean;
  /** Ports of which what arrives at the switch is copied. */
  readonly sources: readonly string[];
  /** Ports of which what leaves the switch is copied. */
  readonly destinations: readonly string[];
  /** Where the copies go; there is only one. */
  readonly output: string | undefined;
}

/** A port's part in a mirror. */
export interface MirrorRole {
  readonly bridge: string;
  /** Name of the mirror, on that bridge. */
  readonly mirror: string;
  /** Name of the port. */
  readonly port: string;
  readonly sides: readonly ("source" | "destination" | "output")[];
}

/** A port as it is in the database, ours or not. */
export interface OvsPort {
  readonly uuid: string;
  readonly name: string;
  readonly bridge: string;
  readonly vlan: Vlan;
  /** Absent if the port is not ours. */
  readonly owner: PortOwner | undefined;
  /** The OpenFlow port number: greater than 0 when the port works, undefined while vswitchd has not looked at it. */
  readonly ofport: number | undefined;
  /**
   * What vswitchd says is wrong. It means nothing while `ofport` is greater than 0: an error of the time before the device
   * appeared is taken back a moment after the number was given.
   */
  readonly error: string | undefined;
  readonly interfaceType: string;
  readonly ifaceId: string | undefined;
}

/** A bridge as the monitor shows it. */
export interface BridgeInfo {
  readonly name: string;
  readonly datapathType: string;
  /** Names of its ports, sorted. */
  readonly ports: readonly string[];
}

/** The connection to the database. `attempts`: how often connecting has failed since it was lost. */
export type OvsState =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected"; readonly error: string; readonly attempts: number };

/**
 * Every method that waits fails with OVSDB_UNREACHABLE when the database stays away, and with OVSDB_SILENT when a connected one
 * does not answer, for longer than the client's patience; or when the given signal aborts first.
 */
export interface Ovs {
  /**
   * Adds a port to a bridge; resolves when that is committed. The transaction is written to the socket before this
   * function returns (unless another one is under way), so that a caller's blocking work overlaps with it. A port of ours
   * that already has this name is replaced.
   *
   * @throws SpiderError OVS_BRIDGE_UNKNOWN, OVS_PORT_FOREIGN, OVSDB_REFUSED, OVSDB_UNREACHABLE
   */
  attach(spec: PortSpec, options: Signal): Promise<void>;
  /**
   * Waits until vswitchd has given an attached port its OpenFlow number: from then on it forwards packets.
   *
   * @throws SpiderError OVS_PORT_NOT_READY with vswitchd's own words when the signal aborts first
   */
  ready(name: string, options: Signal): Promise<OvsPort>;
  /**
   * Takes ports off whatever bridge holds them. Returns their names; none is success.
   *
   * @throws SpiderError OVS_PORT_FOREIGN, OVSDB_REFUSED, OVSDB_UNREACHABLE
   */
  detach(which: PortsToDetach, options: Signal): Promise<readonly string[]>;
  /**
   * Adds a port to a mirror, which is created if there is none. It succeeds if the port is in the mirror already.
   *
   * @throws SpiderError OVS_PORT_UNKNOWN, OVS_MIRROR_FOREIGN, OVS_MIRROR_TAKEN, OVSDB_REFUSED, OVSDB_UNREACHABLE
   */
  mirror(role: MirrorRole, options: Signal): Promise<void>;
  /**
   * Takes a port out of a mirror; what is gone already is success. Mirrors of ours that have no port any more go, too.
   *
   * @throws SpiderError OVSDB_REFUSED, OVSDB_UNREACHABLE
   */
  unmirror(role: MirrorRole, options: Signal): Promise<void>;
  /** Waits until the picture is that of the live database. */
  synced(options: Signal): Promise<void>;
  /** Every port by name; the last known picture while disconnected. */
  ports(): ReadonlyMap<string, OvsPort>;
  /** How many ports all bridges have together, without listing them; the last known number while disconnected. */
  readonly portCount: number;
  /** Every bridge by name; the last known picture while disconnected. */
  bridges(): ReadonlyMap<string, BridgeInfo>;
  /** Every mirror; the last known picture while disconnected. */
  mirrors(): readonly OvsMirror[];
  /** Calls `listener` after every change of ports, bridges or state, until the returned function is called. */
  changed(listener: () => void): () => void;
  readonly state: OvsState;
}
