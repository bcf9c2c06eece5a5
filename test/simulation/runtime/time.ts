/** Something that happens at a moment of the simulated world. */
export interface Happening {
  readonly atMs: number;
  readonly act: () => void;
  /** It does not happen after all. */
  cancelled: boolean;
}

interface Queued extends Happening {
  readonly order: number;
}

/** So often the event loop gets a turn: for signals, finalizers and the test runner. */
const breathEvery = 4_096;

/**
 * The time of the simulated world. One step is one happening, and all that follows from it without waiting: nothing runs but
 * microtasks, so that the same happenings give the same run.
 */
export class Time {
  nowMs = 0;
  /** Happenings so far. */
  steps = 0;
  readonly #heap: Queued[] = [];
  #order = 0;

  /** Calls `act` in `ms`, after everything that was planned for that moment before. */
  after(ms: number, act: () => void): Happening {
    const happening: Queued = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, act, cancelled: false };
    push(this.#heap, happening);
    return happening;
  }

  /** Lets happen what is due until `untilMs`, or until `stop` says so. */
  async run(untilMs: number, stop: () => boolean = () => false): Promise<void> {
    await drained();
    while (!stop()) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      pop(this.#heap);
      if (next.cancelled) continue;
      this.nowMs = next.atMs;
      this.steps += 1;
      next.act();
      await drained();
      if (this.steps % breathEvery === 0) await new Promise((resolve) => realSetImmediate(resolve));
    }
    if (!stop()) this.nowMs = Math.max(this.nowMs, untilMs);
  }
}

const realSetImmediate = setImmediate;

/** Resolves when every microtask has run, also those that others added. */
function drained(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

function isBefore(a: Queued, b: Queued): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Queued[], item: Queued): void {
  let at = heap.length;
  for (let up = (at - 1) >> 1; at > 0; at = up, up = (at - 1) >> 1) {
    const parent = heap[up];
    if (parent === undefined || !isBefore(item, parent)) break;
    heap[at] = parent;
  }
  heap[at] = item;
}

function pop(heap: Queued[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    const [child, down] =
      right !== undefined && left !== undefined && isBefore(right, left) ? [right, 2 * at + 2] : [left, 2 * at + 1];
    if (child === undefined || !isBefore(child, last)) break;
    heap[at] = child;
    at = down;
  }
  heap[at] = last;
}
