import { annotations, type SpiderIPAddress } from "#api";
import { type Node, nodes, type ObjectRef, type Pod, pods, readyCondition, type Store, WatchedStore } from "#kube";
import type { Deps } from "../deps.ts";
import { once, Shared } from "../interned.ts";
import { Packed } from "../packed.ts";

/** How agents' Pods are found: the chart's label in the install namespace. */
export interface AgentSelector {
  readonly namespace: string;
  /** Value of `app.kubernetes.io/component`. */
  readonly component: string;
}

/** The label by which agents' Pods are found. */
export const componentLabel = "app.kubernetes.io/component";

/** Stands for any node in the index of agents: no node can have the name. */
const anyNode = "*";

/** The cluster's Pods and Nodes, cut down to what decides about a claim. They run while this replica leads. */
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

/** Whether agents run as Pods at all; where not, nothing can be said about one. */
export function agentsAreTold(store: Store<Pod>): boolean {
  return store.by("agent", anyNode).length > 0;
}

/** Index values of a claim: the names of the Pods, without their namespace, and of the nodes that it tells. */
export const claimIndexes: Readonly<Record<"podName" | "node", (claim: SpiderIPAddress) => readonly string[]>> = {
  podName: ({ spec: { podName, nextPodName } }) => [podName, nextPodName].flatMap((name) => name ?? []),
  node: ({ spec: { node, nextNode } }) => [node, nextNode].flatMap((name) => name ?? []),
};

/** The claims that name the Pod as their holder, first or second. `claims`: with the indexes above. */
export function claimsOfPod(claims: Store<SpiderIPAddress>, { namespace = "", name }: ObjectRef) {
  // Names with their namespaces would be 150,000 texts that only this index has.
  return claims.by("podName", name).filter(({ spec }) => spec.podNamespace === namespace);
}

/** Parts of Pods: with one spec for each node and a few states there are few different ones. */
const specs = new Shared<NonNullable<Pod["spec"]>>();
const statuses = new Shared<NonNullable<Pod["status"]>>();

/** There may be 150,000: all but the name is kept once for all that have the same. */
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
      ...{ namespace, name, uid, resourceVersion },
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
      ...(deletionGracePeriodSeconds !== undefined && { deletionGracePeriodSeconds }),
      ...(hashes.length > 0 && { annotations: Object.fromEntries(hashes) }),
      ...(isAgent && { labels: metadata.labels ?? {} }),
    },
    spec,
    status,
  };
}

/** A Pod of which only its identity is its own: flat, and made an object of objects when it is read. */
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
    // Whether it has an address is asked, not which.
    ...(podIPs.length > 0 && { podIPs: [{}] }),
    ...(ready !== undefined && { conditions: [{ type: "Ready", status: ready }] }),
  }));
}

function trimNode(node: Node): Node {
  const { name, uid, resourceVersion } = node.metadata;
  const closed = node.metadata.annotations?.[annotations.ledgerClosed];
  return {
    metadata: {
      ...{ name, uid, resourceVersion },
      ...(closed !== undefined && { annotations: { [annotations.ledgerClosed]: closed } }),
    },
    spec: { ...(node.spec?.taints !== undefined && { taints: node.spec.taints }) },
    status: { conditions: [{ type: "Ready", status: readyCondition(node) }] },
  };
}
