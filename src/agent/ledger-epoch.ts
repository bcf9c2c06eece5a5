import { annotations, doneInPart, isLost, isTakeOver, spiderIPPools } from "#api";
import { abortable, type Clock, type Logger, type Signal, SpiderError } from "#base";
import { isEarlier, type KubeClient, type KubeObject, metadataOf, nodes, retry, type Store } from "#kube";
import { closureOf } from "#ledger";

/** Pools are closed for so long at most: a node that cannot be reached must not stop the whole cluster. */
const closedMsMax = 60_000;
/** In place of the leader's token: this agent was faster to see that the server was put back. */
const ownToken = "versions ran back";

interface LedgerEpochOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  /** The pools' metadata: the leader closes pools by an annotation, and the versions tell where the server was put back. */
  readonly pools: Store<KubeObject>;
  /** Told when the ledger was lost, and the server may have been put back: what other watches have shown may not be so any more. */
  readonly lost: () => void;
  /** Resolves when the claims of this node were taken up after the start. */
  readonly recalled: (o: Signal) => Promise<void>;
  /** Checks every sandbox of this node against the ledger: what is missing is claimed again, what is foreign is cut off. */
  readonly check: (o: Signal) => Promise<void>;
  /** Whether every address of a sandbox was in a pool, as of the last check. */
  readonly isWhole: () => boolean;
  /** Resolves when every address of a sandbox is in a pool, and claimed. */
  readonly complete: (o: Signal) => Promise<void>;
  /** Takes up the claims of this node that somebody else made. */
  readonly takeUp: (o: Signal) => Promise<void>;
}

/** The closure that this process sees, and since when. */
interface Closure {
  readonly token: string;
  readonly sinceMs: number;
}

/**
 * The agent's part when the ledger was lost (its CustomResourceDefinition deleted, etcd restored from a snapshot), or was another
 * system's until now: while pools are closed, it gives no new address; it creates the claims of its living sandboxes again, and
 * says so on its Node. Where it sees itself that the server was put back, it begins at once, and takes its pools for closed until
 * the leader has closed and opened them.
 */
export class LedgerEpoch {
  readonly #options: LedgerEpochOptions;
  #closed: Closure | undefined;
  #changed = Promise.withResolvers<void>();
  /** How many of the watch's interruptions are known to have been nothing more. */
  #soundBreaks = 0;
  /** What a former system's Pods have on this node is in the ledger since, and has to be known here before anything is chosen. */
  #takenUp: PromiseWithResolvers<void> | undefined;

  constructor(options: LedgerEpochOptions) {
    this.#options = options;
    options.pools.changed(() => this.#look());
    options.pools.rewound(() => this.#rewound());
    this.#look();
  }

  /**
   * Resolves when new addresses may be given. Throws LEDGER_CLOSED where `signal` aborts before, and where the API server does not
   * say whether it was put back what it answered.
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
  }

  /** False: the time of this closure is up. */
  async #changes({ token, sinceMs }: Closure, { signal }: Signal): Promise<boolean> {
    const { clock } = this.#options;
    const changed = this.#changed.promise;
    // What a former system gave is not free only because nobody has told of it yet.
    const leftMs = isTakeOver(token) ? undefined : sinceMs + closedMsMax - clock.monotonicMs();
    if (leftMs !== undefined && leftMs <= 0) return false;
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const patience = leftMs === undefined ? [] : [clock.sleep(leftMs, { signal: either }).catch(() => {})];
    await abortable(Promise.race([changed, ...patience]), signal)
      .catch(() => this.#refuse())
      .finally(() => stop.abort());
    return true;
  }

  #refuse(): never {
    const why =
      isTakeOver(this.#closed?.token) || this.#takenUp !== undefined ? "taken over from a former system" : "made anew";
    throw new SpiderError("LEDGER_CLOSED", `no new address is given while the ledger is ${why}`, {
      details: {
        closed: this.#closed?.token,
        fix: "it is tried again; where this lasts, kubectl -n kube-system logs deploy/spiderpool-controller says what it waits for",
      },
    });
  }

  #look(): void {
    const tokens = this.#options.pools.list().flatMap((pool) => closureOf(pool) ?? []);
    const token = tokens.sort().at(-1);
    const before = this.#closed?.token;
    // The leader may be slower than this agent to see that all is not what it was.
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
    // Nobody asked for it; or the leader, who does not know this pool yet, is to ask with a closure of its own.
    if (token === ownToken || isLost(token)) return;
    if (!isWhole()) {
      await this.#tell(doneInPart(token), { signal });
      // Where pools were lost, too, they come one after the other.
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

  /** Until `act` is done or the closure is another one, or none. */
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
