import { spiderIPAddresses } from "#api";
import { abortable, type Clock, FairQueue, formatError, type Logger, type Signal } from "#base";
import { hasReason, type KubeClient, retry } from "#kube";
import { type Claim, keyOfClaim } from "./claim.ts";
import { readClaim } from "./writes.ts";

/** Why an address becomes free, for the log and the Events. */
export interface ReleaseReason {
  readonly why: string;
  readonly evidence: readonly string[];
}

interface Pending {
  /** The version to delete. */
  claim: Claim;
  readonly reason: ReleaseReason;
  readonly done: Promise<void>;
  /** What the last try met. */
  failure?: unknown;
}

/** Deletes in flight at once: releases yield to claims. */
const deletesMax = 4;

export interface ReleasesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told when a claim is gone for certain. */
  readonly released: (claim: Claim) => void;
}

/**
 * Releases that are decided and not yet done. A DEL never waits for the API server: its releases are finished here,
 * however long that takes. What is lost with the process is found again by recall and audit.
 */
export class Releases {
  readonly #options: ReleasesOptions;
  readonly #slots = new FairQueue({ slots: deletesMax, maxWaiting: Number.MAX_SAFE_INTEGER });
  /** By the UID of the claim. */
  readonly #pending = new Map<string, Pending>();
  readonly #stop: AbortSignal;

  constructor(options: ReleasesOptions, { signal }: Signal) {
    this.#options = options;
    this.#stop = signal;
  }

  /** How many are not done yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Decides the release of exactly this version of this object; it is done in the background, once, after `afterMs`. */
  add(claim: Claim, reason: ReleaseReason, { afterMs = 0 }: { readonly afterMs?: number } = {}): void {
    const { uid } = claim;
    if (this.#pending.has(uid)) return;
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const pending: Pending = { claim, reason, done };
    this.#pending.set(uid, pending);
    void this.#release(pending, afterMs).finally(() => {
      this.#pending.delete(uid);
      resolve();
    });
  }

  /** Resolves when no release of this key is pending. Past the deadline it throws what stands in the way. */
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
      if (await retry((signal) => this.#delete(pending, signal), o)) {
        log.info({ ip: address, pool, ...pending.reason }, "address released");
        released(pending.claim);
      } else log.info({ ip: address, pool }, "address kept: another sandbox of its Pod took it");
    } catch (err) {
      if (!this.#stop.aborted) log.error({ ip: address, err }, "the release of an address was given up");
    }
  }

  /** True when the object is gone; false when another sandbox has it by now. Throws where it must be tried again. */
  async #delete(pending: Pending, o: Signal): Promise<boolean> {
    const { client } = this.#options;
    using _slot = await this.#slots.enter("", o);
    const { name, uid, resourceVersion, spec } = pending.claim;
    try {
      await client.delete(spiderIPAddresses, { name }, { ...o, preconditions: { uid, resourceVersion } });
      return true;
    } catch (error) {
      if (!hasReason(error, "Conflict")) throw error;
      const now = await readClaim(client, name, o);
      if (now?.uid !== uid) return true;
      if (now.spec.podUID !== spec.podUID || now.spec.containerID !== spec.containerID) return false;
      pending.claim = now;
      throw error;
    }
  }
}
