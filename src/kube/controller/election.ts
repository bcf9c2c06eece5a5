import { backoffMs, type Clock, type Logger, never, type Signal } from "#base";
import type { KubeClient } from "../client.ts";
import { type Deadline, deadline } from "../deadline.ts";
import { hasReason } from "../errors.ts";
import { type Lease, leases } from "../kinds/core.ts";

/** One uninterrupted time of leading. */
export interface Term {
  /** The Lease's `leaseTransitions`: grows with every term, also of the same process. */
  readonly epoch: number;
  /** Aborts by our own monotonic clock before anyone else may lead. */
  readonly signal: AbortSignal;
}

interface ElectorOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** Unique for each process, not only for each Pod. */
  readonly identity: string;
  /** How long others wait after the last renewal that they saw. @default 15000 */
  readonly leaseDurationMs?: number;
  /** How long we lead after the last renewal that succeeded; the difference is the time to stop in. @default 10000 */
  readonly renewDeadlineMs?: number;
  /** Between renewals, and between attempts to acquire. @default 2000 */
  readonly retryPeriodMs?: number;
  /**
   * Called when the Lease is older than it was before: etcd was restored to an earlier state. Every candidate sees this within
   * `retryPeriodMs`, without a request of its own, even if the restore raised resourceVersions. @default nothing is called
   */
  readonly rewound?: () => void;
  /** @default Math.random */
  readonly random?: () => number;
}

/** A Lease that we hold, and until when we may act on it (monotonic). */
interface Held {
  readonly lease: Lease;
  readonly untilMs: number;
}

/**
 * Leader election on a Lease. No clock is compared with another machine's: a foreign Lease has expired when it has not
 * changed for its duration since *we* first saw this version, and our own term ends `renewDeadlineMs` after we *sent*
 * the last renewal that succeeded.
 */
export class LeaderElector {
  readonly #options: Required<ElectorOptions>;
  #term: Term | undefined;
  #epochSeen = -1;
  /** The Lease as it was last seen, in whosever hands. */
  #newest: Lease | undefined;
  #isRenewed = false;
  /** Somebody held the Lease when we last read it. */
  #isHeld = false;

  constructor(options: ElectorOptions) {
    const defaults = {
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2_000,
      random: Math.random,
      rewound: () => {},
    };
    this.#options = { ...defaults, ...options };
    const { leaseDurationMs, renewDeadlineMs } = this.#options;
    if (renewDeadlineMs >= leaseDurationMs) {
      throw new RangeError(
        `'renewDeadlineMs' must be less than ${leaseDurationMs}: current value is ${renewDeadlineMs}`,
      );
    }
  }

  /** The term that runs, if we lead. */
  get term(): Term | undefined {
    return this.#term;
  }

  /** We lead, or somebody did when the Lease was last read. */
  get isLed(): boolean {
    return this.#term !== undefined || this.#isHeld;
  }

  /** Annotations of the Lease as it was last seen, at no request. */
  get annotations(): Readonly<Record<string, string>> {
    return this.#newest?.metadata.annotations ?? {};
  }

  /** We lead, and the last attempt to renew succeeded: nothing was amiss then. */
  get isRenewed(): boolean {
    return this.#term !== undefined && this.#isRenewed;
  }

  /**
   * Calls `lead` for each term until the signal aborts; then gives the Lease back and resolves. `lead` must end soon
   * after its term's signal aborts; if it returns or throws earlier, the Lease is given back, and the error is thrown.
   */
  async run(lead: (term: Term) => Promise<void>, { signal }: Signal): Promise<void> {
    while (!signal.aborted) {
      const held = await this.#acquire(signal);
      if (held !== undefined) await this.#lead(held, lead, signal);
    }
  }

  async #lead(held: Held, lead: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, log, identity, name } = this.#options;
    const end = new AbortController();
    const onStop = () => end.abort(signal.reason);
    signal.addEventListener("abort", onStop, { once: true });
    if (signal.aborted) onStop();
    using limit = deadline(clock, end.signal, held.untilMs - clock.monotonicMs(), () => late);
    const term = { epoch: held.lease.spec?.leaseTransitions ?? 0, signal: limit.signal };
    this.#term = term;
    this.#epochSeen = term.epoch;
    this.#isRenewed = true;
    log.info({ lease: name, identity, epoch: term.epoch }, "leading");
    const renewing = this.#renew(held.lease, end, limit);
    try {
      // If the machine stood still since it asked, the term is already over, and nothing would tell `lead` so.
      if (!term.signal.aborted) await lead(term);
    } catch (error) {
      if (!term.signal.aborted) throw error;
    } finally {
      end.abort(new Error("the term is over"));
      signal.removeEventListener("abort", onStop);
      const last = await renewing;
      this.#term = undefined;
      log.info({ lease: name, identity, epoch: term.epoch }, "no longer leading");
      if (last !== undefined) await this.#giveBack(last);
    }
  }

  /** Renews until the term ends, or ends it. Resolves with the Lease if it is still ours. */
  async #renew(lease: Lease, end: AbortController, limit: Deadline): Promise<Lease | undefined> {
    const { client, clock, log, retryPeriodMs, renewDeadlineMs, name } = this.#options;
    const { signal } = limit;
    let held = lease;
    for (;;) {
      try {
        await clock.sleep(retryPeriodMs, { signal });
        const sentMs = clock.monotonicMs();
        held = await client.update(leases, { ...held, spec: { ...held.spec, ...this.#mine() } }, { signal });
        this.#see(held);
        this.#isRenewed = true;
        limit.postpone(sentMs + renewDeadlineMs - clock.monotonicMs());
      } catch (err) {
        this.#isRenewed = false;
        if (signal.aborted) return signal.reason === late ? undefined : held;
        log.warn({ lease: name, err }, "the Lease was not renewed");
        if (!hasReason(err, "Conflict", "NotFound")) continue;
        // Either our own update whose answer was lost, or somebody else's.
        const found = await this.#read(signal);
        if (found === "unknown") continue;
        if (found?.spec?.holderIdentity !== this.#options.identity) {
          end.abort(new Error("the Lease was taken"));
          return undefined;
        }
        held = found;
      }
    }
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined | "unknown"> {
    const { client, namespace, name } = this.#options;
    const found = await client.get(leases, { namespace, name }, { signal }).catch(() => "unknown" as const);
    if (found !== "unknown") this.#see(found);
    return found;
  }

  #see(lease: Lease | undefined): void {
    const before = this.#newest;
    this.#newest = lease ?? before;
    if (lease === undefined || before === undefined || !isEarlierLease(lease, before)) return;
    this.#options.log.warn({ lease: this.#options.name }, "the API server was put back to an earlier state");
    this.#options.rewound();
  }

  /** Waits until the Lease is ours; undefined if the signal aborted first. */
  async #acquire(signal: AbortSignal): Promise<Held | undefined> {
    const { client, clock, log, namespace, name, retryPeriodMs, renewDeadlineMs, random } = this.#options;
    let seen: { readonly version: string; readonly atMs: number } | undefined;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const lease = await client.get(leases, { namespace, name }, { signal });
        this.#see(lease);
        const nowMs = clock.monotonicMs();
        this.#epochSeen = Math.max(this.#epochSeen, lease?.spec?.leaseTransitions ?? -1);
        const version = lease?.metadata.resourceVersion ?? "";
        if (seen?.version !== version) seen = { version, atMs: nowMs };
        this.#isHeld = !this.#isFree(lease, nowMs - seen.atMs);
        if (!this.#isHeld) {
          const taken = await this.#take(lease, signal);
          this.#see(taken);
          return { lease: taken, untilMs: nowMs + renewDeadlineMs };
        }
        failures = 0;
      } catch (err) {
        if (signal.aborted) return undefined;
        // A conflict: another candidate was faster.
        if (!hasReason(err, "Conflict", "AlreadyExists") && failures++ === 0) {
          log.warn({ lease: name, err }, "the Lease cannot be acquired");
        }
      }
      const jitterMs = backoffMs(0, { firstMs: retryPeriodMs / 4, maxMs: retryPeriodMs, random });
      await clock.sleep(retryPeriodMs + jitterMs, { signal }).catch(() => {});
    }
    return undefined;
  }

  /** `unchangedMs`: for how long we have seen this same version. */
  #isFree(lease: Lease | undefined, unchangedMs: number): boolean {
    const { holderIdentity: holder, leaseDurationSeconds } = lease?.spec ?? {};
    // Our own identity, when we do not lead: an acquisition or return whose answer was lost.
    if (holder === undefined || holder === "" || holder === this.#options.identity) return true;
    return unchangedMs >= (leaseDurationSeconds ?? this.#options.leaseDurationMs / 1000) * 1000;
  }

  #take(lease: Lease | undefined, signal: AbortSignal): Promise<Lease> {
    const { client, namespace, name } = this.#options;
    // Where the Lease was deleted and starts over, whoever saw the former one goes on counting.
    const leaseTransitions = this.#epochSeen + 1;
    const spec = { ...this.#mine(), acquireTime: this.#microTime(), leaseTransitions };
    if (lease === undefined) return client.create(leases, { metadata: { namespace, name }, spec }, { signal });
    return client.update(leases, { ...lease, spec: { ...lease.spec, ...spec } }, { signal });
  }

  /** Lets the next leader start at once. Best effort: otherwise it waits for the Lease to expire. */
  async #giveBack(lease: Lease): Promise<void> {
    const { client, clock, log, name, retryPeriodMs } = this.#options;
    using limit = deadline(clock, never, retryPeriodMs, () => new Error("giving the Lease back took too long"));
    const spec = { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1, renewTime: this.#microTime() };
    await client.update(leases, { ...lease, spec }, limit).catch((err: unknown) => {
      log.debug({ lease: name, err }, "the Lease was not given back");
    });
  }

  #mine() {
    const { identity, leaseDurationMs } = this.#options;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      renewTime: this.#microTime(),
    };
  }

  /** Kubernetes' MicroTime has six digits after the point. Within a term it never goes back, whatever the clock does. */
  #microTime(): string {
    const now = this.#options.clock.wall().toISOString().replace("Z", "000Z");
    const before = this.#newest?.spec?.renewTime ?? "";
    return now > before || this.#newest?.spec?.holderIdentity !== this.#options.identity ? now : before;
  }
}

/** Whether this is an earlier state of the same Lease: a holder's time never goes back, and terms only grow. */
function isEarlierLease({ metadata, spec }: Lease, than: Lease): boolean {
  if (metadata.uid !== than.metadata.uid) return false;
  const terms = (spec?.leaseTransitions ?? 0) - (than.spec?.leaseTransitions ?? 0);
  return terms < 0 || (terms === 0 && (spec?.renewTime ?? "") < (than.spec?.renewTime ?? ""));
}

const late = new Error("the Lease could not be renewed in time");
