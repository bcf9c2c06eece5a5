/**
 * The steps of a release's life that are done once: the first objects, our kinds at an upgrade, the removal. Each ends and
 * tells what it did; nothing here runs beside agent and controller. Nothing imports it.
 */
import type { Clock } from "#base";
import type { KubeClient } from "#kube";

/** What every command of this program is given. */
export interface Deps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Tells the user one thing. */
  readonly say: (line: string) => void;
}
