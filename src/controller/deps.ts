import type { Clock, Logger } from "#base";
import type { EventRecorder, KubeClient } from "#kube";

/** What every controller here is built with. */
export interface Deps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: Pick<EventRecorder, "record">;
}
