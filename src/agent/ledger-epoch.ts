import { annotations, spiderIPPools } from "#api";
import { abortable, type Clock, type Logger, type Signal } from "#base";
import { isEarlier, type KubeClient, type KubeObject, metadataOf, nodes, retry, type Store } from "#kube";

/** Pools are closed for so long at most: a node that cannot be reached must not stop the whole cluster. */
const closedMsMax = 60_000;
/** In place of the leader's token: this agent was faster to see that the server was put back. */
const ownToken = "versions ran back";

export interface LedgerEpochOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** The pools' metadata: the leader closes pools by an annotation, and the versions tell where the server was put back. */
  readonly pools: Store<KubeObject>;
  /** Told when this agent sees that the server was put back: what other watches have shown is not so any more. */
  readonly rewound: () => void;
  /** Resolves when the claims of this node were taken up after the start. */
  readonly recalled: (o: Signal) => Promise<void>;
  /** Checks every sandbox of this node against the ledger: what is missing is claimed again, what is foreign is cut off. */
  readonly check: (o: Signal) => Promise<void>;
}

/**
 * The agent's part when the ledger was lost (its CustomResourceDefinition deleted, etcd restored from a snapshot): while pools
 * are closed, it gives no new address; it creates the claims of its living sandboxes again, and says so on its Node. Where it
 * sees itself that the server was put back, it begins at once, and takes its pools for closed until the leader has closed and
 * opened them.
 */
export class LedgerEpoch {
  readonly #options: LedgerEpochOptions;
  /** The closure that this process sees, and since when. */
  #closed: { readonly token: string; readonly sinceMs: number } | undefined;
  #changed = Promise.withResolvers<void>();
  /** How many of the watch's interruptions are known to have been nothing more. */
  #soundBreaks = 0;

  constructor(options: LedgerEpochOptions) {
    this.#options = options;
    options.pools.changed(() => this.#look());
    options.pools.rewound(() => this.#rewound());
    this.#look();
  }

  /** Resolves when new addresses may be given. Throws where the API server does not say whether it was put back. */
  async open({ signal }: Signal): Promise<void> {
    const { clock } = this.#options;
    await this.#assertSound({ signal });
    for (let closed = this.#closed; closed !== undefined; closed = this.#closed) {
      const leftMs = closed.sinceMs + closedMsMax - clock.monotonicMs();
      if (leftMs <= 0) return;
      const stop = new AbortController();
      const either = AbortSignal.any([signal, stop.signal]);
      const patience = clock.sleep(leftMs, { signal: either }).catch(() => {});
      await abortable(Promise.race([this.#changed.promise, patience]), signal).finally(() => stop.abort());
    }
  }

  /** Does this node's part of every closure. */
  async run({ signal }: Signal): Promise<void> {
    await this.#options.recalled({ signal });
    for (;;) {
      const { token } = this.#closed ?? {};
      const changed = this.#changed.promise;
      if (token !== undefined) await this.#checkAndTell(token, { signal });
      if (this.#closed?.token === token) await abortable(changed, signal);
    }
  }

  /**
   * A call may reach a server that is back before the watch of the pools does, which waits longer and longer between its tries:
   * then, once for each interruption, the server's version is asked for.
   */
  async #assertSound(o: Signal): Promise<void> {
    const { client, pools } = this.#options;
    const { breaks, version } = pools;
    if (breaks === this.#soundBreaks) return;
    const { resourceVersion } = await client.list(metadataOf(spiderIPPools), { ...o, limit: 1 });
    if (isEarlier(resourceVersion, version)) this.#rewound();
    this.#soundBreaks = Math.max(breaks, this.#soundBreaks);
  }

  #rewound(): void {
    if (this.#closed !== undefined) return; // The leader was faster, or another way of seeing it.
    this.#close(ownToken);
    this.#options.rewound();
  }

  #look(): void {
    const tokens = this.#options.pools
      .list()
      .flatMap(({ metadata }) => metadata.annotations?.[annotations.ledgerClosed] ?? []);
    const token = tokens.sort().at(-1);
    // The leader may be slower than this agent to see that all is not what it was.
    if (token === undefined && this.#closed?.token === ownToken) return;
    if (token !== this.#closed?.token) this.#close(token);
  }

  #close(token: string | undefined): void {
    const { clock, log } = this.#options;
    log.warn({ token }, token === undefined ? "pools are open again" : "the ledger was lost: pools are closed");
    this.#closed = token === undefined ? undefined : { token, sinceMs: clock.monotonicMs() };
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #checkAndTell(token: string, { signal }: Signal): Promise<void> {
    const { client, clock, log, node, check } = this.#options;
    const body = { metadata: { annotations: { [annotations.ledgerClosed]: token } } };
    const persist = (act: (o: Signal) => Promise<unknown>) => retry(act, { signal, clock, retryable: () => true });
    await persist(check);
    if (token === ownToken) return; // Nobody asked for it.
    await persist((o) => client.patch(nodes, { name: node }, { kind: "merge", body }, { ...o, subresource: "status" }));
    log.info({ node, token }, "the ledger has the claims of this node's sandboxes");
  }
}
