import type { SpiderIPAddressSpec } from "#api";
import { isPodAlive, isPodUid, isStaticPodUid, type Node, type Pod, readyCondition } from "#kube";

/** What is known of a claim's Pod. */
export type PodFact =
  | { readonly kind: "alive" }
  /** Past `Pending` without an address in its status: its network may be gone. */
  | { readonly kind: "without-addresses"; readonly phase: string }
  /** On its way out; its kubelet has `graceMs` for that. */
  | { readonly kind: "ending"; readonly how: "Terminating" | "Succeeded" | "Failed"; readonly graceMs: number }
  /** The name belongs to another Pod by now. */
  | { readonly kind: "replaced"; readonly uid: string }
  | { readonly kind: "gone" }
  /** A static Pod without its mirror: the mirror's absence says nothing about the Pod. */
  | { readonly kind: "unknowable" };

/** What is known of a claim's node. */
export type NodeFact =
  | { readonly kind: "ready" }
  /** Its kubelet speaks, and says that it is not ready. */
  | { readonly kind: "unready" }
  /** Its kubelet has not been heard of. */
  | { readonly kind: "silent" }
  /** An administrator's word that it is switched off: the taint `node.kubernetes.io/out-of-service`. */
  | { readonly kind: "out-of-service" }
  | { readonly kind: "absent" };

/** Whether the node's agent is there. `untold`: agents do not run as Pods here, so that only the node speaks for them. */
export type AgentFact = { readonly kind: "ready" } | { readonly kind: "missing" } | { readonly kind: "untold" };

const graceSDefault = 30;
const outOfService = "node.kubernetes.io/out-of-service";

/** `pod`: whatever Pod has the claim's name now. */
export function podFact(pod: Pod | undefined, uid: string): PodFact {
  const gone: PodFact = isStaticPodUid(uid) ? { kind: "unknowable" } : { kind: "gone" };
  if (pod === undefined) return gone;
  const { metadata, spec, status } = pod;
  if (!isPodUid(pod, uid)) return gone.kind === "gone" ? { kind: "replaced", uid: metadata.uid } : gone;
  const graceS = metadata.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? graceSDefault;
  const graceMs = graceS * 1_000;
  if (metadata.deletionTimestamp !== undefined) return { kind: "ending", how: "Terminating", graceMs };
  if (!isPodAlive(pod)) return { kind: "ending", how: status?.phase === "Failed" ? "Failed" : "Succeeded", graceMs };
  const { phase = "Pending", podIPs = [] } = status ?? {};
  if (podIPs.length === 0 && (phase === "Running" || phase === "Unknown")) return { kind: "without-addresses", phase };
  return { kind: "alive" };
}

/** The node of that name as it is now. */
export function nodeFact(node: Node | undefined): NodeFact {
  if (node === undefined) return { kind: "absent" };
  if (node.spec?.taints?.some(({ key }) => key === outOfService)) return { kind: "out-of-service" };
  const kinds = { True: "ready", False: "unready", Unknown: "silent" } as const;
  return { kind: kinds[readyCondition(node)] };
}

/** `agents`: the Pods of agents on the claim's node. */
export function agentFact(agents: readonly Pod[], { told }: { readonly told: boolean }): AgentFact {
  if (!told) return { kind: "untold" };
  const ready = agents.some((pod) => pod.metadata.deletionTimestamp === undefined && readyCondition(pod) === "True");
  return { kind: ready ? "ready" : "missing" };
}

/** The holder that a claim names; the second one is there while a virtual machine migrates. */
export interface HolderRef {
  readonly node: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** The holder and the second holder of a claim, as far as it names them. */
export function holdersOf(spec: SpiderIPAddressSpec): {
  readonly holder: HolderRef | undefined;
  readonly next: HolderRef | undefined;
} {
  const { node, nextNode, podNamespace: namespace = "", podName = "", podUID = "", nextPodName, nextPodUID } = spec;
  return {
    holder: node === undefined ? undefined : { node, namespace, name: podName, uid: podUID },
    next:
      nextNode === undefined
        ? undefined
        : { node: nextNode, namespace, name: nextPodName ?? "", uid: nextPodUID ?? "" },
  };
}
