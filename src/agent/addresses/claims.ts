import type { Clock, Logger, Signal } from "#base";
import type { PodRef } from "#cni";
import { claimName } from "#ip";
import { fromStore, isPodUid, KeySource, keyOf, type Pod, retry, runController, type Store } from "#kube";
import { type AuditWatcher, type Claim, claimKey, type Intents, isTakenOver, type Ledger } from "#ledger";
import { podState } from "../cluster/pods.ts";
import { hasMac } from "../sandboxes/macs.ts";
import { isSandboxThere, type Records, recordedResult, type SandboxRecord } from "../sandboxes/records.ts";
import type { Returned } from "./returned.ts";

/**
 * How many looks apart two audits of this node's claims are. The first audit comes after a random part of that. A leak is found
 * and checked again within a minute. Audits are rarer in large clusters and if the API server takes longer for the list: with
 * 1,000 nodes and 60,000 claims a list takes 40 ms of its time, and all audits together need a twentieth of a processor.
 */
const auditEveryMs = { looks: 1.5, max: 3_600_000, smallListMs: 5, perListMs: 20 };
/** How long the mirror of a static Pod without sandbox must be missing until the Pod counts as gone. */
const missingMsMax = 600_000;
/** When the sandbox of a Pod that was deleted by force counts as ended. It has no record, and its DEL may never come. */
const unseenMsMax = 60_000;
/** How many Pods without claims are remembered whose sandboxes the runtime has removed. */
const takenDownMax = 1_000;

/** The sources that are compared (ledger, records, Pods), and how often. */
export interface ClaimsOptions {
  readonly ledger: Ledger;
  /** The ledger's. */
  readonly intents: Intents;
  readonly records: Records;
  readonly pods: Store<Pod>;
  readonly returned: Pick<Returned, "begin" | "check">;
  /** Called for contradictions between claims and Pods. */
  readonly fault?: (kind: "claim-without-pod" | "wrong-uid") => void;
  /** Called for claims that nobody needs and that are released. */
  readonly leaked?: NonNullable<AuditWatcher["leaked"]>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How many nodes there are that make audits. */
  readonly nodes: () => number;
  /** The time between the two looks at suspected claims. */
  readonly lookEveryMs: number;
  /** A random number between 0 and 1, so that agents that start together do not list together. @default Math.random */
  readonly random?: () => number;
}

/**
 * Ends claims whose Pod and sandbox are gone. A DEL of a running Pod leaves its claims alone; they are released here when the Pod
 * has ended. It is level-triggered: what happened while the agent was away is found when it is back.
 */
export class ClaimsReconciler {
  readonly #options: ClaimsOptions;
  /**
   * Since when Pods with claims are missing that may have a sandbox all the same (static Pods, Pods of a former system), by name
   * and UID.
   */
  readonly #missingSinceMs = new Map<string, ReadonlyMap<string, number>>();
  /** UIDs of Pods of a former system whose sandbox the runtime has removed. */
  readonly #takenDown = new Set<string>();
  /** UIDs of the claims that the last look missed in the ledger: one that is in quarantine as long as its node is silent is told once. */
  #missed: ReadonlySet<string> = new Set();
  /** Pods whose claims are to be looked at again. */
  readonly #poked = new KeySource();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** To be called when the runtime has removed a sandbox of the Pod. `recorded`: whether we had made it. */
  removed(pod: PodRef, { recorded }: { readonly recorded: boolean }): void {
    if (!recorded) {
      this.#takenDown.add(pod.uid);
      const [oldest = ""] = this.#takenDown;
      if (this.#takenDown.size > takenDownMax) this.#takenDown.delete(oldest);
    }
    this.#poked.add(keyOf(pod));
  }

  run(o: Signal): Promise<void> {
    const { pods, clock, log } = this.#options;
    return runController(
      {
        name: "claims",
        clock,
        log,
        sources: [fromStore(pods), this.#poked],
        reconcile: (key, signal) => this.#reconcile(key, signal),
      },
      o,
    );
  }

  /** Reads the claims that the records name, after a start. Then makes audits until the signal aborts. */
  async recallAndAudit({ signal }: Signal): Promise<void> {
    const { ledger, intents, records, pods, returned, clock, lookEveryMs, random = Math.random } = this.#options;
    // Read before the first call is served, because a DEL removes its record even if the API server is away.
    const known = records.list();
    intents.note(known.flatMap(claimKeys));
    // Until it has succeeded no ADD gets an address.
    await retry((o) => ledger.recall(known.flatMap(claimNames), o), { signal, clock, retryable: () => true });
    await pods.synced({ signal });
    const checked = Promise.withResolvers<void>();
    const auditing = async () => {
      await checked.promise;
      for (const { spec } of ledger.claims()) this.#poked.add(`${spec.podNamespace}/${spec.podName}`);
      for (let waitMs = random() * lookEveryMs * auditEveryMs.looks; ; ) {
        await clock.sleep(waitMs, { signal });
        waitMs = await retry((o) => this.#audit(o), { signal, clock });
      }
    };
    await Promise.all([returned.begin({ signal }, checked.resolve), auditing()]);
  }

  /** Like an audit, for claims of these names. */
  async inspect(names: readonly string[], { signal }: Signal): Promise<void> {
    const { ledger, pods } = this.#options;
    await Promise.all([ledger.recalled({ signal }), pods.synced({ signal })]);
    await this.#compare((watcher) => ledger.inspect(names, watcher), { signal });
  }

  /** Ends claims that nobody needs, and lets those be made again that somebody else deleted. Returns when to look again. */
  async #audit(o: Signal): Promise<number> {
    const { ledger, nodes, lookEveryMs } = this.#options;
    let tookMs = 0;
    const listed = (ms: number) => {
      tookMs = ms;
    };
    await this.#compare((watcher) => ledger.audit({ ...watcher, listed }), o);
    const { looks, max, smallListMs, perListMs } = auditEveryMs;
    return Math.min(max, Math.max(lookEveryMs * looks, (tookMs - smallListMs) * nodes() * perListMs));
  }

  async #compare(look: (watcher: Signal & AuditWatcher) => Promise<void>, o: Signal): Promise<void> {
    const { pods, fault, leaked, log, lookEveryMs } = this.#options;
    const suspected = ({ spec }: Claim) => {
      const isThere = pods.get(`${spec.podNamespace}/${spec.podName}`) !== undefined;
      fault?.(isThere ? "wrong-uid" : "claim-without-pod");
    };
    let again: Promise<unknown> = Promise.resolve();
    const missing = (claims: readonly Claim[]) => {
      const news = claims.filter(({ uid }) => !this.#missed.has(uid)).map(({ name }) => name);
      if (news.length > 0) log.warn({ claims: news }, "the ledger does not have claims of this node any more");
      this.#missed = new Set(claims.map(({ uid }) => uid));
      again = Promise.all([...new Set(claims.map(({ spec }) => spec.podUID ?? ""))].map((uid) => this.#check(uid, o)));
      again.catch(() => {});
    };
    await look({ ...o, apartMs: lookEveryMs, suspected, missing, ...(leaked && { leaked }) });
    await again;
  }

  /** Whether a claim of this node is still needed: its Pod lives, or a sandbox has the address. */
  inUse({ name, spec }: Claim): boolean {
    const { pods, records } = this.#options;
    const podUid = spec.podUID ?? "";
    if (!pods.isSynced) return true;
    const pod = pods.get(`${spec.podNamespace}/${spec.podName}`);
    if (podState(pod, podUid) === "alive" || this.#endsElsewhere(spec, pod)) return true;
    return (
      this.hasSandbox(podUid) || records.list().some((one) => isSandboxThere(one) && claimNames(one).includes(name))
    );
  }

  /**
   * Whether there is a sandbox of the Pod, other than the one with ID `except`. Until its DEL it uses its addresses.
   */
  hasSandbox(podUid: string, except?: string): boolean {
    return this.#sandboxesOf(podUid, except).length > 0;
  }

  /** Whether a sandbox of the Pod has a NIC with this MAC address. */
  hasMac(podUid: string, mac: string): boolean {
    return this.#sandboxesOf(podUid).some((record) => hasMac(record, mac));
  }

  /** Whether the Pod has a former system's sandbox. Without a record, only its DEL or the Pod's absence shows its end. */
  #endsElsewhere(spec: Claim["spec"], pod: Pod | undefined): boolean {
    const podUid = spec.podUID ?? "";
    return isTakenOver(spec) && pod !== undefined && isPodUid(pod, podUid) && !this.#takenDown.has(podUid);
  }

  #sandboxesOf(podUid: string, except?: string): readonly SandboxRecord[] {
    return this.#options.records
      .list()
      .filter((one) => one.pod?.uid === podUid && one.containerId !== except && isSandboxThere(one));
  }

  async #check(podUid: string, o: Signal): Promise<void> {
    const { records, returned } = this.#options;
    for (const record of records.list().filter(({ pod }) => pod?.uid === podUid)) await returned.check(record, o);
  }

  /** Releases what the Pod of this key no longer needs. */
  async #reconcile(podKey: string, o: Signal): Promise<{ readonly afterMs?: number }> {
    const { ledger, pods, clock } = this.#options;
    const pod = pods.get(podKey);
    const missingSinceMs = new Map<string, number>();
    let afterMs: number | undefined;
    for (const claim of ledger.claimsNamed(podKey)) {
      const podUid = claim.spec.podUID ?? "";
      const state = podState(pod, podUid);
      if (state === "alive") continue;
      if (this.hasSandbox(podUid)) {
        // A Pod's object should outlive its sandbox. If not, this node may have been away, and others may have acted.
        if (pod?.metadata.uid !== podUid && state === "dead") await this.#check(podUid, o);
        continue;
      }
      if (this.#endsElsewhere(claim.spec, pod)) continue;
      const patienceMs = this.#patienceMs(claim.spec, state);
      if (patienceMs > 0) {
        const sinceMs = this.#missingSinceMs.get(podKey)?.get(podUid) ?? clock.monotonicMs();
        missingSinceMs.set(podUid, sinceMs);
        const leftMs = sinceMs + patienceMs - clock.monotonicMs();
        if (leftMs > 0) {
          afterMs = Math.min(leftMs, afterMs ?? leftMs);
          continue;
        }
      }
      const seen =
        pod === undefined ? "the Pod is gone" : `Pod ${pod.metadata.uid} is ${pod.status?.phase ?? "terminating"}`;
      ledger.release(claim, { why: "Pod and sandbox are gone", evidence: [seen] });
    }
    if (missingSinceMs.size > 0) this.#missingSinceMs.set(podKey, missingSinceMs);
    else this.#missingSinceMs.delete(podKey);
    return afterMs === undefined ? {} : { afterMs };
  }

  /** How long a Pod that does not live must be missing until its claim is released: 0 if no sandbox of it can be left. */
  #patienceMs(spec: Claim["spec"], state: "dead" | "unknown"): number {
    if (state === "unknown") return missingMsMax;
    return isTakenOver(spec) && !this.#takenDown.has(spec.podUID ?? "") ? unseenMsMax : 0;
  }
}

/** The claims of the addresses in the record's results. */
function claimNames(record: SandboxRecord): readonly string[] {
  return claimKeys(record).map(({ name }) => name);
}

/** The same claims, each with the key of its holder. */
function claimKeys({ pod, networks }: SandboxRecord): readonly { readonly key: string; readonly name: string }[] {
  return networks.flatMap((network) => {
    const ips = (recordedResult(network)?.ips ?? []).map(({ address }) => address.ip);
    return ips.map((ip) => ({ key: claimKey(pod?.uid ?? "", network.ifName, ip.family), name: claimName(ip) }));
  });
}
