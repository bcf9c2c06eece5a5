import { abortable, type Signal, SpiderError } from "#base";
import { limits } from "./limits.ts";
import type { Operation } from "./operations.ts";

/** What one call wants done to the database as it is now. */
export interface Plan<T> {
  /** None: there is nothing to do. */
  readonly operations: readonly Operation[];
  /** What the plan touches: two plans that touch the same thing never share a transaction. */
  readonly touches: readonly string[];
  /** The plan may well be refused, and would make other plans of its transaction fail. */
  readonly risky?: boolean;
  /** The outcome when it is committed. */
  readonly value: T;
}

/** One caller's part of a transaction; those that wait at the same time are sent as one. */
interface Work<T> {
  /** Called each time the work is about to be sent; `id` is unique within the transaction. What it throws is the outcome. */
  readonly plan: (id: number) => Plan<T>;
  /** Turns the refusal of one of its operations into the error for the caller. */
  readonly explain: (refusal: Refusal) => Error;
}

/** An entry of a `transact` reply that is an error (RFC 7047 §4.1.3). */
export interface Refusal {
  readonly error: string;
  readonly details: string;
}

interface TransactionQueueOptions {
  /** A call's own signal, and no longer than a call may take. */
  readonly limit: (signal: AbortSignal) => AbortSignal & Disposable;
  /** The error for a call that ran out of time; `reason` is why. */
  readonly late: (reason: unknown) => unknown;
}

/** Sends operations as one transaction and returns the reply's `result`. Rejects with OVSDB_REFUSED, or if the connection is lost. */
type Transact = (operations: readonly Operation[]) => Promise<unknown>;

interface Member {
  readonly work: Work<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  alone: boolean;
  cancelled: boolean;
}

/**
 * One transaction at a time. Work that arrives meanwhile waits and then shares the next one, so that a burst costs few
 * commits. A refused operation fails a whole transaction: its members are then sent again singly. Work whose
 * transaction was cut off by a lost connection is planned again from the next snapshot, which shows whether it had
 * been committed.
 */
export class TransactionQueue {
  readonly #options: TransactionQueueOptions;
  #waiting: Member[] = [];
  #transact: Transact | undefined;
  #closed: Error | undefined;
  #busy = false;

  constructor(options: TransactionQueueOptions) {
    this.#options = options;
  }

  /** Work may be sent from now on, until a transaction is cut off; undefined stops it until the next call. */
  use(transact: Transact | undefined): void {
    this.#transact = transact;
    this.#flush();
  }

  /** Fails all that waits and all that comes. */
  close(reason: Error): void {
    this.#closed = reason;
    this.#transact = undefined;
    for (const member of this.#waiting.splice(0)) member.reject(reason);
  }

  /** Sends the work, before it returns when nothing else is under way, and resolves when it is committed. */
  run<T>(work: Work<T>, { signal }: Signal): Promise<T> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#waiting.length >= limits.queueMax) {
      return Promise.reject(
        new SpiderError("OVSDB_OVERLOADED", "too many changes of Open vSwitch wait", {
          details: { waiting: this.#waiting.length },
        }),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const member: Member = { work, resolve: (value) => resolve(value as T), reject, alone: false, cancelled: false };
    this.#waiting.push(member);
    if (!signal.aborted) this.#flush();
    return this.#bounded(promise, member, signal);
  }

  async #bounded<T>(promise: Promise<T>, member: Member, signal: AbortSignal): Promise<T> {
    const { limit: limited, late } = this.#options;
    using limit = limited(signal);
    promise.catch(() => {}); // Nobody is left to hear of it when the limit comes first.
    try {
      return await abortable(promise, limit);
    } catch (error) {
      if (!limit.aborted || error !== limit.reason) throw error;
      member.cancelled = true;
      this.#waiting = this.#waiting.filter((one) => one !== member);
      throw late(error);
    }
  }

  #flush(): void {
    if (this.#busy || this.#transact === undefined) return;
    const members: Member[] = [];
    const plans: Plan<unknown>[] = [];
    const touched = new Set<string>();
    while (members.length < limits.batchMax) {
      const next = this.#waiting[0];
      if (next === undefined || (next.alone && members.length > 0)) break;
      const plan = planOrReject(next, members.length);
      const conflicts = plan?.touches.some((one) => touched.has(one)) ?? false;
      if (plan !== undefined && members.length > 0 && (conflicts || plan.risky === true)) break;
      this.#waiting.shift();
      if (plan === undefined) continue;
      if (plan.operations.length === 0) {
        next.resolve(plan.value);
        continue;
      }
      members.push(next);
      plans.push(plan);
      for (const one of plan.touches) touched.add(one);
      if (next.alone || plan.risky === true) break;
    }
    if (members.length > 0) void this.#send(members, plans, this.#transact);
  }

  async #send(members: readonly Member[], plans: readonly Plan<unknown>[], transact: Transact): Promise<void> {
    this.#busy = true;
    try {
      const operations = plans.flatMap((plan) => plan.operations);
      const refusal = refusalOf(await transact(operations), operations.length);
      if (refusal === undefined) for (const [at, member] of members.entries()) member.resolve(plans[at]?.value);
      else if (members.length === 1) members[0]?.reject(members[0].work.explain(refusal));
      else this.#again(members, true);
    } catch (error) {
      if (error instanceof SpiderError && error.code === "OVSDB_REFUSED") for (const one of members) one.reject(error);
      else {
        // The connection is lost, also where nobody has said so yet: each try would fail at once, and because nothing but
        // tries would run between them, nobody ever could.
        if (this.#transact === transact) this.#transact = undefined;
        this.#again(members, false);
      }
    } finally {
      this.#busy = false;
      this.#flush();
    }
  }

  #again(members: readonly Member[], alone: boolean): void {
    for (const member of members) member.alone ||= alone;
    this.#waiting = [...members.filter((member) => !member.cancelled), ...this.#waiting];
    if (this.#closed !== undefined) this.close(this.#closed);
  }
}

function planOrReject(member: Member, id: number): Plan<unknown> | undefined {
  try {
    return member.work.plan(id);
  } catch (error) {
    member.reject(error);
    return undefined;
  }
}

/**
 * The first refusal in a `transact` result: one entry for each operation, `null` after the one that failed, and one entry
 * more where the commit itself failed.
 */
function refusalOf(result: unknown, operations: number): Refusal | undefined {
  const entries: unknown[] = Array.isArray(result) ? result : [];
  for (const entry of entries) {
    if (typeof entry !== "object" || entry === null || !("error" in entry)) continue;
    const details = "details" in entry && typeof entry.details === "string" ? entry.details : "";
    return { error: String(entry.error), details };
  }
  const complete = entries.length >= operations && !entries.slice(0, operations).includes(null);
  return complete ? undefined : { error: "incomplete reply", details: JSON.stringify(result).slice(0, 200) };
}
