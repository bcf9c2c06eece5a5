import { Metrics, type MetricTable } from "#base";
import { type FaultKind, faultKinds } from "#doctor";
import type { Flight } from "../calls/flights.ts";

/** Upper bounds of the durations, in seconds. */
const buckets = [0.1, 0.3, 0.5, 1, 3, 5, 7, 10, 15] as const;

type GaugeKind = "average" | "max" | "min" | "latest";

/** In names about waiting for a turn, `limit` comes after the word of the gauge, as dashboards expect it. */
type GaugeName<N extends string, K extends GaugeKind> = N extends `${infer Verb}_limit`
  ? `spiderpool_${Verb}_${K}_limit_duration_seconds`
  : `spiderpool_${N}_${K}_duration_seconds`;

function gaugeName<const N extends string, K extends GaugeKind>(name: N, kind: K): GaugeName<N, K> {
  const [, verb = "", limit = ""] = /^(.*?)(_limit)?$/.exec(name) ?? [];
  return `spiderpool_${verb}_${kind}${limit}_duration_seconds` as GaugeName<N, K>;
}

/** Four gauges and a histogram of one duration. */
function durations<const N extends string>(name: N, what: string) {
  return {
    [gaugeName(name, "average")]: { kind: "gauge", help: `Mean ${what}, since the agent started.` },
    [gaugeName(name, "max")]: { kind: "gauge", help: `Longest ${what}, since the agent started.` },
    [gaugeName(name, "min")]: { kind: "gauge", help: `Shortest ${what}, since the agent started.` },
    [gaugeName(name, "latest")]: { kind: "gauge", help: `Last ${what}.` },
    [`spiderpool_${name}_duration_seconds`]: { kind: "histogram", help: `Each ${what}.`, buckets },
  } as {
    readonly [K in GaugeName<N, GaugeKind>]: {
      readonly kind: "gauge";
      readonly help: string;
    };
  } & {
    readonly [K in `spiderpool_${N}_duration_seconds`]: {
      readonly kind: "histogram";
      readonly help: string;
      readonly buckets: typeof buckets;
    };
  };
}

/** The metrics of the agent. */
export const agentMetrics = {
  spiderpool_ipam_allocation_counts_total: { kind: "counter", help: "ADD calls." },
  spiderpool_ipam_allocation_failure_counts_total: { kind: "counter", help: "ADD calls that failed." },
  spiderpool_ipam_allocation_err_internal_counts_total: {
    kind: "counter",
    help: "ADD calls that failed for a reason of none of the other classes.",
  },
  spiderpool_ipam_allocation_err_no_available_pool_counts_total: {
    kind: "counter",
    help: "ADD calls that failed because no IPPool could be used.",
  },
  spiderpool_ipam_allocation_err_retries_exhausted_counts_total: {
    kind: "counter",
    help: "ADD calls that failed at their deadline, or because too many waited.",
  },
  spiderpool_ipam_allocation_err_ip_used_out_counts_total: {
    kind: "counter",
    help: "ADD calls that failed because all addresses are in use.",
  },
  spiderpool_ipam_allocation_err_wrong_input_counts_total: {
    kind: "counter",
    help: "ADD calls that failed because of an annotation or a configuration.",
  },
  spiderpool_ipam_allocation_update_ippool_conflict_counts_total: {
    kind: "counter",
    help: "Always 0, for dashboards that have it: an allocation writes no IPPool.",
  },
  spiderpool_debug_auto_pool_waited_for_available_counts_total: {
    kind: "counter",
    help: "ADD calls that came before the pool of their Pod's application, and waited for it.",
  },
  ...durations("ipam_allocation", "time of an ADD"),
  ...durations("ipam_allocation_limit", "wait of an ADD for its turn"),
  spiderpool_ipam_release_counts_total: { kind: "counter", help: "DEL calls." },
  spiderpool_ipam_release_failure_counts_total: { kind: "counter", help: "DEL calls that failed." },
  spiderpool_ipam_release_err_internal_counts_total: {
    kind: "counter",
    help: "DEL calls that failed for another reason than their deadline.",
  },
  spiderpool_ipam_release_err_retries_exhausted_counts_total: {
    kind: "counter",
    help: "DEL calls that failed at their deadline, or because too many waited.",
  },
  spiderpool_ipam_release_update_ippool_conflict_counts_total: {
    kind: "counter",
    help: "Always 0, for dashboards that have it: a release writes no IPPool.",
  },
  ...durations("ipam_release", "time of a DEL"),
  ...durations("ipam_release_limit", "wait of a DEL for its turn"),
  spiderpool_cni_calls_total: {
    kind: "counter",
    help: "CNI calls by verb and outcome.",
    labels: { verb: ["ADD", "DEL", "CHECK", "GC", "STATUS"], outcome: ["success", "failure"] },
  },
  spiderpool_cni_calls_in_progress: {
    kind: "gauge",
    help: "CNI calls that are at work, and that wait for their turn.",
    labels: { state: ["working", "waiting"] },
  },
  spiderpool_sandboxes: { kind: "gauge", help: "Sandboxes on record on this node." },
  spiderpool_faults_total: {
    kind: "counter",
    help: "Times that two sources disagreed about addresses, ports or routes of this node, by kind.",
    labels: { kind: faultKinds },
  },
  spiderpool_claims: { kind: "gauge", help: "Addresses that are held for Pods of this node." },
  spiderpool_events_dropped: { kind: "gauge", help: "Events that could not be written since the start." },
} as const satisfies MetricTable;

type ErrorClass = "no_available_pool" | "ip_used_out" | "retries_exhausted" | "wrong_input" | "internal";

const classes: ReadonlyMap<string, ErrorClass> = new Map([
  ["NO_POOL", "no_available_pool"],
  ["AUTO_POOL_PENDING", "no_available_pool"],
  ["POOL_NOT_FOUND", "no_available_pool"],
  ["BROKEN_POOL", "no_available_pool"],
  ["POOL_EXHAUSTED", "ip_used_out"],
  ["CNI_TRY_AGAIN", "retries_exhausted"],
  ["OVSDB_UNREACHABLE", "retries_exhausted"],
  ["COORDINATOR_NOT_SYNCED", "retries_exhausted"],
  ["NETWORK_NOT_READY", "retries_exhausted"],
  ["QUEUE_FULL", "retries_exhausted"],
  ["CLAIM_PENDING", "retries_exhausted"],
  ["WRONG_INPUT", "wrong_input"],
  ["CNI_INVALID_CONFIG", "wrong_input"],
  ["NETWORK_NOT_FOUND", "wrong_input"],
  ["NETWORK_INVALID", "wrong_input"],
  ["NETWORK_ANNOTATION", "wrong_input"],
  ["INTERFACE_TAKEN", "wrong_input"],
  ["DEFAULT_ROUTE_NIC", "wrong_input"],
  ["PLUGIN_NOT_FOUND", "wrong_input"],
]);

/** Values that are read at each scrape. */
interface Levels {
  readonly calls: () => { readonly inside: number; readonly waiting: number };
  readonly sandboxes: () => number;
  readonly claims: () => number;
  readonly eventsDropped: () => number;
}

type Duration = `ipam_${"allocation" | "release"}${"" | "_limit"}`;

/** Durations of all calls so far, in seconds. */
interface Measured {
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly latest: number;
}

/** Counts and measures the calls of the agent. */
export class CallMetrics {
  readonly #metrics = new Metrics("spiderpool-agent", agentMetrics);
  readonly #durations = new Map<Duration, Measured>();

  /** Adds the levels to the metrics. */
  watch({ calls, sandboxes, claims, eventsDropped }: Levels): void {
    this.#metrics.collect("spiderpool_cni_calls_in_progress", () => {
      const { inside, waiting } = calls();
      return [
        { value: inside, labels: { state: "working" } },
        { value: waiting, labels: { state: "waiting" } },
      ];
    });
    this.#metrics.collect("spiderpool_sandboxes", () => [{ value: sandboxes() }]);
    this.#metrics.collect("spiderpool_claims", () => [{ value: claims() }]);
    this.#metrics.collect("spiderpool_events_dropped", () => [{ value: eventsDropped() }]);
  }

  /** To be called when an ADD waits for the pool of its Pod's application. */
  waits(): void {
    this.#metrics.count("spiderpool_debug_auto_pool_waited_for_available_counts_total");
  }

  /** To be called for each contradiction between two sources, even if it was repaired. */
  fault(kind: FaultKind): void {
    this.#metrics.count("spiderpool_faults_total", { kind });
  }

  /** The scrape, in Prometheus' text format. */
  text(): Promise<string> {
    // At a scrape, not for every call.
    for (const [name, { count, sum, min, max, latest }] of this.#durations) {
      this.#metrics.set(gaugeName(name, "average"), { value: sum / count });
      this.#metrics.set(gaugeName(name, "max"), { value: max });
      this.#metrics.set(gaugeName(name, "min"), { value: min });
      this.#metrics.set(gaugeName(name, "latest"), { value: latest });
    }
    return this.#metrics.text();
  }

  /** To be called when a call has ended; `code` is that of its error. Calls that are part of another one are not counted. */
  ended({ verb, totalMs, spans, nested }: Flight, code: string | undefined): void {
    const outcome = code === undefined ? "success" : "failure";
    this.#metrics.count("spiderpool_cni_calls_total", { verb, outcome });
    if (nested || (verb !== "ADD" && verb !== "DEL")) return;
    const name = verb === "ADD" ? "ipam_allocation" : "ipam_release";
    this.#metrics.count(`spiderpool_${name}_counts_total`);
    this.#measure(name, totalMs / 1000);
    const waited = spans.find(({ stage }) => stage === "queue");
    if (waited !== undefined) this.#measure(`${name}_limit`, (waited.endMs - waited.startMs) / 1000);
    if (code === undefined) return;
    this.#metrics.count(`spiderpool_${name}_failure_counts_total`);
    const found = classes.get(code) ?? "internal";
    if (verb === "ADD") this.#metrics.count(`spiderpool_ipam_allocation_err_${found}_counts_total`);
    else {
      const known = found === "retries_exhausted" ? found : "internal";
      this.#metrics.count(`spiderpool_ipam_release_err_${known}_counts_total`);
    }
  }

  #measure(name: Duration, seconds: number): void {
    const before = this.#durations.get(name) ?? { count: 0, sum: 0, min: seconds, max: seconds };
    this.#durations.set(name, {
      count: before.count + 1,
      sum: before.sum + seconds,
      min: Math.min(before.min, seconds),
      max: Math.max(before.max, seconds),
      latest: seconds,
    });
    this.#metrics.observe(`spiderpool_${name}_duration_seconds`, { value: seconds });
  }
}
