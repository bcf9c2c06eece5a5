import { abortable, type BackoffOptions, backoffMs, type Clock, type Signal } from "#base";

/** One for all waits: nobody sees it, and making an error at each costs more than the rest of a wait. */
const over = new Error("the wait is over");

interface WorkQueueOptions extends Partial<BackoffOptions> {
  readonly clock: Clock;
}

/**
 * Keys that wait for work. A key is in it once, however often it is added; while a worker holds it, further adds are
 * remembered and it comes again afterwards, so that one key is never worked on twice at a time and no change is missed.
 * Its size is bounded by the number of different keys.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #backoff: BackoffOptions;
  readonly #ready = new Set<string>();
  #front = this.#ready.values();
  readonly #held = new Set<string>();
  /** Added again while held. */
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, number>();
  /** May hold outdated entries: `#delayed` decides. */
  readonly #order = new DueHeap();
  readonly #failures = new Map<string, number>();
  #moved = Promise.withResolvers<void>();

  constructor({ clock, firstMs = 500, maxMs = 60_000, random = Math.random }: WorkQueueOptions) {
    this.#clock = clock;
    this.#backoff = { firstMs, maxMs, random };
  }

  /** Keys that could be taken now. */
  get length(): number {
    return this.#ready.size;
  }

  /** Keys that wait for their time. */
  get delayed(): number {
    return this.#delayed.size;
  }

  add(key: string): void {
    this.#delayed.delete(key);
    if (this.#held.has(key)) this.#dirty.add(key);
    else this.#ready.add(key);
    this.#signalMove();
  }

  /** Adds the key in `ms`; the earlier of two times wins, and so does an add before. */
  addAfter(key: string, ms: number): void {
    const dueMs = this.#clock.monotonicMs() + ms;
    if (this.#ready.has(key) || this.#dirty.has(key) || (this.#delayed.get(key) ?? Number.POSITIVE_INFINITY) <= dueMs)
      return;
    this.#delayed.set(key, dueMs);
    this.#order.push({ key, dueMs });
    this.#signalMove();
  }

  /** Adds the key after a delay that grows with each call until `forget`. */
  retry(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, backoffMs(failures, this.#backoff));
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, in the order in which they became ready; the caller holds it until `done`. */
  async take({ signal }: Signal): Promise<string> {
    for (;;) {
      signal.throwIfAborted();
      this.#ripen();
      const key = this.#first();
      if (key !== undefined) {
        this.#ready.delete(key);
        this.#held.add(key);
        return key;
      }
      await this.#untilMove(signal);
    }
  }

  /**
   * The key that has been ready for longest. Keeps one iterator: a new one would walk over every key that was taken since the
   * set last grew, which takes minutes for 300,000 keys.
   */
  #first(): string | undefined {
    const next = this.#front.next();
    if (next.done !== true) return next.value;
    this.#front = this.#ready.values();
    return this.#front.next().value;
  }

  done(key: string): void {
    this.#held.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  /** Makes ready what is due. */
  #ripen(): void {
    for (let next = this.#order.peek(); next !== undefined; next = this.#order.peek()) {
      const outdated = this.#delayed.get(next.key) !== next.dueMs;
      if (!outdated && next.dueMs > this.#clock.monotonicMs()) return;
      this.#order.pop();
      if (!outdated) this.add(next.key);
    }
  }

  /** Waits until a key is added or the first delayed one is due. */
  async #untilMove(signal: AbortSignal): Promise<void> {
    const moved = this.#moved.promise;
    const next = this.#order.peek();
    if (next === undefined) return abortable(moved, signal);
    const sleep = new AbortController();
    const leftMs = Math.max(0, next.dueMs - this.#clock.monotonicMs());
    const due = this.#clock.sleep(leftMs, { signal: sleep.signal }).catch(() => {});
    try {
      await abortable(Promise.race([moved, due]), signal);
    } finally {
      sleep.abort(over);
    }
  }

  #signalMove(): void {
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }
}

interface Due {
  readonly key: string;
  readonly dueMs: number;
}

/** A binary heap, the earliest first. */
class DueHeap {
  readonly #items: Due[] = [];

  peek(): Due | undefined {
    return this.#items[0];
  }

  push(item: Due): void {
    const items = this.#items;
    let at = items.length;
    for (let up = (at - 1) >> 1; at > 0; at = up, up = (at - 1) >> 1) {
      const parent = items[up];
      if (parent === undefined || parent.dueMs <= item.dueMs) break;
      items[at] = parent;
    }
    items[at] = item;
  }

  pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (;;) {
      const left = items[2 * at + 1];
      const right = items[2 * at + 2];
      const child = right !== undefined && left !== undefined && right.dueMs < left.dueMs ? right : left;
      if (child === undefined || child.dueMs >= last.dueMs) break;
      items[at] = child;
      at = 2 * at + (child === left ? 1 : 2);
    }
    items[at] = last;
  }
}
