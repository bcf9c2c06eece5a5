/** What the checks of a cluster look at. A part that does not exist or that the caller may not read is absent or empty. */
export interface ClusterFacts {
  readonly now: Date;
  /** Kinds of which the caller may not read something: what depends on it was not examined. */
  readonly unread: readonly string[];
  /** The Pods of agents and controllers. */
  readonly processes: readonly {
    readonly namespace: string;
    readonly pod: string;
    /** Its DaemonSet or Deployment, as `kubectl` names it: `daemonset/spiderpool-agent`. */
    readonly workload: string;
    readonly container: string;
    readonly image: string;
    /** The image in the workload's Pod template. */
    readonly wantedImage: string;
  }[];
  /** The release's workloads, by namespace and kind: one that was deleted is named without Pods. */
  readonly workloads: readonly {
    readonly namespace: string;
    readonly kind: "daemonset" | "deployment";
    /** Undefined: there is none, though the namespace has the other kind. */
    readonly name: string | undefined;
    /** The Helm release of the namespace's workloads; undefined: not Helm's. */
    readonly release: string | undefined;
    readonly replicas: number | undefined;
    /** Its Pods that are not being deleted. */
    readonly pods: readonly { readonly name: string; readonly node: string; readonly ready: boolean }[];
  }[];
  /** The install namespaces with the level of Pod Security that they enforce; "" if they enforce none. */
  readonly namespaces: readonly { readonly name: string; readonly enforces: string }[];
  /** The webhooks' serving certificates. */
  readonly certificates: readonly {
    readonly namespace: string;
    readonly secret: string;
    readonly from: Date;
    readonly until: Date;
  }[];
  /** Pods that a node cannot give a network, in the order of their names. */
  readonly waiting: readonly {
    readonly namespace: string;
    readonly pod: string;
    readonly node: string;
    /** What the newest attempt said. */
    readonly said: string;
  }[];
  /** The ConfigMap of Cilium in which cni-exclusive is on; undefined if none is. */
  readonly ciliumExclusive: { readonly namespace: string; readonly name: string } | undefined;
}
