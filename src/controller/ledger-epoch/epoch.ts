import { randomUUID } from "node:crypto";
import {
  annotations,
  completeUid,
  doneInPart,
  isLost,
  isTakeOver,
  lostToken,
  type SpiderIPPool,
  spiderIPAddresses,
  takeOverToken,
} from "#api";
import { abortable, assertNever, type Signal } from "#base";
import {
  customResourceDefinitions,
  definitionName,
  hasReason,
  KeySource,
  type KubeObject,
  leases,
  metadataOf,
  type ObjectRef,
  type Source,
  type Store,
  WatchedStore,
} from "#kube";
import { closureOf, setClosure } from "#ledger";
import type { Deps } from "../deps.ts";
import { decideEpoch, type EpochStep, type EpochView } from "./decide.ts";
import type { LossMark } from "./mark.ts";
import type { Rewind } from "./rewind.ts";

const lookEveryMs = 2_000;
const claimsCrd = definitionName(spiderIPAddresses);

/** The record after a restore of the API server: no definition has this UID. */
const rewound = "rewound";

type StepOf<Kind extends EpochStep["kind"]> = Extract<EpochStep, { readonly kind: Kind }>;

interface EpochOptions {
  readonly pools: Store<SpiderIPPool>;
  /** Resolves when pools and agents are known. */
  readonly synced: (o: Signal) => Promise<unknown>;
  /** The Lease of leader election. Its annotation records which ledger was complete; it survives the loss of our definitions. */
  readonly lease: ObjectRef;
  readonly rewind: Rewind;
  /** Counts if the Lease says nothing yet. */
  readonly mark: Pick<LossMark, "value">;
  /** Nodes that are ready with their agent, each with the closure for which the agent has done its part. */
  readonly agents: () => readonly { readonly node: string; readonly done: string | undefined }[];
  /** Claims the addresses that Pods have from a former system; can be repeated. */
  readonly takeOver: (o: Signal) => Promise<void>;
}

/**
 * The controller's part after a loss of the ledger, or at the first start over a former Spiderpool: claims of running Pods are
 * missing, so their addresses look free. It closes all pools at once, waits until agents have made the claims of their
 * sandboxes again, and opens the pools. The next leader can continue after any step.
 */
export class LedgerEpoch {
  readonly #deps: Deps;
  readonly #options: EpochOptions;
  /** Watches the claims' CustomResourceDefinition, and nothing else. */
  readonly store: WatchedStore<KubeObject>;
  /** What the Lease records. Nobody else writes it during our term. */
  #recorded: { readonly uid: string | undefined } | undefined;
  #closed: { readonly token: string; readonly sinceMs: number } | undefined;
  /** The closure that ended last: the watch may show it a moment longer. */
  #opened: string | undefined;
  #isComplete = false;
  readonly #looked = Promise.withResolvers<void>();
  readonly #completed = new KeySource(({ signal }) => abortable(this.#looked.promise, signal));

  constructor(deps: Deps, options: EpochOptions) {
    this.#deps = deps;
    this.#options = options;
    const { client, clock, log } = deps;
    const fieldSelector = `metadata.name=${claimsCrd}`;
    this.store = new WatchedStore({
      client,
      clock,
      log,
      resource: metadataOf(customResourceDefinitions),
      fieldSelector,
    });
  }

  /** True if nothing was lost, as of the last look. Only then does the absence of a claim mean that an address is free. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Gives every pool's name when the ledger becomes complete. Synced once it is known whether it is. */
  source(): Source {
    return this.#completed;
  }

  /** Looks every two seconds until the term ends. A look reads only stores, so it costs no request while nothing happens. */
  async run({ signal }: Signal): Promise<void> {
    const watching = this.store.run({ signal });
    await this.#look({ signal });
    await watching;
  }

  async #look({ signal }: Signal): Promise<void> {
    const { clock, log } = this.#deps;
    await Promise.all([this.#options.synced({ signal }), this.store.synced({ signal })]).catch(() => {});
    while (!signal.aborted) {
      try {
        await this.#step({ signal });
      } catch (err) {
        this.#isComplete = false;
        if (!signal.aborted && !hasReason(err, "Conflict"))
          log.warn({ err }, "whether the ledger is complete is not known");
      }
      await clock.sleep(lookEveryMs, { signal }).catch(() => {});
    }
  }

  async #step(o: Signal): Promise<void> {
    await this.#readRecord(o);
    const step = decideEpoch(this.#view());
    const wasComplete = this.#isComplete;
    this.#isComplete = step.kind === "complete";
    this.#looked.resolve();
    if (this.#isComplete && !wasComplete) this.#tellCompleted();
    switch (step.kind) {
      case "complete":
        this.#closed = undefined;
        return this.#setClosure(undefined, o);
      case "record":
        return this.#record(step.uid, o);
      case "wait":
        return this.#waitForPools(o);
      case "closed":
        return this.#close(step.why, o);
      case "take-over":
        await this.#options.takeOver(o);
        await this.#record(step.uid, o);
        this.#closed = undefined;
        return this.#setClosure(undefined, o);
      case "open":
        return this.#open(step, o);
      default:
        assertNever(step);
    }
  }

  #tellCompleted(): void {
    for (const { metadata } of this.#options.pools.list()) this.#completed.add(metadata.name);
  }

  /** Reads once per term what the Lease says. If it says nothing, the mark on the Nodes counts. */
  async #readRecord(o: Signal): Promise<void> {
    if (this.#recorded !== undefined) return;
    const { lease, mark } = this.#options;
    const object = await this.#deps.client.get(metadataOf(leases), lease, o);
    this.#recorded = { uid: object?.metadata.annotations?.[annotations.ledgerEpoch] };
    if (this.#recorded.uid === undefined && mark.value !== undefined) await this.#record(mark.value, o);
  }

  #view(): EpochView {
    const { pools, rewind } = this.#options;
    return {
      crdUid: this.store.get(claimsCrd)?.metadata.uid,
      recorded: this.#recorded?.uid,
      rewound: rewind.isPending,
      hasPools: pools.list().length > 0,
      isClosed: this.#closures().some((token) => token !== this.#opened),
      missing: this.#missing(),
      inPart: this.#hasDoneInPart(),
      closedForMs: this.#closed === undefined ? 0 : this.#deps.clock.monotonicMs() - this.#closed.sinceMs,
      former: this.#former(),
    };
  }

  /** Claims and pools are both lost: records it, so that pools are closed as soon as somebody creates them again. */
  async #waitForPools(o: Signal): Promise<void> {
    this.#closed = undefined;
    const recorded = this.#recorded?.uid;
    if (isLost(recorded) && completeUid(recorded) === undefined) return;
    this.#deps.log.warn(
      { epoch: this.store.get(claimsCrd)?.metadata.uid },
      "claims and pools are lost: pools will be closed at first, until agents have told what Pods have",
    );
    await this.#record(lostToken(randomUUID()), o);
  }

  /** Closes every pool, under a new token if what agents have reported so far does not count for this closure. */
  async #close(why: string, o: Signal): Promise<void> {
    const { rewind } = this.#options;
    // Statuses come from a former system only if this one never had the ledger.
    const isFormer = this.#recorded?.uid === undefined && !rewind.isPending;
    const begin = (token: string) => ({ token, sinceMs: this.#deps.clock.monotonicMs() });
    const fresh = () => begin(isFormer ? takeOverToken(randomUUID()) : randomUUID());
    if (rewind.isPending) {
      await this.#record(rewound, o);
      rewind.settled();
      // The closure that pools and Nodes name may be an earlier one, restored with them.
      this.#closed = fresh();
    }
    // Agents reported before the new pool existed.
    if (this.#hasNew()) this.#closed = fresh();
    const found = this.#tokenOfPools();
    this.#closed ??= found === undefined ? fresh() : begin(found);
    this.#deps.log.warn({ why, missing: this.#missing() }, "the ledger is not complete: pools are closed");
    await this.#setClosure(this.#closed.token, o);
  }

  /** Records the ledger as complete and opens the pools that this closure closed. */
  async #open({ recorded, why }: StepOf<"open">, o: Signal): Promise<void> {
    const { clock, log, client } = this.#deps;
    const { pools } = this.#options;
    // A new leader may find that the agents have already reported, although it has closed nothing itself.
    if (this.#closed === undefined && this.#tokenOfPools() === undefined && pools.list().length > 0) {
      this.#closed = { token: randomUUID(), sinceMs: clock.monotonicMs() };
      return this.#setClosure(this.#closed.token, o);
    }
    await this.#record(recorded, o);
    log.warn({ why }, "the ledger is complete again: pools are opened");
    this.#opened = this.#closed?.token ?? this.#tokenOfPools();
    this.#closed = undefined;
    for (const pool of pools.list()) if (closureOf(pool) === this.#opened) await setClosure(client, pool, undefined, o);
  }

  #former(): EpochView["former"] {
    if (isTakeOver(this.#tokenOfPools())) return "closed";
    return this.#options.pools.list().some(({ status }) => (status?.allocatedIPs ?? "") !== "") ? "seen" : "none";
  }

  /** Nodes whose agent has not reported for the current closure, not even in part. */
  #missing(): readonly string[] {
    const token = this.#hasNew() ? undefined : (this.#closed?.token ?? this.#tokenOfPools());
    return this.#options
      .agents()
      .filter(({ done }) => token === undefined || (done !== token && done !== doneInPart(token)))
      .map(({ node }) => node);
  }

  #hasDoneInPart(): boolean {
    const token = this.#closed?.token ?? this.#tokenOfPools();
    return token !== undefined && this.#options.agents().some(({ done }) => done === doneInPart(token));
  }

  /** True if a pool was created or got addresses after the current closure began: its admission closed it. */
  #hasNew(): boolean {
    return this.#closures().some(isLost);
  }

  #tokenOfPools(): string | undefined {
    return this.#closures()[0];
  }

  #closures(): readonly string[] {
    return this.#options.pools.list().flatMap((pool) => closureOf(pool) ?? []);
  }

  /** Writes the annotation with the Lease's resourceVersion, so that only the leader can. */
  async #record(uid: string, o: Signal): Promise<void> {
    const { client } = this.#deps;
    const lease = await client.get(leases, this.#options.lease, o);
    if (lease === undefined) throw new Error("the Lease does not exist any more");
    const { metadata } = lease;
    const noted = { ...metadata.annotations, [annotations.ledgerEpoch]: uid };
    await client.update(leases, { ...lease, metadata: { ...metadata, annotations: noted } }, o);
    this.#recorded = { uid };
  }

  async #setClosure(token: string | undefined, o: Signal): Promise<void> {
    for (const pool of this.#options.pools.list()) await setClosure(this.#deps.client, pool, token, o);
  }
}
