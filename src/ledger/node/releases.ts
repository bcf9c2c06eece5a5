import { spiderIPAddresses } from "#api";
import { abortable, type Clock, FairQueue, formatError, type Logger, type Signal } from "#base";
import { hasReason, type KubeClient, retry } from "#kube";
import { type Claim, detached, keyOfClaim } from "../claims/claim.ts";
import { readClaim, writeClaim } from "../claims/writes.ts";

/** Why an address is released, for the log and for Events. */
export interface ReleaseReason {
  readonly why: string;
  readonly evidence: readonly string[];
}

/** The text of an Event about an address: what was done with it, why, and by what evidence. */
export function formatAction(
  { address, podNamespace, podName }: Claim["spec"],
  done: string,
  { why, evidence }: ReleaseReason,
): string {
  const of = podName === undefined ? "" : ` of Pod ${podNamespace}/${podName}`;
  return `${address}${of} ${done}: ${why} (${evidence.join("; ")})`;
}

/** What happens to a claim in the end: it is deleted, or kept for the next Pod (detached). */
export type Ending = "delete" | "detach";

interface Pending {
  /** The version of the claim to delete or to detach. */
  claim: Claim;
  /** The sandboxes whose release was decided. A sandbox that takes the claim over meanwhile may be added. */
  readonly sandboxes: Set<string | undefined>;
  readonly ending: Ending;
  readonly reason: ReleaseReason;
  readonly done: Promise<void>;
  /** The error of the last attempt. */
  failure?: unknown;
}

/** How many deletes are in flight at a time. There are few, because claims are more urgent. */
const deletesMax = 4;

interface ReleasesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when it is certain that the holder no longer has the claim. */
  readonly released: (claim: Claim, ending: Ending) => void;
  /**
   * Whether the next Pod would find the sticky claim. If not, it is deleted rather than detached: its ADD ended before it was
   * answered. From the index on the address is its owner's, though no Pod may ever have run with it: an address that the index
   * names is made again by the next ADD, and only the controller, which knows what the owner wants, may let it go.
   */
  readonly isIndexed: (claim: Claim, o: Signal) => Promise<boolean>;
}

/**
 * Releases that are decided but not done. A DEL never waits for the API server: its releases are done here, however long that
 * takes. If the process ends before, the next one finds them by recall and audit.
 */
export class Releases {
  readonly #options: ReleasesOptions;
  readonly #slots = new FairQueue({ slots: deletesMax, maxWaiting: Number.MAX_SAFE_INTEGER });
  /** By the claim's UID. */
  readonly #pending = new Map<string, Pending>();
  readonly #stop: AbortSignal;

  constructor(options: ReleasesOptions, { signal }: Signal) {
    this.#options = options;
    this.#stop = signal;
  }

  /** How many releases are not done. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Decides that the claim's sandbox no longer has it. The claim is ended in the background after `afterMs`, once. */
  add(
    claim: Claim,
    reason: ReleaseReason,
    { afterMs = 0, ending = "delete" }: { readonly afterMs?: number; readonly ending?: Ending } = {},
  ): Promise<void> {
    const {
      uid,
      spec: { containerID },
    } = claim;
    const already = this.#pending.get(uid);
    if (already !== undefined) {
      already.sandboxes.add(containerID);
      return already.done;
    }
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const pending: Pending = { claim, sandboxes: new Set([containerID]), ending, reason, done };
    this.#pending.set(uid, pending);
    void this.#release(pending, afterMs).finally(() => {
      this.#over(pending);
      resolve();
    });
    return done;
  }

  /** Resolves when no release of this key is pending. After the deadline it throws the error that prevents the release. */
  async settled(key: string, { signal }: Signal): Promise<void> {
    for (const pending of [...this.#pending.values()].filter(({ claim }) => keyOfClaim(claim) === key)) {
      await abortable(pending.done, signal).catch((error: unknown) => {
        throw pending.failure ?? error;
      });
    }
  }

  /** Resolves when nothing is pending, or when the process stops. */
  async drained(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all([...this.#pending.values()].map(({ done }) => done));
  }

  async #release(pending: Pending, afterMs: number): Promise<void> {
    const { clock, log, released } = this.#options;
    const { address, pool } = pending.claim.spec;
    const retryable = (err: unknown) => {
      pending.failure = err;
      log.warn({ ip: address, err: formatError(err) }, "the release of an address is tried again");
      return true;
    };
    try {
      if (afterMs > 0) await clock.sleep(afterMs, { signal: this.#stop });
      const o = { signal: this.#stop, clock, retryable, firstMs: 500 };
      const ending = await retry((signal) => this.#end(pending, signal), o);
      if (ending === undefined) log.info({ ip: address, pool }, "address kept: another sandbox of its Pod took it");
      else {
        log.info(
          { ip: address, pool, ...pending.reason },
          ending === "delete" ? "address released" : "address detached",
        );
        released(pending.claim, ending);
      }
    } catch (err) {
      if (!this.#stop.aborted) log.error({ ip: address, err }, "the release of an address was given up");
    }
  }

  /** Ends the claim and returns how; undefined if another sandbox has it by now. Throws if that must be tried again. */
  async #end(pending: Pending, o: Signal): Promise<Ending | undefined> {
    const { client, isIndexed } = this.#options;
    using _slot = await this.#slots.enter("", o);
    const { claim } = pending;
    const { name, uid, resourceVersion, spec } = claim;
    const ending = pending.ending === "detach" && (await isIndexed(claim, o)) ? "detach" : "delete";
    try {
      if (ending === "detach") await writeClaim(client, claim, detached(spec), o);
      else await client.delete(spiderIPAddresses, { name }, { ...o, preconditions: { uid, resourceVersion } });
      return ending;
    } catch (error) {
      if (!hasReason(error, "Conflict", "NotFound")) throw error;
      const now = await readClaim(client, name, o);
      if (now?.uid !== uid) return "delete";
      if (ending === "detach" && now.spec.node === undefined) return "detach";
      if (now.spec.podUID !== spec.podUID || !pending.sandboxes.has(now.spec.containerID)) {
        this.#over(pending); // At once, because a later decision about that sandbox is another release.
        return undefined;
      }
      pending.claim = now;
      throw error;
    }
  }

  #over(pending: Pending): void {
    const { uid } = pending.claim;
    if (this.#pending.get(uid) === pending) this.#pending.delete(uid);
  }
}
