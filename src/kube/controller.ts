import { type Clock, type Logger, type Signal, SpiderError } from "#base";
import type { Store } from "./store.ts";

/** Brings the world to what the API says about `key`, from whatever state. `afterMs`: look again then, changed or not. */
export type Reconcile = (key: string, o: Signal) => Promise<{ readonly afterMs?: number }>;

/** Where keys come from. `subscribe` reports what exists already, then every change; it returns the function that ends it. */
export interface Source {
  synced(o: Signal): Promise<void>;
  subscribe(add: (key: string) => void): () => void;
}

/** Counters to be wired to metrics. */
export interface ControllerMetrics {
  reconciled(controller: string, result: ReconcileResult, durationMs: number): void;
  queued(controller: string, length: number): void;
}

export const reconcileResults = ["success", "requeue_after", "error", "terminal_error"] as const;
export type ReconcileResult = (typeof reconcileResults)[number];

export interface ControllerOptions {
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly sources: readonly Source[];
  readonly clock: Clock;
  readonly log: Logger;
  /** How many keys at once; one key never twice. @default 1 */
  readonly workers?: number;
  readonly metrics?: ControllerMetrics;
  /** The delay after the first failure of a key, doubling. @default 500 */
  readonly firstMs?: number;
  /** @default 60000 */
  readonly maxMs?: number;
  readonly random?: () => number;
}

/** Keys of a store's objects, or what `keysOf` makes of each old and new object. */
export function fromStore<T>(_store: Store<T>, _keysOf?: (object: T, key: string) => readonly string[]): Source {
  throw new SpiderError("NOT_YET", "not yet");
}

/** Waits for all sources, then reconciles until the signal aborts; resolves when the last reconcile has ended. */
export async function runController(_options: ControllerOptions, _o: Signal): Promise<void> {
  throw new SpiderError("NOT_YET", "not yet");
}
