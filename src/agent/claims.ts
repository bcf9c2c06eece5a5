import type { Clock, Logger, Signal } from "#base";
import type { PodRef } from "#cni";
import { claimName } from "#ip";
import { fromStore, isPodUid, keyOf, type Pod, retry, runController, type Store } from "#kube";
import { type AuditWatcher, type Claim, claimKey, type Intents, isTakenOver, type Ledger } from "#ledger";
import { recordedResult } from "./chain.ts";
import { hasMac } from "./macs.ts";
import { podState } from "./pods.ts";
import { isSandboxThere, type Records, type SandboxRecord } from "./records.ts";
import type { Returned } from "./returned.ts";

/**
 * The ledger's claims of this node are compared with what is known here every one and a half looks, first after a random part
 * of that: with the second look at what is suspected, within a minute of its beginning. More seldom, the more nodes there are
 * and the longer the API server takes for the list than for one of a small cluster: where 1,000 nodes have 60,000 claims a
 * list takes 40 ms of its time, and all audits together a twentieth of a processor.
 */
const auditEveryMs = { looks: 1.5, max: 3_600_000, smallListMs: 5, perListMs: 20 };
/** A static Pod without sandbox whose mirror was missing for so long is gone; a mirror that is missing is no evidence at once. */
const missingMsMax = 600_000;
/** A Pod deleted by force leaves no record, and its DEL may never come: its sandbox counts as ended after this long. */
const unseenMsMax = 60_000;
/** Pods without claims whose sandboxes were taken down are remembered for their number only. */
const takenDownMax = 1_000;

/** The sources that are compared (ledger, records, Pods), and how often. */
export interface ClaimsOptions {
  readonly ledger: Ledger;
  /** The ledger's. */
  readonly intents: Intents;
  readonly records: Records;
  readonly pods: Store<Pod>;
  readonly returned: Pick<Returned, "begin" | "check">;
  /** Told of claims and Pods that do not agree. */
  readonly fault?: (kind: "claim-without-pod" | "wrong-uid") => void;
  /** Told of claims that nobody needs, and which are released. */
  readonly leaked?: NonNullable<AuditWatcher["leaked"]>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How many nodes make audits. */
  readonly nodes: () => number;
  /** Between the two looks at what is suspected. */
  readonly lookEveryMs: number;
  /** Between 0 and 1: agents that start together do not all list at once. @default Math.random */
  readonly random?: () => number;
}

/**
 * Ends claims whose Pod and sandbox are gone. A DEL of a living Pod leaves its claims alone; the Pod's own end, seen here,
 * releases them. Level-triggered: what was missed while the agent was away is found when it is back.
 */
export class ClaimsReconciler {
  readonly #options: ClaimsOptions;
  /**
   * By name and UID: since when a Pod with claims is missing that may have a sandbox all the same, a static one, or one of a
   * former system.
   */
  readonly #missingSinceMs = new Map<string, ReadonlyMap<string, number>>();
  /** UIDs of Pods of a former system whose sandbox the runtime has taken down. */
  readonly #takenDown = new Set<string>();
  #poke: (podKey: string) => void = () => {};

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Look at this Pod's claims again. */
  poke(podKey: string): void {
    this.#poke(podKey);
  }

  /** The runtime has taken down a sandbox of the Pod; `recorded`: one that was made here. */
  removed(pod: PodRef, { recorded }: { readonly recorded: boolean }): void {
    if (!recorded) {
      this.#takenDown.add(pod.uid);
      const [oldest = ""] = this.#takenDown;
      if (this.#takenDown.size > takenDownMax) this.#takenDown.delete(oldest);
    }
    this.#poke(keyOf(pod));
  }

  /** Resolves when claims that somebody else made for Pods of this node are known here. One list. */
  takeUp(o: Signal): Promise<void> {
    return this.#options.ledger.takeUp(o);
  }

  run(o: Signal): Promise<void> {
    const { pods, clock, log } = this.#options;
    return runController(
      {
        name: "claims",
        clock,
        log,
        sources: [
          fromStore(pods),
          {
            synced: () => Promise.resolve(),
            subscribe: (add) => {
              this.#poke = add;
              return () => {
                this.#poke = () => {};
              };
            },
          },
        ],
        reconcile: (key, signal) => this.#reconcile(key, signal),
      },
      o,
    );
  }

  /** After a start: takes up the claims that the records name. Then looks for unknown claims, again and again. */
  async recallAndAudit({ signal }: Signal): Promise<void> {
    const { ledger, intents, records, pods, returned, clock, lookEveryMs, random = Math.random } = this.#options;
    // Taken before the first call is served: a DEL that comes while the API server is away takes its record along.
    const known = records.list();
    intents.note(known.flatMap(claimKeys));
    // Until it has succeeded no ADD gets an address.
    await retry((o) => ledger.recall(known.flatMap(claimNames), o), { signal, clock, retryable: () => true });
    await pods.synced({ signal });
    const checked = Promise.withResolvers<void>();
    const auditing = async () => {
      await checked.promise;
      for (const { spec } of ledger.claims()) this.poke(`${spec.podNamespace}/${spec.podName}`);
      for (let waitMs = random() * lookEveryMs * auditEveryMs.looks; ; ) {
        await clock.sleep(waitMs, { signal });
        waitMs = await retry((o) => this.#audit(o), { signal, clock });
      }
    };
    await Promise.all([returned.begin({ signal }, checked.resolve), auditing()]);
  }

  /** Looks at the claims of these names, as an audit does at all. */
  async inspect(names: readonly string[], { signal }: Signal): Promise<void> {
    const { ledger, pods } = this.#options;
    await Promise.all([ledger.recalled({ signal }), pods.synced({ signal })]);
    await this.#compare((watcher) => ledger.inspect(names, watcher), { signal });
  }

  /** Ends claims that nobody needs, and has those made again that somebody else ended. Returns when to look again. */
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
      log.warn({ claims: claims.map(({ name }) => name) }, "the ledger does not have claims of this node any more");
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
   * Whether a sandbox of the Pod is there, other than the one with ID `except`: one whose DEL has not come yet uses its address.
   */
  hasSandbox(podUid: string, except?: string): boolean {
    return this.#sandboxesOf(podUid, except).length > 0;
  }

  /** Whether a sandbox of the Pod has a NIC with this MAC address. */
  hasMac(podUid: string, mac: string): boolean {
    return this.#sandboxesOf(podUid).some((record) => hasMac(record, mac));
  }

  /** The Pod is ending, and whether its sandbox has, only the runtime's DEL or the Pod's absence will tell: no record does. */
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
    const claims = ledger.claimsNamed(podKey);
    const missing = new Map<string, number>();
    let afterMs: number | undefined;
    for (const claim of claims) {
      const podUid = claim.spec.podUID ?? "";
      const state = podState(pod, podUid);
      if (state === "alive") continue;
      if (this.hasSandbox(podUid)) {
        // Its object should outlive its sandbox. Where it does not, this node may have been away, and others may have acted.
        if (pod?.metadata.uid !== podUid && state === "dead") await this.#check(podUid, o);
        continue;
      }
      if (this.#endsElsewhere(claim.spec, pod)) continue;
      const isUnseen = isTakenOver(claim.spec) && !this.#takenDown.has(podUid);
      if (state === "unknown" || isUnseen) {
        const sinceMs = this.#missingSinceMs.get(podKey)?.get(podUid) ?? clock.monotonicMs();
        missing.set(podUid, sinceMs);
        const leftMs = sinceMs + (state === "unknown" ? missingMsMax : unseenMsMax) - clock.monotonicMs();
        if (leftMs > 0) {
          afterMs = Math.min(leftMs, afterMs ?? leftMs);
          continue;
        }
      }
      const seen =
        pod === undefined ? "the Pod is gone" : `Pod ${pod.metadata.uid} is ${pod.status?.phase ?? "terminating"}`;
      ledger.release(claim, { why: "Pod and sandbox are gone", evidence: [seen] });
    }
    if (missing.size > 0) this.#missingSinceMs.set(podKey, missing);
    else this.#missingSinceMs.delete(podKey);
    return afterMs === undefined ? {} : { afterMs };
  }
}

/** The claims of which the record's results tell. */
function claimNames(record: SandboxRecord): readonly string[] {
  return claimKeys(record).map(({ name }) => name);
}

/** The same, each with the key of its holder. */
function claimKeys({ pod, networks }: SandboxRecord): readonly { readonly key: string; readonly name: string }[] {
  return networks.flatMap((network) => {
    const ips = (recordedResult(network)?.ips ?? []).map(({ address }) => address.ip);
    return ips.map((ip) => ({ key: claimKey(pod?.uid ?? "", network.ifName, ip.family), name: claimName(ip) }));
  });
}
