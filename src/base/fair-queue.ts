import { SpiderError } from "./errors.ts";

interface FairQueueOptions {
  /** How many calls may be inside at once. */
  readonly slots: number;
  /**
   * How many more calls may be inside, only for tenants with no other call inside: so a quiet namespace need not wait for a call
   * of a busy one to end. @default 0
   */
  readonly spare?: number;
  /** How many calls may wait; further ones are refused at once. */
  readonly maxWaiting: number;
}

interface Waiter {
  readonly enter: () => void;
}

/** A place inside, until it is disposed of. */
class Slot implements Disposable {
  #leave: ((tenant: string) => void) | undefined;
  readonly #tenant: string;

  constructor(tenant: string, leave: (tenant: string) => void) {
    this.#tenant = tenant;
    this.#leave = leave;
  }

  [Symbol.dispose](): void {
    this.#leave?.(this.#tenant);
    this.#leave = undefined;
  }
}

/**
 * Admits calls up to a bound, fairly between tenants (Pod namespaces): a freed slot goes to the tenant that has waited longest
 * for its turn, not to the one with most calls.
 */
export class FairQueue {
  readonly #options: FairQueueOptions;
  #slots: number;
  /** Waiters by tenant, first in, first out. The order of tenants is the order of their turns. */
  readonly #waiting = new Map<string, Waiter[]>();
  /** Calls inside, by tenant. */
  readonly #insideOf = new Map<string, number>();
  #inside = 0;
  #idle: PromiseWithResolvers<void> | undefined;
  #waiters = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
    this.#slots = options.slots;
  }

  /** Changes how many calls may be inside. Calls that are inside stay. */
  resize(slots: number): void {
    this.#slots = slots;
    while (this.#admitNext());
  }

  /** Calls inside and calls waiting, for metrics. */
  get depth(): { readonly inside: number; readonly waiting: number } {
    return { inside: this.#inside, waiting: this.#waiters };
  }

  /** Resolves as soon as no call is inside. */
  idle(): Promise<void> {
    if (this.#inside === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }

  /** Whether a call of this tenant would enter without waiting. */
  #isOpenFor(tenant: string): boolean {
    const { spare = 0 } = this.#options;
    return this.#inside < this.#slots || (this.#inside < this.#slots + spare && !this.#insideOf.has(tenant));
  }

  /** Resolves with a slot when it is this call's turn; dispose the slot when the call ends. */
  async enter(tenant: string, { signal }: { readonly signal: AbortSignal }): Promise<Disposable> {
    signal.throwIfAborted();
    if (!this.#isOpenFor(tenant)) return this.#wait(tenant, signal);
    this.#count(tenant, 1);
    return new Slot(tenant, this.#leave);
  }

  #count(tenant: string, by: 1 | -1): void {
    this.#inside += by;
    const inside = (this.#insideOf.get(tenant) ?? 0) + by;
    if (inside === 0) this.#insideOf.delete(tenant);
    else this.#insideOf.set(tenant, inside);
  }

  #wait(tenant: string, signal: AbortSignal): Promise<Disposable> {
    if (this.#waiters >= this.#options.maxWaiting) {
      const { maxWaiting } = this.#options;
      throw new SpiderError(
        "QUEUE_FULL",
        `${this.#slots} calls are under way and ${maxWaiting} wait already: try again later`,
      );
    }
    return new Promise((resolve, reject) => {
      const forget = () => {
        this.#waiters -= 1;
        signal.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        enter: () => {
          forget();
          this.#count(tenant, 1);
          resolve(new Slot(tenant, this.#leave));
        },
      };
      const onAbort = () => {
        forget();
        const rest = (this.#waiting.get(tenant) ?? []).filter((other) => other !== waiter);
        if (rest.length > 0) this.#waiting.set(tenant, rest);
        else this.#waiting.delete(tenant);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort);
      this.#waiters += 1;
      const queue = this.#waiting.get(tenant);
      if (queue === undefined) this.#waiting.set(tenant, [waiter]);
      else queue.push(waiter);
    });
  }

  readonly #leave = (tenant: string): void => {
    this.#count(tenant, -1);
    if (!this.#admitNext() && this.#inside === 0) {
      this.#idle?.resolve();
      this.#idle = undefined;
    }
  };

  /** Admits the next waiter; false if none may enter. */
  #admitNext(): boolean {
    if (this.#waiters === 0) return false;
    const next = this.#waiting.keys().find((waiting) => this.#isOpenFor(waiting));
    if (next !== undefined) this.#admit(next);
    return next !== undefined;
  }

  #admit(tenant: string): void {
    const queue = this.#waiting.get(tenant) ?? [];
    const next = queue.shift();
    // The tenant goes to the end of the order, so that all others come first.
    this.#waiting.delete(tenant);
    if (queue.length > 0) this.#waiting.set(tenant, queue);
    next?.enter();
  }
}
