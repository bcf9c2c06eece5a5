import { type Clock, type Logger, type Signal, SpiderError } from "#base";
import type { KubeClient } from "./client.ts";

/** One uninterrupted time of leading. */
export interface Term {
  /** The Lease's `leaseTransitions`: grows with every change of leader. */
  readonly epoch: number;
  /** Aborts by our own monotonic clock before anyone else may lead. */
  readonly signal: AbortSignal;
}

export interface ElectorOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly name: string;
  /** Unique for each process. */
  readonly identity: string;
  /** @default 15000 */
  readonly leaseDurationMs?: number;
  /** @default 10000 */
  readonly renewDeadlineMs?: number;
  /** @default 2000 */
  readonly retryPeriodMs?: number;
  readonly random?: () => number;
}

/** Leader election on a Lease. */
export class LeaderElector {
  constructor(_options: ElectorOptions) {}

  /** The term that runs, if we lead. */
  get term(): Term | undefined {
    return undefined;
  }

  /** Calls `lead` for each term until the signal aborts; gives the Lease back at the end. `lead` must end when its signal aborts. */
  run(_lead: (term: Term) => Promise<void>, _o: Signal): Promise<void> {
    throw new SpiderError("NOT_YET", "not yet");
  }
}
