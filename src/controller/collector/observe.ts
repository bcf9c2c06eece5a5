import { annotations, type Settings, type SpiderIPAddress, spiderIPAddresses } from "#api";
import type { Clock, Signal } from "#base";
import { type KubeClient, keyOf, type Node, nodes, type Pod, pods, type Store } from "#kube";
import { readOwner } from "#ledger";
import { type HolderView, type Observation, type ProbeAnswer, untilLeftMs } from "./decide.ts";
import { agentFact, type HolderRef, holdersOf, nodeFact, podFact } from "./facts.ts";
import type { Since } from "./since.ts";
import { type AgentSelector, agentsAreTold, claimsOfPod, componentLabel } from "./stores.ts";

/** Probes an address in quarantine on the wire. */
export type Probe = (claim: SpiderIPAddress, o: Signal) => Promise<ProbeAnswer>;

/** Where an observation reads from: the watches at first; the API server itself before anything is done. */
interface FactSource {
  pod(ref: { readonly namespace: string; readonly name: string }): Promise<Pod | undefined> | Pod | undefined;
  node(name: string): Promise<Node | undefined> | Node | undefined;
  /** The Pods of agents on the node. */
  agents(node: string): Promise<readonly Pod[]> | readonly Pod[];
  claim(name: string): Promise<SpiderIPAddress | undefined> | SpiderIPAddress | undefined;
}

interface ObserverOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">;
  readonly stores: { readonly pods: Store<Pod>; readonly nodes: Store<Node> };
  readonly claims: Store<SpiderIPAddress>;
  readonly agent: AgentSelector;
  readonly probe: Probe;
  readonly since: Since;
}

/** Collects the facts for a decision about a claim. */
export class Observer {
  readonly #options: ObserverOptions;
  /** What the watches show. */
  readonly watched: FactSource;

  constructor(options: ObserverOptions) {
    this.#options = options;
    const { stores, claims } = options;
    this.watched = {
      pod: (ref) => stores.pods.get(keyOf(ref)),
      node: (name) => stores.nodes.get(name),
      agents: (node) => stores.pods.by("agent", node),
      claim: (name) => claims.get(name),
    };
  }

  /** Reads from the API server: by name and without `resourceVersion`, so that etcd's quorum confirms that an object is gone. */
  live(o: Signal): FactSource {
    const { client, agent } = this.#options;
    return {
      pod: (ref) => client.get(pods, ref, o),
      node: (name) => client.get(nodes, { name }, o),
      agents: async (node) => {
        const labelSelector = `${componentLabel}=${agent.component}`;
        const fieldSelector = `spec.nodeName=${node}`;
        const page = await client.list(pods, { ...o, namespace: agent.namespace, labelSelector, fieldSelector });
        return page.items;
      },
      claim: (name) => client.get(spiderIPAddresses, { name }, o),
    };
  }

  /** Everything known about the claim. Reads only objects that the claim names. */
  async observe(claim: SpiderIPAddress, from: FactSource, o: Signal): Promise<Observation> {
    const { clock, client, settings, probe } = this.#options;
    const { spec, metadata } = claim;
    const { holder, next } = holdersOf(spec);
    const nowMs = clock.wall().getTime();
    const untilSeenMs = this.#untilSeenMs(claim);
    const expired = spec.purpose === "Quarantine" && untilLeftMs({ spec, nowMs, untilSeenMs }) <= 0;
    const detached = spec.purpose === "Sticky" && spec.node === undefined;
    const { podNamespace: namespace = "", podName = "", podUID = "" } = spec;
    return {
      spec,
      forced: metadata.annotations?.[annotations.forceRelease] === metadata.uid,
      holder: holder && (await this.#holder(`${metadata.uid}`, holder, from)),
      next: next && (await this.#holder(`${metadata.uid} next`, next, from)),
      sticky: detached
        ? {
            owner: await readOwner(client, { owner: spec.owner ?? "", podName }, settings, o),
            pod: podFact(await from.pod({ namespace, name: podName }), podUID),
            successor: await this.#successor(claim, from),
          }
        : undefined,
      probe: expired ? await probe(claim, o) : "unknown",
      nowMs,
      untilSeenMs,
    };
  }

  /** To be called at every change of a node or its agent, so that a short return is not missed. */
  follow(node: string): void {
    this.#node(node, this.watched.node(node) as Node | undefined);
    this.#agent(node, this.watched.agents(node) as readonly Pod[]);
  }

  /** Forgets a claim that is gone. */
  forget(uid: string): void {
    for (const subject of [`pod/${uid}`, `pod/${uid} next`, `until/${uid}`]) this.#options.since.forget(subject);
  }

  #untilSeenMs({ metadata, spec: { until = "" } }: SpiderIPAddress): number {
    const { since, clock } = this.#options;
    return since.held(`until/${metadata.uid}`, until, clock.monotonicMs(), { usual: "" });
  }

  /** The address that a Pod of the same name has for the NIC of a kept claim. The watch shows which claim to read. */
  async #successor({ metadata, spec }: SpiderIPAddress, from: FactSource): Promise<string | undefined> {
    const { podNamespace: namespace = "", podName = "" } = spec;
    const isSuccessor = (other: SpiderIPAddress | undefined) =>
      other?.spec.purpose === "Sticky" &&
      other.spec.node !== undefined &&
      other.spec.owner === spec.owner &&
      other.spec.nic === spec.nic &&
      other.spec.address.includes(":") === spec.address.includes(":");
    for (const { metadata: other } of claimsOfPod(this.#options.claims, { namespace, name: podName })) {
      if (other.name !== metadata.name && isSuccessor(await from.claim(other.name))) return other.name;
    }
    return undefined;
  }

  async #holder(subject: string, ref: HolderRef, from: FactSource): Promise<HolderView> {
    const { since, clock } = this.#options;
    const pod = podFact(await from.pod(ref), ref.uid);
    const forMs = since.held(`pod/${subject}`, pod.kind, clock.monotonicMs(), { usual: "alive" });
    // Most Pods are alive; nothing else about them matters.
    const node = this.#node(ref.node, await from.node(ref.node));
    const agent = this.#agent(ref.node, await from.agents(ref.node));
    return { pod: { fact: pod, forMs }, node, agent };
  }

  #node(name: string, object: Node | undefined): HolderView["node"] {
    const fact = nodeFact(object);
    const nowMs = this.#options.clock.monotonicMs();
    return { fact, forMs: this.#options.since.held(`node/${name}`, fact.kind, nowMs, { usual: "ready" }) };
  }

  #agent(node: string, agents: readonly Pod[]): HolderView["agent"] {
    const { stores, clock, since } = this.#options;
    const fact = agentFact(agents, { told: agentsAreTold(stores.pods) });
    const nowMs = clock.monotonicMs();
    return { fact, forMs: since.held(`agent/${node}`, fact.kind, nowMs, { usual: "ready" }) };
  }
}
