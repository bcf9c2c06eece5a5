import type { PodAffinityTerm } from "kubernetes-types/core/v1.d.ts";
import { conditionOf, isActive, type Node, type Pod } from "./kinds.ts";
import { matchesLabels, matchesNodeTerm } from "./selector.ts";

/** Where one Pod goes, or Kubernetes' sentence for why it can go nowhere. */
export type Placement =
  | { readonly kind: "node"; readonly name: string }
  | { readonly kind: "none"; readonly why: string };

/**
 * Places one Pod: the node that passes every check and has the fewest Pods, the first by name among equals. `pods` are all
 * Pods of the cluster; those without a node are left out. Pure.
 */
export function place(pod: Pod, nodes: readonly Node[], pods: readonly Pod[]): Placement {
  const placed = pods.filter((other) => other.spec.nodeName !== undefined && isActive(other));
  const on = (node: Node) => placed.filter((other) => other.spec.nodeName === node.metadata.name);
  const reasons = new Map<string, number>();
  const fitting = nodes.filter((node) => {
    const reason = refusal(pod, node, on(node)) ?? antiAffinityRefusal(pod, node, nodes, placed);
    if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    return reason === undefined;
  });
  const [best] = fitting
    .map((node) => ({ name: node.metadata.name, pods: on(node).length }))
    .sort((a, b) => a.pods - b.pods || a.name.localeCompare(b.name));
  if (best !== undefined) return { kind: "node", name: best.name };
  const counted = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  const why = nodes.length === 0 ? "no nodes available to schedule pods" : `${counted.join(", ")}.`;
  return { kind: "none", why: nodes.length === 0 ? why : `0/${nodes.length} nodes are available: ${why}` };
}

/** What this node alone has against the Pod, in the words of kube-scheduler. */
function refusal(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  if (conditionOf(node, "Ready") !== "True") return "node(s) had untolerated taint {node.kubernetes.io/not-ready: }";
  if (node.spec?.unschedulable === true) return "node(s) were unschedulable";
  if (!selects(pod, node)) return "node(s) didn't match Pod's node affinity/selector";
  const allocatable = node.status?.allocatable ?? {};
  const { pods: podsMax = "110" } = allocatable;
  if (others.length >= parseQuantity(podsMax)) return "Too many pods";
  for (const [resource, wanted] of requestsOf(pod)) {
    const used = others.reduce((sum, other) => sum + (requestsOf(other).get(resource) ?? 0), 0);
    if (used + wanted > parseQuantity(allocatable[resource] ?? "0")) return `Insufficient ${resource}`;
  }
  return undefined;
}

function selects({ spec }: Pod, { metadata }: Node): boolean {
  const labels = metadata.labels ?? {};
  if (!Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesNodeTerm(term, metadata.name, labels));
}

/** Anti-affinity counts both ways: what the Pod will not sit beside, and who will not sit beside it. */
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

function covers(term: PodAffinityTerm, owner: Pod, other: Pod): boolean {
  const namespaces = term.namespaces ?? [owner.metadata.namespace ?? ""];
  return (
    namespaces.includes(other.metadata.namespace ?? "") && matchesLabels(term.labelSelector, other.metadata.labels)
  );
}

/** What all containers of a Pod ask for together. An extended resource that has only a limit asks for that. */
function requestsOf(pod: Pod): ReadonlyMap<string, number> {
  const total = new Map<string, number>();
  for (const { resources } of pod.spec.containers) {
    for (const [name, quantity] of Object.entries({ ...resources?.limits, ...resources?.requests }))
      total.set(name, (total.get(name) ?? 0) + parseQuantity(quantity));
  }
  return total;
}

const suffixes: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A Kubernetes quantity as a number; one that cannot be read is infinite, so that nothing is placed by mistake. */
export function parseQuantity(text: string): number {
  const [, digits = "", suffix = ""] = /^([0-9.]+)([A-Za-z]*)$/.exec(text) ?? [];
  const scale = suffix === "" ? 1 : (suffixes[suffix] ?? Number.NaN);
  const value = Number(digits || Number.NaN) * scale;
  return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
}
