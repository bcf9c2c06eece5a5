import type { Environment } from "#base";
import type { Policy } from "./collector/decide.ts";

/** The collector's settings. */
export interface CollectionOptions {
  readonly policy: Policy;
  readonly intervalMs: number;
  readonly workers: number;
  readonly dryRun: boolean;
}

/** Times of leader election in ms. */
export interface LeaderOptions {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

/** Variables of former versions that have no effect any more: accepted, with a warning if set. */
const variablesWithoutEffect: readonly string[] = [
  "SPIDERPOOL_AUTO_IPPOOL_HANDLER_MAX_WORKQUEUE_LENGTH",
  "SPIDERPOOL_COORDINATOR_INFORMER_RESYNC_PERIOD",
  "SPIDERPOOL_GC_CHANNEL_BUFFER",
  "SPIDERPOOL_GC_HTTP_REQUEST_TIME_GAP",
  "SPIDERPOOL_GC_MAX_PODENTRY_DB_CAP",
  "SPIDERPOOL_GC_PODENTRY_MAX_RETRIES",
  "SPIDERPOOL_GC_SIGNAL_TIMEOUT_DURATION",
  "SPIDERPOOL_GC_TRACE_POD_GAP_DURATION",
  "SPIDERPOOL_GOPS_LISTEN_PORT",
  "SPIDERPOOL_IPPOOL_INFORMER_RESYNC_PERIOD",
  "SPIDERPOOL_IPPOOL_INFORMER_WORKERS",
  "SPIDERPOOL_LEADER_RETRY_GAP",
  "SPIDERPOOL_METRIC_RENEW_PERIOD",
  "SPIDERPOOL_MULTUS_CONFIG_INFORMER_RESYNC_PERIOD",
  "SPIDERPOOL_PYROSCOPE_PUSH_SERVER_ADDRESS",
  "SPIDERPOOL_SUBNET_APPLICATION_CONTROLLER_WORKERS",
  "SPIDERPOOL_SUBNET_INFORMER_MAX_WORKQUEUE_LENGTH",
  "SPIDERPOOL_SUBNET_INFORMER_RESYNC_PERIOD",
  "SPIDERPOOL_SUBNET_INFORMER_WORKERS",
  "SPIDERPOOL_WORKQUEUE_MAX_RETRIES",
  "SPIDERPOOL_WORKQUEUE_RETRY_DELAY_DURATION",
];

/** Reads the collector's settings, with their documented defaults. Adds invalid values to `environment.wrong`. */
export function readCollection(environment: Environment): CollectionOptions {
  const seconds = (name: string, otherwise: number, min: number) =>
    environment.integer(name, otherwise, { min, max: 86_400 }) * 1_000;
  return {
    policy: {
      enabled: environment.flag("SPIDERPOOL_GC_IP_ENABLED", true),
      endingOnReadyNode: environment.flag("SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_READY_NODE_ENABLED", true),
      endingOnNotReadyNode: environment.flag("SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_NOT_READY_NODE_ENABLED", true),
      runningWithoutAddresses: environment.flag(
        "SPIDERPOOL_GC_ENABLE_STATELESS_RUNNING_POD_ON_EMPTY_POD_STATUS_IPS",
        false,
      ),
      delayMs: seconds("SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY", 0, 0),
    },
    intervalMs: seconds("SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION", 600, 1),
    workers: environment.integer("SPIDERPOOL_GC_IP_WORKER_NUM", 3, { min: 1, max: 64 }),
    dryRun: environment.flag("SPIDERPOOL_GC_DRY_RUN", false),
  };
}

/** Reads the times of leader election. Adds invalid values and contradictions to `environment.wrong`. */
export function readLeader(environment: Environment): LeaderOptions {
  const seconds = (name: string, otherwise: number) =>
    environment.integer(name, otherwise, { min: 1, max: 600 }) * 1_000;
  const options = {
    leaseDurationMs: seconds("SPIDERPOOL_LEADER_DURATION", 15),
    renewDeadlineMs: seconds("SPIDERPOOL_LEADER_RENEW_DEADLINE", 10),
    retryPeriodMs: seconds("SPIDERPOOL_LEADER_RETRY_PERIOD", 2),
  };
  if (options.renewDeadlineMs >= options.leaseDurationMs) {
    environment.wrong.push("SPIDERPOOL_LEADER_RENEW_DEADLINE must be less than SPIDERPOOL_LEADER_DURATION");
  }
  return options;
}

/** Variables that are set and have no effect any more. */
export function setWithoutEffect(environment: Environment): readonly string[] {
  return environment.set(variablesWithoutEffect);
}
