import type { PodAffinityTerm } from "kubernetes-types/core/v1.d.ts";
import { quantityValue } from "../api/index.ts";
import { conditionOf, isActive, type Node, type Pod } from "./kinds.ts";
import { matchesLabels } from "./selector.ts";

/** The node for a Pod, or kube-scheduler's message that says why there is none. */
type Placement = { readonly kind: "node"; readonly name: string } | { readonly kind: "none"; readonly why: string };

/**
 * Places one Pod: the node that passes every check and has the fewest Pods, the first by name among equals. `pods` are all
 * Pods of the cluster; those without a node are left out. Of affinity, only what keeps Pods apart is looked at. Pure.
 */
export function place(pod: Pod, nodes: readonly Node[], pods: readonly Pod[]): Placement {
  const placed = pods.filter((other) => other.spec.nodeName !== undefined && isActive(other));
  const judged = nodes.map((node) => {
    const others = placed.filter((other) => other.spec.nodeName === node.metadata.name);
    const refused = refusal(pod, node, others) ?? antiAffinityRefusal(pod, node, nodes, placed);
    return { name: node.metadata.name, pods: others.length, refused };
  });
  const [best] = judged
    .filter(({ refused }) => refused === undefined)
    .sort((a, b) => a.pods - b.pods || a.name.localeCompare(b.name));
  if (best !== undefined) return { kind: "node", name: best.name };
  if (nodes.length === 0) return { kind: "none", why: "no nodes available to schedule pods" };
  const counted = [...Map.groupBy(judged, ({ refused }) => refused)].map(([why, all]) => `${all.length} ${why}`);
  return { kind: "none", why: `0/${nodes.length} nodes are available: ${counted.sort().join(", ")}.` };
}

/** Why this node cannot run the Pod, in the words of kube-scheduler. */
function refusal(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  if (conditionOf(node, "Ready") !== "True") return "node(s) had untolerated taint {node.kubernetes.io/not-ready: }";
  if (node.spec?.unschedulable === true) return "node(s) were unschedulable";
  const { labels = {} } = node.metadata;
  const selected = Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  if (!selected) return "node(s) didn't match Pod's node affinity/selector";
  const { allocatable = {} } = node.status ?? {};
  if (others.length >= quantityValue(allocatable["pods"] ?? "")) return "Too many pods";
  for (const [resource, wanted] of requestsOf(pod)) {
    const used = others.reduce((sum, other) => sum + (requestsOf(other).get(resource) ?? 0), 0);
    if (used + wanted > quantityValue(allocatable[resource] ?? "0")) return `Insufficient ${resource}`;
  }
  return undefined;
}

/** Anti-affinity works both ways: Pods that this Pod excludes, and Pods that exclude it. */
function antiAffinityRefusal(pod: Pod, node: Node, nodes: readonly Node[], placed: readonly Pod[]): string | undefined {
  const domainOf = (name: string | undefined, key: string) =>
    nodes.find(({ metadata }) => metadata.name === name)?.metadata.labels?.[key];
  const shares = (other: Pod, key: string) => {
    const domain = node.metadata.labels?.[key];
    return domain !== undefined && domainOf(other.spec.nodeName, key) === domain;
  };
  for (const other of placed) {
    if (antiTerms(pod).some((term) => covers(term, pod, other) && shares(other, term.topologyKey)))
      return "node(s) didn't match pod anti-affinity rules";
    if (antiTerms(other).some((term) => covers(term, other, pod) && shares(other, term.topologyKey)))
      return "node(s) didn't satisfy existing pods anti-affinity rules";
  }
  return undefined;
}

function antiTerms({ spec }: Pod): readonly PodAffinityTerm[] {
  return spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
}

function covers({ labelSelector }: PodAffinityTerm, owner: Pod, other: Pod): boolean {
  return owner.metadata.namespace === other.metadata.namespace && matchesLabels(labelSelector, other.metadata.labels);
}

/**
 * What all containers of a Pod ask for of the nodes' extended resources, which are whole numbers. CPU and memory are not
 * rationed: the containers are processes of one machine.
 */
function requestsOf(pod: Pod): ReadonlyMap<string, number> {
  const total = new Map<string, number>();
  for (const { resources } of pod.spec.containers) {
    for (const [name, quantity] of Object.entries({ ...resources?.limits, ...resources?.requests }))
      if (name.includes("/")) total.set(name, (total.get(name) ?? 0) + quantityValue(quantity));
  }
  return total;
}
