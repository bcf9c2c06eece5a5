import { annotations } from "#api";
import { abortable, type Clock, type Logger, type Signal } from "#base";
import { type KubeClient, type KubeObject, nodes, retry, type Store } from "#kube";

/** Pools are closed for so long at most: a node that cannot be reached must not stop the whole cluster. */
const closedMsMax = 60_000;

export interface LedgerEpochOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** The pools' metadata: the leader closes pools by an annotation. */
  readonly pools: Store<KubeObject>;
  /** Resolves when the claims of this node were taken up after the start. */
  readonly recalled: (o: Signal) => Promise<void>;
  /** Checks every sandbox of this node against the ledger: what is missing is claimed again, what is foreign is cut off. */
  readonly check: (o: Signal) => Promise<void>;
}

/**
 * The agent's part when the ledger was lost (its CustomResourceDefinition deleted, etcd restored from a snapshot): while pools
 * are closed, it gives no new address; it creates the claims of its living sandboxes again, and says so on its Node.
 */
export class LedgerEpoch {
  readonly #options: LedgerEpochOptions;
  /** The closure that this process sees, and since when. */
  #closed: { readonly token: string; readonly sinceMs: number } | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(options: LedgerEpochOptions) {
    this.#options = options;
    options.pools.changed(() => this.#look());
    this.#look();
  }

  /** Resolves when new addresses may be given. */
  async open({ signal }: Signal): Promise<void> {
    const { clock } = this.#options;
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

  #look(): void {
    const { pools, clock, log } = this.#options;
    const tokens = pools.list().flatMap(({ metadata }) => metadata.annotations?.[annotations.ledgerClosed] ?? []);
    const token = tokens.sort().at(-1);
    if (token === this.#closed?.token) return;
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
    await persist((o) => client.patch(nodes, { name: node }, { kind: "merge", body }, { ...o, subresource: "status" }));
    log.info({ node, token }, "the ledger has the claims of this node's sandboxes");
  }
}
