import type { Policy } from "./collector/decide.ts";

/** The collector's settings. */
export interface CollectionOptions {
  readonly policy: Policy;
  readonly intervalMs: number;
  readonly workers: number;
  readonly dryRun: boolean;
}

/** Of leader election, ms. */
export interface LeaderOptions {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

/** Variables of former versions that tuned what does not exist any more: accepted, and told about where they are set. */
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

/** Reads variables one by one and gathers everything that is wrong with them. */
export class Environment {
  readonly wrong: string[] = [];
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  /** Trimmed; "" where it is not set. */
  text(name: string): string {
    return (this.#env[name] ?? "").trim();
  }

  needed(name: string): string {
    const value = this.text(name);
    if (value === "") this.wrong.push(`${name} is not set`);
    return value;
  }

  flag(name: string, otherwise: boolean): boolean {
    const value = this.text(name);
    if (value === "") return otherwise;
    if (/^(true|1|t)$/i.test(value)) return true;
    if (/^(false|0|f)$/i.test(value)) return false;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, allowed are true and false`);
    return otherwise;
  }

  integer(name: string, otherwise: number, { min, max }: { readonly min: number; readonly max: number }): number {
    const value = this.text(name);
    const number = value === "" ? otherwise : Number(value);
    if (Number.isInteger(number) && number >= min && number <= max) return number;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, allowed are ${min} to ${max}`);
    return otherwise;
  }

  /** A JSON object; undefined where it is not set. */
  json(name: string): object | undefined {
    const value = this.text(name);
    if (value === "") return undefined;
    const parsed = parseOrUndefined(value);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, a JSON object is needed`);
    return undefined;
  }

  /** A flag's value, else the variable's. 0: any free port. */
  port(flag: string | undefined, name: string, otherwise: number): number {
    const value = flag ?? this.text(name);
    const number = value === "" ? otherwise : Number(value);
    if (Number.isInteger(number) && number >= 0 && number < 65_536) return number;
    this.wrong.push(`${name} or its flag is ${JSON.stringify(value)}, a port is needed`);
    return otherwise;
  }

  collection(): CollectionOptions {
    const seconds = (name: string, otherwise: number, min: number) =>
      this.integer(name, otherwise, { min, max: 86_400 }) * 1_000;
    return {
      policy: {
        enabled: this.flag("SPIDERPOOL_GC_IP_ENABLED", true),
        endingOnReadyNode: this.flag("SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_READY_NODE_ENABLED", true),
        endingOnNotReadyNode: this.flag("SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_NOT_READY_NODE_ENABLED", true),
        runningWithoutAddresses: this.flag("SPIDERPOOL_GC_ENABLE_STATELESS_RUNNING_POD_ON_EMPTY_POD_STATUS_IPS", false),
        delayMs: seconds("SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY", 0, 0),
      },
      intervalMs: seconds("SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION", 600, 1),
      workers: this.integer("SPIDERPOOL_GC_IP_WORKER_NUM", 3, { min: 1, max: 64 }),
      dryRun: this.flag("SPIDERPOOL_GC_DRY_RUN", false),
    };
  }

  leader(): LeaderOptions {
    const seconds = (name: string, otherwise: number) => this.integer(name, otherwise, { min: 1, max: 600 }) * 1_000;
    const options = {
      leaseDurationMs: seconds("SPIDERPOOL_LEADER_DURATION", 15),
      renewDeadlineMs: seconds("SPIDERPOOL_LEADER_RENEW_DEADLINE", 10),
      retryPeriodMs: seconds("SPIDERPOOL_LEADER_RETRY_PERIOD", 2),
    };
    if (options.renewDeadlineMs >= options.leaseDurationMs) {
      this.wrong.push("SPIDERPOOL_LEADER_RENEW_DEADLINE must be less than SPIDERPOOL_LEADER_DURATION");
    }
    return options;
  }

  /** Those of {@link variablesWithoutEffect} that are set. */
  withoutEffect(): readonly string[] {
    return variablesWithoutEffect.filter((name) => this.text(name) !== "");
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
