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
import { abortable, type Signal } from "#base";
import {
  hasReason,
  type KubeObject,
  leases,
  metadataOf,
  type ObjectRef,
  type Resource,
  type Source,
  type Store,
  WatchedStore,
} from "#kube";
import { closureOf, setClosure } from "#ledger";
import type { Deps } from "../deps.ts";
import { decideEpoch, type EpochView } from "./decide.ts";
import type { LossMark } from "./mark.ts";
import type { Rewind } from "./rewind.ts";

const lookEveryMs = 2_000;
export const crds: Resource<KubeObject> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};
const claimsCrd = `${spiderIPAddresses.plural}.${spiderIPAddresses.group}`;

/** `recorded` where the server was put back: no definition has this UID. */
const rewound = "rewound";

interface EpochOptions {
  readonly pools: Store<SpiderIPPool>;
  /** Resolves when pools and agents are known. */
  readonly synced: (o: Signal) => Promise<unknown>;
  /** Of leader election: where it is kept which ledger was complete. It survives the loss of our definitions. */
  readonly lease: ObjectRef;
  readonly rewind: Rewind;
  /** Counts where the Lease says nothing yet. */
  readonly mark: Pick<LossMark, "value">;
  /** Nodes that are ready with their agent, each with the closure for which it has done its part. */
  readonly agents: () => readonly { readonly node: string; readonly done: string | undefined }[];
  /** Puts what Pods have from a former system into the ledger; it can be repeated. */
  readonly takeOver: (o: Signal) => Promise<void>;
}

/**
 * The controller's part when the ledger was lost, or was another system's until now: claims of running Pods are not there, so
 * that their addresses look free. Pools are closed at once, agents make the claims of their sandboxes again, and pools are
 * opened. Every step can be taken up by the next leader.
 */
export class LedgerEpoch {
  readonly #deps: Deps;
  readonly #options: EpochOptions;
  /** The claims' definition, and nothing else. */
  readonly store: WatchedStore<KubeObject>;
  /** What is on the Lease: in a term nobody else writes it. */
  #recorded: { readonly uid: string | undefined } | undefined;
  #closed: { readonly token: string; readonly sinceMs: number } | undefined;
  /** The closure that was ended last: a watch may show it a moment longer. */
  #opened: string | undefined;
  #isComplete = false;
  readonly #looked = Promise.withResolvers<void>();
  #completed: () => void = () => {};

  constructor(deps: Deps, options: EpochOptions) {
    this.#deps = deps;
    this.#options = options;
    const { client, clock, log } = deps;
    const fieldSelector = `metadata.name=${claimsCrd}`;
    this.store = new WatchedStore({ client, clock, log, resource: metadataOf(crds), fieldSelector });
  }

  /** Nothing was lost, as of the last look: only then does the absence of a claim mean anything. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Every pool's name when the ledger has become complete; in step once it is known whether it is. */
  source(): Source {
    return {
      synced: ({ signal }) => abortable(this.#looked.promise, signal),
      subscribe: (add) => {
        this.#completed = () => {
          for (const { metadata } of this.#options.pools.list()) add(metadata.name);
        };
        return () => {
          this.#completed = () => {};
        };
      },
    };
  }

  /** Looks every two seconds until the term ends: at what is here, which costs no request while nothing happens. */
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
    const { client, clock, log } = this.#deps;
    const { rewind } = this.#options;
    const crd = this.store.get(claimsCrd);
    if (this.#recorded === undefined) {
      const lease = await client.get(metadataOf(leases), this.#options.lease, o);
      this.#recorded = { uid: lease?.metadata.annotations?.[annotations.ledgerEpoch] };
      const { mark } = this.#options;
      if (this.#recorded.uid === undefined && mark.value !== undefined) await this.#record(mark.value, o);
    }
    const isClosed = this.#closures().some((token) => token !== this.#opened);
    const step = decideEpoch({
      ...{ crdUid: crd?.metadata.uid, recorded: this.#recorded.uid, rewound: rewind.isPending },
      hasPools: this.#options.pools.list().length > 0,
      isClosed,
      missing: this.#missing(),
      inPart: this.#hasDoneInPart(),
      closedForMs: this.#closed === undefined ? 0 : clock.monotonicMs() - this.#closed.sinceMs,
      former: this.#former(),
    });
    const wasComplete = this.#isComplete;
    this.#isComplete = step.kind === "complete";
    this.#looked.resolve();
    if (this.#isComplete && !wasComplete) this.#completed();
    switch (step.kind) {
      case "complete":
        this.#closed = undefined;
        return this.#setClosure(undefined, o);
      case "record":
        return this.#record(step.uid, o);
      case "wait":
        this.#closed = undefined;
        if (isLost(this.#recorded.uid) && completeUid(this.#recorded.uid) === undefined) return;
        log.warn(
          { epoch: crd?.metadata.uid },
          "claims and pools are lost: pools will be closed at first, until agents have told what Pods have",
        );
        return this.#record(lostToken(randomUUID()), o);
      case "closed": {
        // Statuses tell of a former system only where this one never had the ledger.
        const isFormer = this.#recorded.uid === undefined && !rewind.isPending;
        const fresh = () => (isFormer ? takeOverToken(randomUUID()) : randomUUID());
        if (rewind.isPending) {
          await this.#record(rewound, o);
          rewind.settled();
          // What pools and Nodes say of a closure may be of an earlier one, put back with them.
          this.#closed = { token: fresh(), sinceMs: clock.monotonicMs() };
        }
        // What agents have said was not of a pool that came since.
        if (this.#hasNew()) this.#closed = { token: fresh(), sinceMs: clock.monotonicMs() };
        this.#closed ??= { token: this.#tokenOfPools() ?? fresh(), sinceMs: clock.monotonicMs() };
        log.warn({ why: step.why, missing: this.#missing() }, "the ledger is not complete: pools are closed");
        return this.#setClosure(this.#closed.token, o);
      }
      case "take-over":
        await this.#options.takeOver(o);
        await this.#record(step.uid, o);
        this.#closed = undefined;
        return this.#setClosure(undefined, o);
      case "open": {
        // A leader that finds the work of another one done has not closed anything itself.
        if (this.#closed === undefined && this.#tokenOfPools() === undefined && this.#options.pools.list().length > 0) {
          this.#closed = { token: randomUUID(), sinceMs: clock.monotonicMs() };
          return this.#setClosure(this.#closed.token, o);
        }
        await this.#record(step.recorded, o);
        log.warn({ why: step.why }, "the ledger is complete again: pools are opened");
        this.#opened = this.#closed?.token ?? this.#tokenOfPools();
        this.#closed = undefined;
        for (const pool of this.#options.pools.list())
          if (closureOf(pool) === this.#opened) await setClosure(client, pool, undefined, o);
      }
    }
  }

  #former(): EpochView["former"] {
    if (isTakeOver(this.#tokenOfPools())) return "closed";
    return this.#options.pools.list().some(({ status }) => (status?.allocatedIPs ?? "") !== "") ? "seen" : "none";
  }

  /** Nodes that have not done their part of the closure that runs, in full or in part. */
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

  /** A pool was created, or got addresses, since the closure that runs began: its admission closed it. */
  #hasNew(): boolean {
    return this.#closures().some(isLost);
  }

  #tokenOfPools(): string | undefined {
    return this.#closures()[0];
  }

  #closures(): readonly string[] {
    return this.#options.pools.list().flatMap((pool) => closureOf(pool) ?? []);
  }

  /** With the Lease's own version: only who leads writes it, and whoever reads it sees it. */
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
