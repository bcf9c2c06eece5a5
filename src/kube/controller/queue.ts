import { type BackoffOptions, backoffMs, type Clock, type Signal } from "#base";

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
  /** Workers that wait, the longest waiting first: each is given one key. */
  readonly #workers = new Set<(key: string) => void>();
  #isServing = false;
  /** Set for the first delayed key while workers wait. One for all of them: each event of a watch would move those of four. */
  #alarm: { readonly dueMs: number; readonly cancel: () => void } | undefined;

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
    this.#serveSoon();
  }

  /** Adds the key in `ms`; the earlier of two times wins, and so does an add before. */
  addAfter(key: string, ms: number): void {
    const dueMs = this.#clock.monotonicMs() + ms;
    if (this.#ready.has(key) || this.#dirty.has(key) || (this.#delayed.get(key) ?? Number.POSITIVE_INFINITY) <= dueMs)
      return;
    this.#delayed.set(key, dueMs);
    this.#order.push({ key, dueMs });
    this.#setAlarm();
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
    signal.throwIfAborted();
    this.#ripen();
    return this.#hold() ?? (await this.#wait(signal));
  }

  #hold(): string | undefined {
    const key = this.#first();
    if (key === undefined) return undefined;
    this.#ready.delete(key);
    this.#held.add(key);
    return key;
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

  #wait(signal: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      const worker = (key: string) => {
        signal.removeEventListener("abort", giveUp);
        resolve(key);
      };
      const giveUp = () => {
        this.#workers.delete(worker);
        this.#setAlarm();
        reject(signal.reason);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#workers.add(worker);
      this.#setAlarm();
    });
  }

  /** Serves waiting workers after the caller, so that what it adds several times is one key. */
  #serveSoon(): void {
    if (this.#isServing || this.#workers.size === 0) return;
    this.#isServing = true;
    queueMicrotask(() => {
      this.#isServing = false;
      this.#serve();
    });
  }

  #serve(): void {
    for (const worker of this.#workers) {
      const key = this.#hold();
      if (key === undefined) break;
      this.#workers.delete(worker);
      worker(key);
    }
    this.#setAlarm();
  }

  /** An alarm that comes too early, because its key came otherwise, is set anew then. */
  #setAlarm(): void {
    const next = this.#workers.size === 0 ? undefined : this.#order.peek();
    if (next !== undefined && this.#alarm !== undefined && this.#alarm.dueMs <= next.dueMs) return;
    this.#alarm?.cancel();
    this.#alarm = undefined;
    if (next === undefined) return;
    const cancel = this.#clock.after(Math.max(0, next.dueMs - this.#clock.monotonicMs()), () => {
      this.#alarm = undefined;
      this.#ripen();
      this.#setAlarm();
    });
    this.#alarm = { dueMs: next.dueMs, cancel };
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
