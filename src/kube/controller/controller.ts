import { type Clock, type Logger, type Signal, SpiderError } from "#base";
import { hasReason } from "../errors.ts";
import { type KubeObject, keyOf } from "../kinds/resource.ts";
import type { Store } from "../watch/store.ts";
import { WorkQueue } from "./queue.ts";

/** Brings the world to what the API says about `key`, from whatever state. `afterMs`: look again then, changed or not. */
type Reconcile = (key: string, o: Signal) => Promise<{ readonly afterMs?: number }>;

/** Thrown by a reconcile that no repetition can help: the key waits for its next change. */
export class TerminalError extends SpiderError {
  constructor(
    message: string,
    options: { readonly cause: unknown; readonly details?: Readonly<Record<string, unknown>> },
  ) {
    super("RECONCILE_TERMINAL", message, options);
    this.name = "TerminalError";
  }
}

/**
 * Where keys come from. `subscribe` adds what exists already, then every change; it returns the function that ends it. A key
 * that is added with `afterMs` is looked at then, once for all that is added meanwhile.
 */
export interface Source {
  /** Resolves when `subscribe` would add all that exists. @default at once */
  synced?(o: Signal): Promise<void>;
  subscribe(add: (key: string, afterMs?: number) => void): () => void;
}

/** Counters to be wired to metrics. */
export interface ControllerMetrics {
  reconciled(controller: string, result: ReconcileResult, durationMs: number): void;
  /** Told whenever a key is taken. */
  queued(controller: string, length: number): void;
}

/** How a reconcile can end: the label values of its metric, those of controller-runtime first. */
export const reconcileResults = ["success", "error", "requeue_after", "conflict", "terminal_error"] as const;
/** How a reconcile ended: the label `result` of the metrics. */
type ReconcileResult = (typeof reconcileResults)[number];

/** What is reconciled, after which changes, and how a failed key is retried. */
export interface ControllerOptions {
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly sources: readonly Source[];
  readonly clock: Clock;
  readonly log: Logger;
  /** How many keys at once; one key never twice. @default 1 */
  readonly workers?: number;
  readonly metrics?: ControllerMetrics;
  /** The ceiling of the delay after the first failure of a key, doubling. @default 500 */
  readonly firstMs?: number;
  /** @default 60000 */
  readonly maxMs?: number;
  /** @default Math.random */
  readonly random?: () => number;
}

/** A source of keys that its owner adds. What is added while no controller runs is not remembered. */
export class KeySource implements Source {
  readonly synced: (o: Signal) => Promise<void>;
  readonly #subscribers = new Set<(key: string, afterMs?: number) => void>();

  /** `synced`: see {@link Source}. @default at once */
  constructor(synced: (o: Signal) => Promise<void> = () => Promise.resolve()) {
    this.synced = synced;
  }

  add(key: string, afterMs?: number): void {
    for (const add of this.#subscribers) add(key, afterMs);
  }

  subscribe(add: (key: string, afterMs?: number) => void): () => void {
    this.#subscribers.add(add);
    return () => this.#subscribers.delete(add);
  }
}

/** A source of the keys of a store's objects, or of the keys that `keysOf` returns for each old and new object (its owner's). */
export function fromStore<T extends KubeObject>(
  store: Store<T>,
  keysOf: (object: T) => readonly string[] = (object) => [keyOf(object.metadata)],
): Source {
  return {
    synced: (o) => store.synced(o),
    subscribe: (add) => {
      const report = (object: T | undefined) => {
        for (const key of object === undefined ? [] : keysOf(object)) add(key);
      };
      for (const object of store.list()) report(object);
      return store.changed((_key, now, before) => {
        report(before);
        report(now);
      });
    },
  };
}

/** Waits for all sources, then reconciles until the signal aborts; resolves when the last reconcile has ended. */
export async function runController(options: ControllerOptions, { signal }: Signal): Promise<void> {
  const queue = new WorkQueue(options);
  const add = (key: string, afterMs?: number) =>
    afterMs === undefined ? queue.add(key) : queue.addAfter(key, afterMs);
  const ends = options.sources.map((source) => source.subscribe(add));
  try {
    await Promise.all(options.sources.map((source) => source.synced?.({ signal })));
    await Promise.all(Array.from({ length: options.workers ?? 1 }, () => work(options, queue, signal)));
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    for (const end of ends) end();
  }
}

async function work(options: ControllerOptions, queue: WorkQueue, signal: AbortSignal): Promise<void> {
  const { name, clock, metrics } = options;
  for (;;) {
    const key = await queue.take({ signal }).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    if (key === undefined) return;
    metrics?.queued(name, queue.length);
    const startMs = clock.monotonicMs();
    const result = await reconcileOne(options, queue, key, signal);
    queue.done(key);
    if (result !== undefined) metrics?.reconciled(name, result, clock.monotonicMs() - startMs);
  }
}

/** Never throws; undefined if the signal cut it off. */
async function reconcileOne(
  { name, log, reconcile }: ControllerOptions,
  queue: WorkQueue,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  try {
    const { afterMs } = await reconcile(key, { signal });
    queue.forget(key);
    if (afterMs === undefined) return "success";
    queue.addAfter(key, afterMs);
    return "requeue_after";
  } catch (err) {
    if (signal.aborted) return undefined;
    if (err instanceof TerminalError) {
      queue.forget(key);
      log.error({ controller: name, key, err }, "reconcile failed and will not be repeated");
      return "terminal_error";
    }
    queue.retry(key);
    // Someone else wrote in between; reading again is the ordinary course.
    if (hasReason(err, "Conflict", "AlreadyExists")) {
      log.debug({ controller: name, key, err }, "reconcile met a conflict");
      return "conflict";
    }
    log.warn({ controller: name, key, err }, "reconcile failed and will be repeated");
    return "error";
  }
}
