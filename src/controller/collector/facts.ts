import type { SpiderIPAddressSpec } from "#api";
import { isPodAlive, isPodUid, isStaticPodUid, type Node, type Pod, readyCondition } from "#kube";

/** What is known about a claim's Pod. */
export type PodFact =
  | { readonly kind: "alive" }
  /** Past phase `Pending` without an address in its status: its network may be gone. */
  | { readonly kind: "without-addresses"; readonly phase: string }
  /** Terminating, within `graceMs`, or finished. */
  | { readonly kind: "ending"; readonly how: "Terminating" | "Succeeded" | "Failed"; readonly graceMs: number }
  /** Another Pod has the name now. */
  | { readonly kind: "replaced"; readonly uid: string }
  | { readonly kind: "gone" }
  /** A static Pod without its mirror: the mirror's absence says nothing about the Pod. */
  | { readonly kind: "unknowable" };

/** What is known about a claim's node. */
export type NodeFact =
  | { readonly kind: "ready" }
  /** Its kubelet reports that it is not ready. */
  | { readonly kind: "unready" }
  /** Its kubelet no longer reports. */
  | { readonly kind: "silent" }
  /** An administrator declared it shut down with the taint `node.kubernetes.io/out-of-service`. */
  | { readonly kind: "out-of-service" }
  | { readonly kind: "absent" };

/** Whether the node's agent is there. `untold`: agents do not run as Pods in this cluster, so only the node's state counts. */
export type AgentFact = { readonly kind: "ready" } | { readonly kind: "missing" } | { readonly kind: "untold" };

const graceSDefault = 30;
const outOfService = "node.kubernetes.io/out-of-service";

/** `pod`: the Pod that has the claim's Pod name now, if any. */
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

/** The state of the node; undefined: there is no Node object. */
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

/** A holder that a claim names. There is a second one while a virtual machine migrates. */
export interface HolderRef {
  readonly node: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** The first and second holder that a claim names. */
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
