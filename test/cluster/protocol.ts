/** An argument of a cluster's supervisor, by which people and tools find a running cluster. */
export const clusterMarker = "spiderpool-cluster";
/** The same for a cluster that a user has started, not a suite. */
export const playMarker = "spiderpool-cluster-play";

/** A file beside the API server with a line of JSON for each request: `verb`, `objectRef` and `user`. */
export const auditLog = "/run/cluster/audit.log";

/** What a cluster is made of. */
export interface ClusterSpec {
  readonly nodes: number;
  /** Paths of the programs, by name. */
  readonly binaries: Readonly<Record<string, string>>;
  /** Paths of image archives, which every node gets. */
  readonly images: readonly string[];
  /** Path of a tar with the contents that each node's containerd begins with (image-store.ts). @default none */
  readonly imageStore?: string;
  readonly kubectl: string;
  /** The control group that contains those of the nodes. */
  readonly cgroup: string;
  /** kube-controller-manager and kube-scheduler; without them Pods need no ServiceAccount. @default true */
  readonly controllers?: boolean;
  /** Starts Open vSwitch on each node. Otherwise nodes are like those where it was never installed. @default true */
  readonly openVswitch?: boolean;
  /** Moves each node's address from eth0 to a bridge br1 at the start. @default false */
  readonly bridges?: boolean;
  /** Logs each request of agents and controller in {@link auditLog}. @default false */
  readonly audit?: boolean;
  /** Starts the program `api-proxy`, which makes the faults of faults.ts. @default false */
  readonly apiProxy?: boolean;
  /** Services of both families. @default false */
  readonly dualStack?: boolean;
  /** Manifests that exist before nodes start, each a file, a folder or JSON text. */
  readonly manifests?: readonly string[];
  /** Gets a file per program. @default a folder inside the cluster that vanishes with it */
  readonly logDirectory?: string;
}

/** The cluster's own ranges, one of each family where Services have both. */
export function clusterRanges({ dualStack = false }: Pick<ClusterSpec, "dualStack">): {
  readonly pods: string;
  readonly services: string;
} {
  const four = { pods: "10.244.0.0/16", services: "10.96.0.0/16" };
  return dualStack ? { pods: `${four.pods},fd00:10:244::/56`, services: `${four.services},fd00:10:96::/112` } : four;
}
