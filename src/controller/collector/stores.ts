import { annotations, type SpiderIPAddress } from "#api";
import { type Node, nodes, type ObjectRef, type Pod, pods, readyCondition, type Store, WatchedStore } from "#kube";
import type { Deps } from "../deps.ts";
import { once, Shared } from "../interned.ts";
import { Packed } from "../packed.ts";

/** How to find the agents' Pods: the chart's label, in the install namespace. */
export interface AgentSelector {
  readonly namespace: string;
  /** Value of `app.kubernetes.io/component`. */
  readonly component: string;
}

/** The label that identifies agents' Pods. */
export const componentLabel = "app.kubernetes.io/component";

/** Stands for any node in the index of agents: not a valid node name. */
const anyNode = "*";

/** Stores of the cluster's Pods and Nodes, trimmed to what decisions need. They run while this replica leads. */
export function collectorStores({ client, clock, log }: Pick<Deps, "client" | "clock" | "log">, agent: AgentSelector) {
  const isAgent = ({ metadata }: Pod) =>
    metadata.namespace === agent.namespace && metadata.labels?.[componentLabel] === agent.component;
  const options = { client, clock, log };
  return {
    pods: new WatchedStore<Pod>({
      ...options,
      resource: pods,
      trim: (pod) => trimPod(pod, isAgent(pod)),
      indexes: { agent: (pod) => (isAgent(pod) ? [pod.spec?.nodeName ?? "", anyNode] : []) },
    }),
    nodes: new WatchedStore<Node>({ ...options, resource: nodes, trim: trimNode }),
  };
}

/** Whether agents run as Pods at all. If not, nothing is known about any of them. */
export function agentsAreTold(store: Store<Pod>): boolean {
  return store.by("agent", anyNode).length > 0;
}

/** Index values of a claim: the Pods (names without namespace) and nodes that it names. */
export const claimIndexes: Readonly<Record<"podName" | "node", (claim: SpiderIPAddress) => readonly string[]>> = {
  podName: ({ spec: { podName, nextPodName } }) => [podName, nextPodName].flatMap((name) => name ?? []),
  node: ({ spec: { node, nextNode } }) => [node, nextNode].flatMap((name) => name ?? []),
};

/** The claims that name the Pod as first or second holder. `claims` must have the indexes above. */
export function claimsOfPod(claims: Store<SpiderIPAddress>, { namespace = "", name }: ObjectRef) {
  // Keys with namespaces would be 150,000 strings that exist only for this index.
  return claims.by("podName", name).filter(({ spec }) => spec.podNamespace === namespace);
}

/** Trimmed specs are shared: there are only a few different ones per node. */
const specs = new Shared<NonNullable<Pod["spec"]>>();
const statuses = new Shared<NonNullable<Pod["status"]>>();

/** There may be 150,000 Pods: everything but the name is shared between Pods that have the same. */
function trimPod(pod: Pod, isAgent: boolean): Pod {
  const { metadata } = pod;
  const {
    namespace = "",
    name,
    uid,
    resourceVersion,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    annotations,
  } = metadata;
  const hashes = Object.entries(annotations ?? {}).filter(([key]) => key.startsWith("kubernetes.io/config."));
  const [spec, status] = [trimPodSpec(pod), trimPodStatus(pod, isAgent)];
  const isPlain = deletionTimestamp === undefined && hashes.length === 0 && !isAgent;
  if (isPlain) return new KeptPod(metadata, spec, status);
  return {
    metadata: {
      namespace,
      name,
      uid,
      resourceVersion,
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
      ...(deletionGracePeriodSeconds !== undefined && { deletionGracePeriodSeconds }),
      ...(hashes.length > 0 && { annotations: Object.fromEntries(hashes) }),
      ...(isAgent && { labels: metadata.labels ?? {} }),
    },
    spec,
    status,
  };
}

/** A Pod in compact form: flat fields, from which `metadata`, `spec` and `status` are built when they are read. */
class KeptPod extends Packed implements Pod {
  readonly namespace: string;
  readonly spec: NonNullable<Pod["spec"]>;
  readonly status: NonNullable<Pod["status"]>;

  constructor(metadata: Pod["metadata"], spec: NonNullable<Pod["spec"]>, status: NonNullable<Pod["status"]>) {
    super(metadata);
    this.namespace = once(metadata.namespace ?? "");
    this.spec = spec;
    this.status = status;
  }
}

function trimPodSpec({ spec }: Pod): NonNullable<Pod["spec"]> {
  const { nodeName, restartPolicy, terminationGracePeriodSeconds } = spec ?? {};
  return specs.of(JSON.stringify([nodeName, restartPolicy, terminationGracePeriodSeconds]), () => ({
    containers: [],
    ...(nodeName !== undefined && { nodeName }),
    ...(restartPolicy !== undefined && { restartPolicy }),
    ...(terminationGracePeriodSeconds !== undefined && { terminationGracePeriodSeconds }),
  }));
}

function trimPodStatus(pod: Pod, isAgent: boolean): NonNullable<Pod["status"]> {
  const { phase, reason, podIPs = [] } = pod.status ?? {};
  const ready = isAgent ? readyCondition(pod) : undefined;
  return statuses.of(JSON.stringify([phase, podIPs.length > 0, ready, reason]), () => ({
    ...(phase !== undefined && { phase }),
    ...(reason !== undefined && { reason }),
    // Only whether it has an address matters, not which.
    ...(podIPs.length > 0 && { podIPs: [{}] }),
    ...(ready !== undefined && { conditions: [{ type: "Ready", status: ready }] }),
  }));
}

function trimNode(node: Node): Node {
  const { name, uid, resourceVersion } = node.metadata;
  const closed = node.metadata.annotations?.[annotations.ledgerClosed];
  return {
    metadata: {
      name,
      uid,
      resourceVersion,
      ...(closed !== undefined && { annotations: { [annotations.ledgerClosed]: closed } }),
    },
    spec: { ...(node.spec?.taints !== undefined && { taints: node.spec.taints }) },
    status: { conditions: [{ type: "Ready", status: readyCondition(node) }] },
  };
}
