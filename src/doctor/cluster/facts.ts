/** All that the checks of a cluster look at. A part that may not be read, or isn't there, is absent or empty. */
export interface ClusterFacts {
  readonly now: Date;
  /** Our workloads' Pods. */
  readonly processes: readonly {
    readonly namespace: string;
    readonly pod: string;
    /** DaemonSet or Deployment that it belongs to, as `kubectl` names it: `daemonset/spiderpool-agent`. */
    readonly workload: string;
    readonly container: string;
    readonly image: string;
    /** What the workload says its Pods should run. */
    readonly wantedImage: string;
  }[];
  /** The install namespaces with the level of Pod Security that they enforce; "" where they enforce none. */
  readonly namespaces: readonly { readonly name: string; readonly enforces: string }[];
  /** Serving certificates of the webhooks. */
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
  /** Cilium's cni-exclusive, where Cilium is installed. */
  readonly ciliumExclusive: boolean | undefined;
}
