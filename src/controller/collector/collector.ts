import { annotations, isLost, type SpiderIPAddress, type SpiderIPPool, spiderIPAddresses, spiderIPPools } from "#api";
import type { Signal } from "#base";
import {
  type ControllerOptions,
  hasReason,
  KeySource,
  type KubeObject,
  type Pod,
  runController,
  type Source,
  type Store,
  subjectOf,
} from "#kube";
import { formatAction, foundInUse } from "#ledger";
import type { Deps } from "../deps.ts";
import { applyAction } from "./apply.ts";
import { type Action, decide, type Observation, type Policy, type Verdict } from "./decide.ts";
import { removeEndpoint } from "./endpoints.ts";
import { agentFact, nodeFact } from "./facts.ts";
import { Observer, type Probe } from "./observe.ts";
import { Since } from "./since.ts";
import { type AgentSelector, agentsAreTold, claimsOfPod, collectorStores } from "./stores.ts";

/** A round looks at this many claims at a time, with pauses, so that other work goes on: 300,000 claims take ten seconds. */
const roundStep = { claims: 250, apartMs: 8 } as const;

/** The time between the two observations that must agree. */
export const observationsApartMs = 30_000;

interface CollectorOptions {
  /** With `claimIndexes`. */
  readonly claims: Store<SpiderIPAddress>;
  readonly pools: Store<SpiderIPPool>;
  readonly agent: AgentSelector;
  readonly policy: Policy;
  /** How often every claim is looked at, even if no watch reports a change. */
  readonly intervalMs: number;
  readonly workers: number;
  /** Decides and logs, but changes nothing. */
  readonly dryRun: boolean;
  /** @default always answers `unknown` */
  readonly probe?: Probe;
  /** Called, possibly often, for a claim whose Pod is gone although an agent is there to release it. */
  readonly doubt?: (claim: SpiderIPAddress) => void;
}

type Decided = Extract<Verdict, { readonly kind: "act" }>;

/** The first of two observations of one version of one claim. */
interface First {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly action: Action;
  readonly atMs: number;
}

/** What the collector would do with one claim. */
export interface Candidate {
  readonly ip: string;
  readonly pool: string;
  readonly action: Action;
  readonly why: string;
  readonly evidence: readonly string[];
}

/**
 * Releases claims whose Pod has ended and whose node can no longer release them itself. A ready node with its agent does that on
 * its own. Any action here takes two observations, a fresh read from the API server, and a write that is bound to
 * exactly the version that was read.
 */
export class Collector {
  readonly #deps: Deps;
  readonly #options: CollectorOptions;
  readonly #stores: ReturnType<typeof collectorStores>;
  readonly #observer: Observer;
  readonly #first = new Map<string, First>();
  /** Names of claims that are to be looked at. */
  readonly #looked: KeySource;
  /** True once the first round has started: it covers all changes up to then. */
  #hasBegun = false;

  /** Created for each term of the leader, without knowledge of earlier terms. */
  constructor(deps: Deps, options: CollectorOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#stores = collectorStores(deps, options.agent);
    this.#looked = new KeySource((o) => options.claims.synced(o));
    const probe = options.probe ?? (async () => "unknown" as const);
    this.#observer = new Observer({ ...deps, ...options, stores: this.#stores, probe, since: new Since() });
  }

  /** Runs until the term ends. */
  async run(o: Signal): Promise<void> {
    const { pods, nodes } = this.#stores;
    const ends = this.#follow();
    try {
      await Promise.all([pods.run(o), nodes.run(o), runController(this.#controller(), o), this.#rounds(o)]);
    } finally {
      for (const end of ends) end();
    }
  }

  /** The stores that the collector watches itself. */
  get stores(): readonly Pick<Store<KubeObject>, "relist">[] {
    return Object.values(this.#stores);
  }

  /** True once the cluster's Pods and Nodes have been read. */
  get isSynced(): boolean {
    return this.#stores.pods.isSynced && this.#stores.nodes.isSynced;
  }

  /** Resolves when the cluster's Pods and Nodes have been read. */
  async synced(o: Signal): Promise<void> {
    await Promise.all([this.#stores.pods.synced(o), this.#stores.nodes.synced(o)]);
  }

  /**
   * Nodes that are ready with their agent, and nodes whose claims were given up by a forced removal and whose agent has not
   * started yet; each with the closure of the ledger for which its agent has done its part.
   */
  agents(): readonly { readonly node: string; readonly done: string | undefined }[] {
    const { pods, nodes } = this.#stores;
    const told = agentsAreTold(pods);
    return nodes.list().flatMap((node) => {
      const { name, annotations: noted } = node.metadata;
      const agent = agentFact(pods.by("agent", name), { told });
      const done = noted?.[annotations.ledgerClosed];
      if (nodeFact(node).kind !== "ready" || (agent.kind === "missing" && !isLost(done))) return [];
      return { node: name, done };
    });
  }

  /** How many nodes the cluster has. */
  get nodes(): number {
    return this.#stores.nodes.list().length;
  }

  /** How many claims wait for their second observation. */
  get pending(): number {
    return this.#first.size;
  }

  /** The Pod of that key as the watch shows it, trimmed to what decisions need. */
  pod(key: string): Pod | undefined {
    return this.#stores.pods.get(key);
  }

  /** Looks at every claim now. */
  rescan(): void {
    for (const { metadata } of this.#options.claims.list()) this.#looked.add(metadata.name);
  }

  /** What the collector would do, judging by the watches alone; at most `max` candidates. Changes nothing. */
  async candidates(max: number, o: Signal): Promise<readonly Candidate[]> {
    const found: Candidate[] = [];
    for (const claim of this.#options.claims.list()) {
      const verdict = decide(await this.#observer.observe(claim, this.#observer.watched, o), this.#options.policy);
      if (verdict.kind === "keep") continue;
      const { action, why, evidence } = verdict;
      found.push({ ip: claim.spec.address, pool: claim.spec.pool, action, why, evidence });
      if (found.length >= max) break;
    }
    return found;
  }

  #controller(): ControllerOptions {
    const { claims, workers } = this.#options;
    const { pods, nodes } = this.#stores;
    const names = (objects: readonly SpiderIPAddress[]) => objects.map(({ metadata }) => metadata.name);
    return {
      name: "collector",
      clock: this.#deps.clock,
      log: this.#deps.log,
      workers,
      sources: [
        this.#looked,
        changesOf(pods, ({ metadata }) => names(claimsOfPod(claims, metadata))),
        changesOf(nodes, (before, now) => {
          // Every node sends heartbeats every few minutes: only a change of state matters.
          return nodeFact(now).kind === nodeFact(before).kind ? [] : names(claims.by("node", before.metadata.name));
        }),
      ],
      reconcile: (name, o) => this.#reconcile(name, o),
    };
  }

  /** Follows since when nodes and agents are in their state, even if no claim depends on them now. */
  #follow(): readonly (() => void)[] {
    const { pods, nodes } = this.#stores;
    const { claims } = this.#options;
    return [
      nodes.changed((name) => this.#observer.follow(name)),
      pods.changed((_key, now, before) => {
        const agent = now ?? before;
        const node = agent?.spec?.nodeName;
        if (agent?.metadata.labels === undefined || node === undefined) return; // Trimmed Pods keep labels only if they are agents.
        this.#observer.follow(node);
        if (before === undefined) return;
        for (const { metadata } of claims.by("node", node)) this.#looked.add(metadata.name);
      }),
      claims.changed((name, now, before) => {
        if (before !== undefined && before.metadata.uid !== now?.metadata.uid)
          this.#observer.forget(before.metadata.uid);
        if (now === undefined) this.#first.delete(name);
        else if (this.#hasBegun) this.#looked.add(name);
        if (now !== undefined && before !== undefined) this.#tellConflict(now, before);
      }),
    ];
  }

  /** An agent, or a plugin that asked it for the address, found that a foreign host uses it. */
  #tellConflict({ spec }: SpiderIPAddress, before: SpiderIPAddress): void {
    const { mac, reason, until } = spec;
    const pool = this.#options.pools.get(spec.pool);
    const isConflict = spec.purpose === "Quarantine" && (mac !== undefined || reason === foundInUse);
    if (!isConflict || pool === undefined || (before.spec.mac === mac && before.spec.reason === reason)) return;
    const found =
      mac === undefined ? "was given back as in use by a host that is" : `is answered for by ${mac}, which is`;
    this.#deps.events.record(subjectOf(spiderIPPools, pool), {
      type: "Warning",
      reason: "AddressConflict",
      message: `${spec.address} ${found} none of ours: it is in quarantine until ${until}; find that host, or add the address to spec.excludeIPs`,
      cause: "AddressConflict",
    });
  }

  /** Looks at all claims, a few at a time: once the stores are filled, and in every interval from then on. */
  async #rounds({ signal }: Signal): Promise<void> {
    const { clock } = this.#deps;
    const { claims, intervalMs } = this.#options;
    const sleep = (ms: number) => clock.sleep(ms, { signal });
    try {
      await Promise.all([claims, this.#stores.pods, this.#stores.nodes].map((store) => store.synced({ signal })));
      this.#hasBegun = true;
      for (;;) {
        const all = claims.list();
        for (let from = 0; from < all.length; from += roundStep.claims) {
          for (const { metadata } of all.slice(from, from + roundStep.claims)) this.#looked.add(metadata.name);
          if (from + roundStep.claims < all.length) await sleep(roundStep.apartMs);
        }
        await sleep(intervalMs);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #reconcile(name: string, o: Signal): Promise<{ readonly afterMs?: number }> {
    const claim = this.#options.claims.get(name);
    if (claim === undefined) return {};
    const observation = await this.#observer.observe(claim, this.#observer.watched, o);
    const verdict = decide(observation, this.#options.policy);
    if (verdict.kind === "keep") {
      this.#first.delete(name);
      if (verdict.byAgent === true) this.#options.doubt?.(claim);
      return verdict.againMs === undefined ? {} : { afterMs: Math.min(verdict.againMs, this.#options.intervalMs) };
    }
    const waitMs = this.#waitMs(claim, verdict.action);
    // An administrator's order needs no second observation.
    return waitMs > 0 && !observation.forced ? { afterMs: waitMs } : this.#confirm(claim, verdict, o);
  }

  /** Milliseconds until a look may count as the second observation. */
  #waitMs({ metadata: { name, uid, resourceVersion } }: SpiderIPAddress, action: Action): number {
    const nowMs = this.#deps.clock.monotonicMs();
    const first = this.#first.get(name);
    const same = first?.uid === uid && first.resourceVersion === resourceVersion && first.action === action;
    if (!same) this.#first.set(name, { uid, resourceVersion, action, atMs: nowMs });
    return same ? first.atMs + observationsApartMs - nowMs : observationsApartMs;
  }

  /** Reads everything again from the API server, and acts if the verdict is the same. */
  async #confirm(seen: SpiderIPAddress, { action }: Decided, o: Signal): Promise<{ readonly afterMs?: number }> {
    const { client, log, clock } = this.#deps;
    const { name, uid, resourceVersion } = seen.metadata;
    const live = await client.get(spiderIPAddresses, { name }, o);
    if (live?.metadata.uid !== uid || live.metadata.resourceVersion !== resourceVersion) {
      // The watch will report the change, and both observations start over.
      this.#first.delete(name);
      return { afterMs: observationsApartMs };
    }
    const observation = await this.#observer.observe(live, this.#observer.live(o), o);
    const verdict = decide(observation, this.#options.policy);
    if (verdict.kind === "keep" || verdict.action !== action) {
      this.#first.delete(name);
      log.debug({ ip: live.spec.address, action, verdict }, "a fresh reading disagrees");
      return { afterMs: observationsApartMs };
    }
    if (this.#options.dryRun) {
      log.info({ ip: live.spec.address, action, why: verdict.why, evidence: verdict.evidence }, "would be done");
      return {};
    }
    // The endpoint goes first: if we are killed in between, the claim remains and is seen again. A new Pod writes both again.
    if (action === "release" && live.spec.purpose === "Sticky") await this.#removeEndpoint(live, o);
    try {
      await applyAction(client, live, verdict, { ...o, now: clock.wall() });
    } catch (error) {
      this.#deps.metrics.count(
        hasReason(error, "Conflict")
          ? "spiderpool_ipam_release_update_ippool_conflict_counts_total"
          : "spiderpool_ip_gc_failure_counts_total",
      );
      throw error;
    }
    this.#first.delete(name);
    this.#tell(live, verdict, observation);
    return {};
  }

  #tell(claim: SpiderIPAddress, { action, why, evidence }: Decided, observation: Observation): void {
    const { log, events, metrics } = this.#deps;
    const { address, pool } = claim.spec;
    metrics.count("spiderpool_ip_gc_actions_total", { action });
    if (action === "release") metrics.count("spiderpool_ip_gc_counts_total");
    const fact = observation.holder?.pod.fact.kind;
    if (fact === "gone") metrics.count("spiderpool_faults_total", { kind: "claim-without-pod" });
    if (fact === "replaced") metrics.count("spiderpool_faults_total", { kind: "wrong-uid" });
    log.info({ ip: address, pool, action, why, evidence, observation }, "claim collected");
    const { type, reason, done } = told[action];
    const message = formatAction(claim.spec, done, { why, evidence });
    events.record(subjectOf(spiderIPAddresses, claim), { type, reason, message });
    const object = this.#options.pools.get(pool);
    if (object !== undefined) events.record(subjectOf(spiderIPPools, object), { type, reason, message, cause: reason });
  }

  /** A sticky Pod finds its addresses through its endpoint, which is therefore removed with the last of them. */
  async #removeEndpoint(claim: SpiderIPAddress, o: Signal): Promise<void> {
    const { podNamespace: namespace = "", podName: name = "" } = claim.spec;
    const others = claimsOfPod(this.#options.claims, { namespace, name });
    if (others.some((other) => other.metadata.name !== claim.metadata.name)) return;
    await removeEndpoint(this.#deps.client, claim, o);
  }
}

/** How Events describe each action. */
const told: Readonly<
  Record<Action, { readonly type: "Normal" | "Warning"; readonly reason: string; readonly done: string }>
> = {
  release: { type: "Normal", reason: "AddressReclaimed", done: "was released" },
  quarantine: { type: "Warning", reason: "AddressQuarantined", done: "is in quarantine" },
  extend: { type: "Warning", reason: "AddressQuarantined", done: "stays in quarantine" },
  detach: { type: "Warning", reason: "AddressDetached", done: "waits for its next Pod" },
  promote: { type: "Normal", reason: "AddressPromoted", done: "belongs to its second holder" },
  "clear-next": { type: "Normal", reason: "AddressPromoted", done: "has one holder again" },
};

/**
 * The claims to look at when an object changes its state or goes. Not when an object appears: the first list of all Pods says
 * nothing new about their claims, which are looked at when they change themselves, and in each round.
 */
function changesOf<T extends KubeObject>(
  store: Store<T>,
  claimsOf: (before: T, now: T | undefined) => readonly string[],
): Source {
  return {
    synced: (o) => store.synced(o),
    subscribe: (add) =>
      store.changed((_key, now, before) => {
        for (const claim of before === undefined ? [] : claimsOf(before, now)) add(claim);
      }),
  };
}
