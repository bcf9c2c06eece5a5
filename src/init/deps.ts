/**
 * The one-time steps of a release: the first objects, our kinds at an upgrade, the removal. Each is a Job that reports what it
 * did and ends. Nothing imports this module.
 */
import type { Clock } from "#base";
import type { KubeClient } from "#kube";

/** What every command of this program needs. */
export interface Deps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Prints a line for the user. */
  readonly say: (line: string) => void;
}
