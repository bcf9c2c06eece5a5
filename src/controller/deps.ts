import type { Settings } from "#api";
import type { Clock, Logger } from "#base";
import type { EventRecorder, KubeClient } from "#kube";

import type { ControllerMetrics } from "./http/metrics.ts";

/** What every controller of this program needs. */
export interface Deps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: Pick<EventRecorder, "record">;
  readonly metrics: ControllerMetrics;
  readonly settings: Pick<
    Settings,
    | "enableIPv4"
    | "enableIPv6"
    | "enableSpiderSubnet"
    | "enableAutoPoolForApplication"
    | "enableStrictIPPoolScope"
    | "redundantIpNumber"
    | "coolDown"
    | "enableValidatingResourcesDeletedWebhook"
    | "enableStatefulSet"
    | "enableKubevirtStaticIP"
    | "enableCleanOutdatedEndpoint"
    | "podResourceInject"
  >;
}
