import { spiderIPAddresses } from "#api";
import { backoffMs, type Clock, FairQueue, formatError, type Logger, type Signal } from "#base";
import { hasReason, type KubeClient } from "#kube";
import { type Claim, claimOf } from "./claim.ts";

/** Why an address becomes free, for the log and the Events. */
export interface ReleaseReason {
  readonly why: string;
  readonly evidence: readonly string[];
}

interface Pending {
  readonly claim: Claim;
  readonly reason: ReleaseReason;
}

/** Deletes in flight at once: releases yield to claims. */
const deletesMax = 4;

export interface ReleasesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told when a claim is gone for certain, or is no longer the one we meant. */
  readonly released: (claim: Claim) => void;
}

/**
 * Releases that are decided and not yet done. A DEL never waits for the API server: its releases are finished here,
 * however long that takes. What is lost with the process is found again by the audit.
 */
export class Releases {
  readonly #options: ReleasesOptions;
  readonly #slots = new FairQueue({ slots: deletesMax, maxWaiting: Number.MAX_SAFE_INTEGER });
  readonly #pending = new Map<string, Pending>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop: AbortSignal;

  constructor(options: ReleasesOptions, { signal }: Signal) {
    this.#options = options;
    this.#stop = signal;
  }

  /** How many are not done yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Decides the release of exactly this version of this object; it is done in the background, once. */
  add(claim: Claim, reason: ReleaseReason): void {
    if (this.#pending.has(claim.uid)) return;
    this.#pending.set(claim.uid, { claim, reason });
    const running = this.#release({ claim, reason }).finally(() => {
      this.#pending.delete(claim.uid);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  /** Resolves when nothing is pending, or when the process stops. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #release({ claim: first, reason }: Pending): Promise<void> {
    const { clock, log } = this.#options;
    const signal = this.#stop;
    let claim = first;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        using _slot = await this.#slots.enter("", { signal });
        const again = await this.#delete(claim, { signal });
        if (again === undefined) {
          log.info({ ip: claim.spec.address, pool: claim.spec.pool, ...reason }, "address released");
          this.#options.released(claim);
          return;
        }
        claim = again;
      } catch (err) {
        if (signal.aborted) return;
        log.warn({ ip: claim.spec.address, err: formatError(err) }, "the release of an address is tried again");
        await clock.sleep(backoffMs(attempt, { firstMs: 500, maxMs: 30_000 }), { signal }).catch(() => {});
      }
    }
  }

  /** Undefined when it is done; the newer version of the same claim where that must be deleted instead. */
  async #delete(claim: Claim, o: Signal): Promise<Claim | undefined> {
    const { client } = this.#options;
    const { name, uid, resourceVersion } = claim;
    try {
      await client.delete(spiderIPAddresses, { name }, { ...o, preconditions: { uid, resourceVersion } });
      return undefined;
    } catch (error) {
      if (!hasReason(error, "Conflict", "Invalid")) throw error;
    }
    const object = await client.get(spiderIPAddresses, { name }, o);
    const now = object && claimOf(object);
    if (now === undefined || now.uid !== uid) return undefined;
    const same = now.spec.podUID === claim.spec.podUID && now.spec.containerID === claim.spec.containerID;
    // Somebody wrote to it since: only a claim that is still of the same sandbox may go.
    return same ? now : undefined;
  }
}
