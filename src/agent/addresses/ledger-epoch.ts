import { annotations, doneInPart, isLost, isTakeOver, programSelector, spiderIPPools } from "#api";
import { abortable, type Clock, type Logger, type Signal, SpiderError, within } from "#base";
import { isEarlier, type KubeClient, type KubeObject, metadataOf, nodes, retry, type Store } from "#kube";
import { closureOf } from "#ledger";

/** How long pools stay closed at most: an unreachable node must not stop the whole cluster. */
const closedMsMax = 60_000;
/** Used in place of the leader's token if this agent notices first that the server was restored. */
const ownToken = "versions ran back";

interface LedgerEpochOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** Where the controller runs. */
  readonly namespace: string;
  /** The pools' metadata: the leader closes pools by an annotation, and versions show that the server was restored. */
  readonly pools: Store<KubeObject>;
  /** Called when the ledger was lost and the server may have been restored: other watches may show outdated objects. */
  readonly lost: () => void;
  /** Resolves when the claims of this node have been adopted after the start. */
  readonly recalled: (o: Signal) => Promise<void>;
  /** Checks this node's sandboxes against the ledger: claims missing addresses again, cuts off sandboxes that lost theirs. */
  readonly check: (o: Signal) => Promise<void>;
  /** Whether every address of a sandbox was in a pool, as of the last check. */
  readonly isWhole: () => boolean;
  /** Resolves when every address of a sandbox is in a pool, and claimed. */
  readonly complete: (o: Signal) => Promise<void>;
  /** Adopts the claims of this node that somebody else created. */
  readonly takeUp: (o: Signal) => Promise<void>;
}

/** The present closure, and since when this process sees it. */
interface Closure {
  readonly token: string;
  readonly sinceMs: number;
}

/**
 * The agent's part after a loss of the ledger (CustomResourceDefinition deleted, etcd restored), or at the take-over from another
 * system: while pools are closed, it gives no new address, creates the claims of its living sandboxes again, and reports that on
 * its Node. If it notices a restore of the server itself, it begins at once, and treats its pools as closed until the leader has
 * closed and opened them.
 */
export class LedgerEpoch {
  readonly #options: LedgerEpochOptions;
  #closed: Closure | undefined;
  #changed = Promise.withResolvers<void>();
  /** How many of the watch's interruptions are known to be harmless. */
  #soundBreaks = 0;
  /** The ledger has claims for a former system's Pods on this node, which must be adopted before any address is chosen. */
  #takenUp: PromiseWithResolvers<void> | undefined;

  constructor(options: LedgerEpochOptions) {
    this.#options = options;
    options.pools.changed(() => this.#look());
    options.pools.rewound(() => this.#rewound());
    this.#look();
  }

  /**
   * Resolves when new addresses may be given. Throws LEDGER_CLOSED if `signal` aborts before, or the API server's error if it
   * does not say whether it was restored.
   */
  async open({ signal }: Signal): Promise<void> {
    await this.#assertSound({ signal });
    for (let closed = this.#closed; closed !== undefined; closed = this.#closed) {
      if (!(await this.#changes(closed, { signal }))) return;
    }
    if (this.#takenUp !== undefined) await abortable(this.#takenUp.promise, signal).catch(() => this.#refuse());
  }

  /** Does this node's part of every closure. */
  async run({ signal }: Signal): Promise<void> {
    const { clock, takeUp, recalled } = this.#options;
    await recalled({ signal });
    for (;;) {
      const { token } = this.#closed ?? {};
      const changed = this.#changed.promise;
      if (token !== undefined) await this.#checkAndTell(token, { signal });
      else if (this.#takenUp !== undefined) {
        await retry(takeUp, { signal, clock, retryable: () => true });
        this.#takenUp.resolve();
        this.#takenUp = undefined;
      }
      if (this.#closed?.token === token) await abortable(changed, signal);
    }
  }

  /**
   * After an interruption a call may reach the server before the watch of the pools does, which backs off: then the server's
   * version is read, once per interruption.
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
    if (this.#closed !== undefined) return; // The leader was faster, or the restore was seen in another way.
    this.#close(ownToken);
  }

  /** False if the time of this closure is up. */
  async #changes({ token, sinceMs }: Closure, { signal }: Signal): Promise<boolean> {
    const { clock } = this.#options;
    const changed = this.#changed.promise;
    // Addresses from a former system stay in use even if nobody has reported them, so there is no timeout.
    const leftMs = isTakeOver(token) ? undefined : sinceMs + closedMsMax - clock.monotonicMs();
    if (leftMs !== undefined && leftMs <= 0) return false;
    try {
      await (leftMs === undefined ? abortable(changed, signal) : within(changed, leftMs, { clock, signal }));
    } catch {
      this.#refuse();
    }
    return true;
  }

  #refuse(): never {
    const why =
      isTakeOver(this.#closed?.token) || this.#takenUp !== undefined ? "taken over from a former system" : "made anew";
    throw new SpiderError("LEDGER_CLOSED", `no new address is given while the ledger is ${why}`, {
      details: {
        closed: this.#closed?.token,
        fix: `it is tried again; where this lasts, kubectl -n ${this.#options.namespace} logs -l ${programSelector("controller")} says what it waits for`,
      },
    });
  }

  #look(): void {
    const tokens = this.#options.pools.list().flatMap((pool) => closureOf(pool) ?? []);
    const token = tokens.sort().at(-1);
    const before = this.#closed?.token;
    // The leader may notice the restore later than this agent.
    if (token === undefined && before === ownToken) return;
    if (token === undefined && isTakeOver(before)) this.#takenUp ??= Promise.withResolvers();
    if (token !== before) this.#close(token);
  }

  #close(token: string | undefined): void {
    const { clock, log } = this.#options;
    log.warn({ token }, token === undefined ? "pools are open again" : "the ledger is not complete: pools are closed");
    if (token !== undefined && this.#closed === undefined) this.#options.lost();
    this.#closed = token === undefined ? undefined : { token, sinceMs: clock.monotonicMs() };
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #checkAndTell(token: string, { signal }: Signal): Promise<void> {
    const { clock, check, isWhole, complete } = this.#options;
    await retry(check, { signal, clock, retryable: () => true });
    // There is no closure to answer; or the leader does not know this pool yet, and will make a closure of its own.
    if (token === ownToken || isLost(token)) return;
    if (!isWhole()) {
      await this.#tell(doneInPart(token), { signal });
      // If pools were lost, too, they are created one after the other.
      await this.#while(token, complete, { signal });
    }
    if (this.#closed?.token === token) await this.#tell(token, { signal });
  }

  async #tell(done: string, { signal }: Signal): Promise<void> {
    const { client, clock, log, node } = this.#options;
    const body = { metadata: { annotations: { [annotations.ledgerClosed]: done } } };
    const patch = (o: Signal) =>
      client.patch(nodes, { name: node }, { kind: "merge", body }, { ...o, subresource: "status" });
    await retry(patch, { signal, clock, retryable: () => true });
    log.info({ node, done }, "the ledger has the claims of this node's sandboxes whose addresses are in a pool");
  }

  /** Waits until `act` is done, or the closure changes or ends. */
  async #while(token: string, act: (o: Signal) => Promise<void>, { signal }: Signal): Promise<void> {
    const stop = new AbortController();
    const changed = async () => {
      while (this.#closed?.token === token) await abortable(this.#changed.promise, signal);
    };
    const acting = act({ signal: AbortSignal.any([signal, stop.signal]) });
    await Promise.race([acting, changed()]).finally(() => stop.abort());
    await acting.catch(() => signal.throwIfAborted());
  }
}
