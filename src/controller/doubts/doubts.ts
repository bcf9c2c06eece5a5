import { annotations, type SpiderIPAddress, writeDoubts } from "#api";
import type { Signal } from "#base";
import { type ControllerOptions, hasReason, KeySource, keyOf, nodes, type Pod, type Source, type Store } from "#kube";
import { isHeld } from "#ledger";
import { podFact } from "../collector/facts.ts";
import type { Deps } from "../deps.ts";

/** An agent releases claims within a second. It may not know about a contradiction that lasts longer than this. */
const graceMs = 5_000;
/** A doubt that persists is repeated: first after this long, … */
const againMs = 30_000;
/** … then less and less often, up to this. */
const againMsMax = 3_600_000;
/** Doubts due within this time go into one message, since each message replaces the one before, read or not. */
const togetherMs = 1_000;
/** Claims in one message; the rest goes into the next. */
const toldMax = 32;

/** The two sources that are compared: claims and Pods. */
interface DoubtsOptions {
  readonly claims: Store<SpiderIPAddress>;
  /** The Pod with that key, as the watch shows it. */
  readonly pod: (key: string) => Pod | undefined;
}

/** A holder of an address about whom claim and Pod contradict each other. */
interface Doubt {
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  /** How often the agent was told. */
  told: number;
  /** When it is told next. */
  dueMs: number;
}

/**
 * Finds claims without their Pod, and Pods that have lost a claim. Only the node's agent may act on these, but a thousand
 * agents cannot list their claims often. The leader, which watches all claims and Pods, therefore tells an agent which claims to
 * check, by an annotation on its Node, which the agent watches anyway. A doubt causes a check and nothing else.
 */
export class Doubts {
  readonly #deps: Deps;
  readonly #options: DoubtsOptions;
  /** By node, then by the claim's name. */
  readonly #doubts = new Map<string, Map<string, Doubt>>();
  /** Nodes of which claims are in doubt. */
  readonly #doubted = new KeySource();

  constructor(deps: Deps, options: DoubtsOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Notes that the claim's Pod may be gone although its node's agent is there to release it. */
  about({ metadata: { name }, spec }: SpiderIPAddress): void {
    const { node, podNamespace: namespace = "", podName = "", podUID: podUid = "" } = spec;
    if (node === undefined) return;
    const ofNode = this.#doubts.get(node) ?? new Map<string, Doubt>();
    this.#doubts.set(node, ofNode);
    if (ofNode.get(name)?.podUid === podUid) return;
    const dueMs = this.#deps.clock.monotonicMs() + graceMs;
    ofNode.set(name, { namespace, podName, podUid, told: 0, dueMs });
    this.#doubted.add(node, graceMs);
  }

  /** The controller that annotates Nodes. Its keys are node names. */
  controller(): ControllerOptions {
    const { clock, log } = this.#deps;
    const claims: Source = {
      synced: (o) => this.#options.claims.synced(o),
      subscribe: () =>
        this.#options.claims.changed((_name, now, before) => {
          if (before !== undefined && before.spec.podUID !== now?.spec.podUID && isHeld(before)) this.about(before);
        }),
    };
    return {
      name: "doubts",
      clock,
      log,
      sources: [this.#doubted, claims],
      reconcile: (node, o) => this.#tell(node, o),
    };
  }

  async #tell(node: string, o: Signal): Promise<{ readonly afterMs?: number }> {
    const { clock, client, log } = this.#deps;
    const ofNode = this.#doubts.get(node) ?? new Map<string, Doubt>();
    for (const [name, doubt] of ofNode) if (!this.#isDoubtful(node, name, doubt)) ofNode.delete(name);
    if (ofNode.size === 0) {
      this.#doubts.delete(node);
      return {};
    }
    const nowMs = clock.monotonicMs();
    const dueWithin = (ms: number) => [...ofNode].filter(([, { dueMs }]) => dueMs <= nowMs + ms);
    if (dueWithin(0).length > 0) {
      const due = dueWithin(togetherMs).slice(0, toldMax);
      const names = due.map(([name]) => name);
      const body = { metadata: { annotations: { [annotations.doubts]: writeDoubts(names, clock.wall()) } } };
      try {
        await client.patch(nodes, { name: node }, { kind: "merge", body }, { ...o, subresource: "status" });
      } catch (error) {
        if (!hasReason(error, "NotFound")) throw error;
        this.#doubts.delete(node); // From now on the collector handles its claims.
        return {};
      }
      log.info({ node, claims: names }, "claims and Pods disagree: the node's agent is asked to look");
      for (const [, doubt] of due) doubt.dueMs = nowMs + Math.min(againMsMax, againMs * 2 ** doubt.told++);
    }
    const nextMs = Math.min(...[...ofNode.values()].map(({ dueMs }) => dueMs));
    return { afterMs: Math.max(0, nextMs - clock.monotonicMs()) };
  }

  /** True if the claim exists without its Pod, or the Pod without its claim. */
  #isDoubtful(node: string, name: string, { namespace, podName, podUid }: Doubt): boolean {
    const claim = this.#options.claims.get(name);
    const isClaimed = claim !== undefined && isHeld(claim) && claim.spec.node === node && claim.spec.podUID === podUid;
    const pod = this.#options.pod(keyOf({ namespace, name: podName }));
    const { kind } = podFact(pod, podUid);
    if (isClaimed) return kind === "gone" || kind === "replaced";
    // Claims may come and go while the Pod's sandbox is being set up.
    return kind === "alive" && pod?.spec?.nodeName === node && (pod.status?.podIPs ?? []).length > 0;
  }
}
