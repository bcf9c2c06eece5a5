import { annotations, type SpiderIPAddress } from "#api";
import { keyOf, type Node, nodes, type Pod, pods, readyCondition, type Store, WatchedStore } from "#kube";
import type { Deps } from "../deps.ts";

/** How agents' Pods are found: the chart's label in the install namespace. */
export interface AgentSelector {
  readonly namespace: string;
  /** Value of `app.kubernetes.io/component`. */
  readonly component: string;
}

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

/** Index values of a claim: the Pods and the nodes that it names. */
export const claimIndexes: Readonly<Record<"pod" | "node", (claim: SpiderIPAddress) => readonly string[]>> = {
  pod: ({ spec: { podNamespace: namespace, podName, nextPodName } }) =>
    [podName, nextPodName].flatMap((name) => (name === undefined ? [] : [keyOf({ namespace, name })])),
  node: ({ spec: { node, nextNode } }) => [node, nextNode].flatMap((name) => name ?? []),
};

function trimPod(pod: Pod, isAgent: boolean): Pod {
  const { metadata, spec, status } = pod;
  const { namespace, name, uid, resourceVersion, deletionTimestamp, deletionGracePeriodSeconds, annotations } =
    metadata;
  const hashes = Object.entries(annotations ?? {}).filter(([key]) => key.startsWith("kubernetes.io/config."));
  const { phase, reason, podIPs = [] } = status ?? {};
  return {
    metadata: {
      ...{ name, uid, resourceVersion },
      ...(namespace !== undefined && { namespace }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
      ...(deletionGracePeriodSeconds !== undefined && { deletionGracePeriodSeconds }),
      ...(hashes.length > 0 && { annotations: Object.fromEntries(hashes) }),
      ...(isAgent && { labels: metadata.labels ?? {} }),
    },
    spec: {
      containers: [],
      ...(spec?.nodeName !== undefined && { nodeName: spec.nodeName }),
      ...(spec?.restartPolicy !== undefined && { restartPolicy: spec.restartPolicy }),
      ...(spec?.terminationGracePeriodSeconds !== undefined && {
        terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds,
      }),
    },
    status: {
      ...(phase !== undefined && { phase }),
      ...(reason !== undefined && { reason }),
      ...(podIPs.length > 0 && { podIPs: podIPs.slice(0, 1) }),
      ...(isAgent && { conditions: [{ type: "Ready", status: readyCondition(pod) }] }),
    },
  };
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
