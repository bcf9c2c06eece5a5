import type { SpiderIPAddressSpec } from "#api";
import { assertNever } from "#base";
import type { OwnerFact } from "#ledger";
import type { AgentFact, HolderRef, NodeFact, PodFact } from "./facts.ts";
import { holdersOf } from "./facts.ts";

/** A fact, and how long it has held without interruption, by our monotonic clock. */
interface Held<T> {
  readonly fact: T;
  readonly forMs: number;
}

/** What is known about one holder of a claim. */
export interface HolderView {
  readonly pod: Held<PodFact>;
  readonly node: Held<NodeFact>;
  readonly agent: Held<AgentFact>;
}

/** Result of probing the address on the wire. `unknown`: nobody could probe. */
export type ProbeAnswer = "silent" | "answered" | "unknown";

/** What is known about a sticky address that no Pod has now. */
interface StickyFacts {
  readonly owner: OwnerFact;
  /** The Pod with the claim's Pod name. */
  readonly pod: PodFact;
  /** The address that a Pod of that name has for the same NIC instead: its endpoint lists only that one. */
  readonly successor: string | undefined;
}

/** Everything that a decision depends on: plain data, logged with each release, so that the decision can be repeated. */
export interface Observation {
  readonly spec: SpiderIPAddressSpec;
  /** The annotation `ipam.spidernet.io/force-release` names the UID of this very object. */
  readonly forced: boolean;
  readonly holder: HolderView | undefined;
  readonly next: HolderView | undefined;
  /** Set for a detached sticky claim. */
  readonly sticky: StickyFacts | undefined;
  readonly probe: ProbeAnswer;
  /** Our wall clock in ms, to compare with `until`. */
  readonly nowMs: number;
  /** How long this process has seen the present `until`, by its monotonic clock. */
  readonly untilSeenMs: number;
}

/** What can be done with a claim; each is a row in the ledger's table of transitions. */
export type Action = "release" | "quarantine" | "detach" | "promote" | "clear-next" | "extend";

/** Leave the claim alone, or act on it. Event and log show `evidence`. */
export type Verdict =
  /** `againMs`: time alone can change the verdict after this. */
  /** `byAgent`: the Pod is gone, and the node's agent is there to release the claim. */
  | { readonly kind: "keep"; readonly why: string; readonly againMs?: number; readonly byAgent?: true }
  | { readonly kind: "act"; readonly action: Action; readonly why: string; readonly evidence: readonly string[] };

/** What the configuration allows the collector to do. */
export interface Policy {
  /** `SPIDERPOOL_GC_IP_ENABLED`. Off: only holds and quarantines end, and forced releases are obeyed. */
  readonly enabled: boolean;
  /** `SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_READY_NODE_ENABLED` and `…_NOT_READY_…`. */
  readonly endingOnReadyNode: boolean;
  readonly endingOnNotReadyNode: boolean;
  /** `SPIDERPOOL_GC_ENABLE_STATELESS_RUNNING_POD_ON_EMPTY_POD_STATUS_IPS`. */
  readonly runningWithoutAddresses: boolean;
  /** `SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY`: added to the Pod's own grace period. */
  readonly delayMs: number;
}

/** How long an absence must last before it counts as evidence. */
export const limits = {
  /** A node whose Node object is absent this long is fenced: its kubelet has ended its Pods by then. */
  nodeAbsentMs: 300_000,
  /** An agent missing this long will not release anything: an upgrade or a restart takes less. */
  agentMissingMs: 600_000,
  /** The longest hold or quarantine that anybody writes. One that lasts longer was written by a clock that is ahead of ours. */
  untilMs: 600_000,
} as const;

/** Decides what happens to a claim. Pure: the same observation always gives the same verdict, also in a post-mortem. */
export function decide(seen: Observation, policy: Policy): Verdict {
  const { spec, forced } = seen;
  if (forced) return act("release", "an administrator ordered it", ["annotation force-release names this object"]);
  if (!policy.enabled && (spec.purpose === "Pod" || spec.purpose === "Sticky"))
    return keep("collection is switched off");
  switch (spec.purpose) {
    case "Pod":
      return decidePod(seen, policy);
    case "Sticky":
      return spec.node === undefined ? decideDetached(seen) : decideSticky(seen, policy);
    case "Hold":
      return expiry(seen) ?? act("release", "the hold is over", [`it was held until ${spec.until}`]);
    case "Quarantine":
      return expiry(seen) ?? endOfQuarantine(seen);
    case "Lease":
      return keep("its node gives it back");
    default:
      return assertNever(spec.purpose);
  }
}

function decidePod({ spec, holder }: Observation, policy: Policy): Verdict {
  const state = stateOf(holder, holdersOf(spec).holder, policy);
  switch (state.kind) {
    case "fenced":
      return act("release", "Pod and node are gone", state.evidence);
    case "lost":
      return act("quarantine", "the Pod has ended and its node cannot say whether its sandbox has", state.evidence);
    default:
      return state;
  }
}

function decideSticky({ spec, holder, next }: Observation, policy: Policy): Verdict {
  const refs = holdersOf(spec);
  const first = stateOf(holder, refs.holder, policy);
  const second = refs.next && stateOf(next, refs.next, policy);
  if (second !== undefined && second.kind !== "keep") {
    return act("clear-next", "the second holder has ended and its node cannot say so", second.evidence);
  }
  if (first.kind === "keep") return first;
  if (second !== undefined) return act("promote", "the first holder has ended and the second has not", first.evidence);
  return act("detach", "the Pod has ended and its node cannot say whether its sandbox has", first.evidence);
}

function decideDetached({ spec, sticky }: Observation): Verdict {
  if (sticky?.successor !== undefined) {
    const action = spec.unclean === true ? "quarantine" : "release";
    return act(action, "no next Pod would find it", [
      `Pod ${spec.podNamespace}/${spec.podName} has ${sticky.successor}`,
    ]);
  }
  if (sticky === undefined || sticky.owner.kind !== "invalid") return keep("its application may use it again");
  if (sticky.pod.kind !== "gone") return keep("there is a Pod of its name");
  const evidence = [sticky.owner.why, `there is no Pod ${spec.podNamespace}/${spec.podName}`];
  // A host may still answer for the address: it must not go to a Pod that does not probe first.
  if (spec.unclean === true)
    return act("quarantine", "its application is gone, its last holder was not seen to end", evidence);
  return act("release", "its application does not want it any more", evidence);
}

function endOfQuarantine({ spec, holder, probe }: Observation): Verdict {
  const over = `it was in quarantine until ${spec.until}`;
  if (probe === "answered")
    return act("extend", "somebody still answers for the address", [over, "a probe was answered"]);
  if (probe === "silent") return act("release", "nobody answers for the address", [over, "a probe was silent"]);
  const node = holder?.node;
  if (holder === undefined || node === undefined) return act("release", "the quarantine is over", [over]);
  const { node: name, namespace, name: pod } = holdersOf(spec).holder ?? { node: "", namespace: "", name: "" };
  if (holder.pod.fact.kind === "alive" || holder.pod.fact.kind === "without-addresses") {
    return act("extend", "its Pod still exists", [over, `Pod ${namespace}/${pod} is alive`]);
  }
  if (isFenced(node)) return act("release", "the quarantine is over and the node is gone", [over, sayNode(name, node)]);
  // An agent that came back has already cut off sandboxes whose addresses the ledger gives to others.
  if (node.fact.kind === "ready" && holder.agent.fact.kind !== "missing") {
    return act("release", "the quarantine is over and the node is back", [over, sayNode(name, node)]);
  }
  const fix = `delete Node ${name} or taint it node.kubernetes.io/out-of-service once it is off for certain`;
  return act("extend", `its node may still have the sandbox: ${fix}`, [over, sayNode(name, node)]);
}

/**
 * How much longer a hold or a quarantine lasts; 0 or less once it is over. Its writer's clock may differ from ours, and either may
 * jump: at its end probe and node state are checked, too, and no clock makes it longer than one can be.
 */
export function untilLeftMs({
  spec: { until = "" },
  nowMs,
  untilSeenMs,
}: Pick<Observation, "spec" | "nowMs" | "untilSeenMs">): number {
  return Math.min(Date.parse(until) - nowMs, limits.untilMs - untilSeenMs);
}

function expiry(seen: Observation): Verdict | undefined {
  const leftMs = untilLeftMs(seen);
  return leftMs > 0 ? keep(`until ${seen.spec.until}`, leftMs) : undefined;
}

type HolderState =
  | Extract<Verdict, { readonly kind: "keep" }>
  /** The sandbox is certainly gone. */
  | { readonly kind: "fenced"; readonly evidence: readonly string[] }
  /** The Pod is gone; nobody knows whether its sandbox is. */
  | { readonly kind: "lost"; readonly evidence: readonly string[] };

/** Whether a holder lives, must be released by its node's agent, or by the collector. */
function stateOf(view: HolderView | undefined, ref: HolderRef | undefined, policy: Policy): HolderState {
  if (view === undefined || ref === undefined) return keep("it names no node");
  const { pod, node, agent } = view;
  if (pod.fact.kind === "alive") return keep("its Pod is alive");
  const gone = pod.fact.kind === "gone" || pod.fact.kind === "replaced";
  const evidence = [sayPod(ref, pod), sayNode(ref.node, node)];
  if (isFenced(node) && (gone || pod.fact.kind === "unknowable")) return { kind: "fenced", evidence };
  if (pod.fact.kind === "unknowable") return keep("whether a static Pod runs, only its node can tell");
  if (node.fact.kind === "absent" && node.forMs < limits.nodeAbsentMs) {
    return keep("its node may come back", limits.nodeAbsentMs - node.forMs);
  }
  const agentAway = agent.fact.kind === "missing";
  const isSilent = node.fact.kind === "silent" || node.fact.kind === "absent" || node.fact.kind === "out-of-service";
  if (!isSilent && !agentAway) return { ...keep("its agent releases it"), ...(gone && { byAgent: true }) };
  if (!isSilent && agent.forMs < limits.agentMissingMs) {
    return keep("its agent may come back", limits.agentMissingMs - agent.forMs);
  }
  const proof = isSilent ? evidence : [...evidence, `its agent is missing for ${seconds(agent.forMs)}`];
  return gone ? { kind: "lost", evidence: proof } : endingState(pod, node, proof, policy);
}

/** For a Pod object that still exists: the configuration says whether it counts as ended. */
function endingState(
  pod: Held<PodFact>,
  node: Held<NodeFact>,
  evidence: readonly string[],
  policy: Policy,
): HolderState {
  const { fact, forMs } = pod;
  const allowed = node.fact.kind === "ready" ? policy.endingOnReadyNode : policy.endingOnNotReadyNode;
  if (!allowed) return keep("Pods that have ended on such a node are left alone by configuration");
  if (fact.kind === "without-addresses") {
    if (fact.phase === "Running" && !policy.runningWithoutAddresses) return keep("its Pod runs");
    return { kind: "lost", evidence };
  }
  const graceMs = (fact.kind === "ending" ? fact.graceMs : 0) + policy.delayMs;
  return forMs < graceMs ? keep("its Pod has time to end", graceMs - forMs) : { kind: "lost", evidence };
}

function isFenced({ fact, forMs }: Held<NodeFact>): boolean {
  return fact.kind === "out-of-service" || (fact.kind === "absent" && forMs >= limits.nodeAbsentMs);
}

function sayPod({ namespace, name, uid }: HolderRef, { fact, forMs }: Held<PodFact>): string {
  const what = {
    alive: "is alive",
    "without-addresses": "has no addresses in its status",
    ending: fact.kind === "ending" ? `is ${fact.how} for ${seconds(forMs)}` : "",
    replaced: fact.kind === "replaced" ? `is gone, its name belongs to Pod ${fact.uid}` : "",
    gone: "is gone",
    unknowable: "is static and its mirror is gone",
  }[fact.kind];
  return `Pod ${namespace}/${name} (${uid}) ${what}`;
}

function sayNode(name: string, { fact, forMs }: Held<NodeFact>): string {
  const what = fact.kind === "out-of-service" ? "tainted out-of-service" : fact.kind;
  return `node ${name} is ${what} for ${seconds(forMs)}`;
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1_000)} s`;
}

function keep(why: string, againMs?: number): Extract<Verdict, { readonly kind: "keep" }> {
  return { kind: "keep", why, ...(againMs !== undefined && { againMs }) };
}

function act(action: Action, why: string, evidence: readonly string[]): Verdict {
  return { kind: "act", action, why, evidence };
}
