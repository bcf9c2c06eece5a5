import type { NetworkAttachmentDefinition, Settings, SpiderIPPool, SpiderReservedIP, SpiderSubnet } from "#api";
import type { Family, IpSet } from "#ip";
import type { PoolView, WorkloadObject } from "#ipam";
import type { CoreEvent, KubeObject, Node, OwnerReference, TopController } from "#kube";
import type { Claim } from "#ledger";

/** Where the Pod is in its life. `new`: only in a manifest; `gone`: only Events and claims tell of it. */
export type PodState = "new" | "waiting" | "running" | "ended" | "gone";

/** The Pod that is asked about, stored or not. */
export interface Subject {
  readonly namespace: string;
  readonly name: string;
  /** "" where it is not stored. */
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly ownerReferences: readonly OwnerReference[];
  /** Undefined before it is scheduled. */
  readonly nodeName: string | undefined;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly hostNetwork: boolean;
  readonly state: PodState;
  readonly ips: readonly string[];
  /** What the scheduler says, where it has found no node. */
  readonly unscheduled: string | undefined;
}

/** How the release is set up, from its ConfigMap. */
export interface Installation {
  readonly namespace: string;
  /** Name of the default network; "" where each node keeps its own. */
  readonly clusterNetwork: string;
  readonly families: readonly Family[];
  readonly settings: Settings;
  /** False: no such ConfigMap was found, and these are the defaults. */
  readonly found: boolean;
}

/** Objects of a Pod's own file on which its networks may depend. */
interface Beside {
  /** They are among the facts as they are in the file; each as `Kind name`. */
  readonly counted: readonly string[];
  /** Those that the API server would refuse, and why: they are among the facts as they are in the cluster, if they are. */
  readonly refused: readonly string[];
}

/** What the API server tells of the cluster, whichever Pod is asked about. */
export interface ClusterFacts {
  readonly now: Date;
  /** Every node, by name. */
  readonly nodes: ReadonlyMap<string, Node>;
  /** Every net-attach-def, by `namespace/name`. */
  readonly nads: ReadonlyMap<string, NetworkAttachmentDefinition>;
  /** The net-attach-defs that SpiderMultusConfigs are to be made into, by `namespace/name`. */
  readonly wantedNads: ReadonlySet<string>;
  readonly pools: ReadonlyMap<string, PoolView>;
  /** Pools that cannot be used, with the sentence that says why. */
  readonly brokenPools: ReadonlyMap<string, string>;
  /** The same pools as stored, for commands that change them. */
  readonly poolObjects: ReadonlyMap<string, SpiderIPPool>;
  readonly reservations: readonly SpiderReservedIP[];
  /** The addresses of the reservations. */
  readonly reserved: (family: Family) => IpSet;
  /** Every SpiderSubnet, by name. */
  readonly subnets: ReadonlyMap<string, SpiderSubnet>;
  readonly installation: Installation;
}

/** All that the API server tells about one Pod's networks: what a diagnosis is made of. */
export interface Facts extends ClusterFacts {
  readonly pod: Subject;
  readonly namespace: KubeObject | undefined;
  /** What made the Pod, or would, where the Pod asks for pools of SpiderSubnets. */
  readonly workload: WorkloadObject | undefined;
  readonly owner: TopController | undefined;
  /** What the Pod's file has besides it. */
  readonly beside: Beside;
  /** Events on the Pod of the last hour, oldest first. */
  readonly events: readonly CoreEvent[];
}

/** The claims on addresses of the pools that matter, by pool. */
export type Usage = ReadonlyMap<string, readonly Claim[]>;
