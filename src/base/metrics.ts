import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { productVersion } from "./version.ts";

/** A label's known values, each of which starts at zero, or `any` if they cannot be listed (names of pools). */
type MetricLabels = Readonly<Record<string, readonly string[] | "any">>;

/** A metric as a program declares it: both the scrape and the reference page are made from this. */
interface MetricDefinition<L extends MetricLabels = MetricLabels> {
  readonly kind: "counter" | "gauge" | "histogram";
  /** One sentence for the HELP line and the reference page. */
  readonly help: string;
  readonly labels?: L;
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
}

/** All metrics of a program by full name. Declare it `as const satisfies MetricTable`, so that names and labels are checked. */
export type MetricTable = Readonly<Record<string, MetricDefinition>>;

type LabelsOf<D> = D extends { readonly labels: infer L extends MetricLabels }
  ? { readonly [N in keyof L]: L[N] extends readonly (infer V)[] ? V : string }
  : undefined;
type NamesOf<T extends MetricTable, K extends MetricDefinition["kind"]> = {
  [N in keyof T]: T[N]["kind"] extends K ? N : never;
}[keyof T] &
  string;

/** One measured value, with `labels` if the metric declares some. */
type Sample<D> =
  LabelsOf<D> extends undefined ? { readonly value: number } : { readonly value: number; readonly labels: LabelsOf<D> };

/** The content type of Prometheus' text format. */
export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE;

/**
 * The metrics of one program, in their own registry, so that two programs or tests in one process do not mix. The compiler checks
 * names and labels.
 */
export class Metrics<T extends MetricTable> {
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge | Histogram>();

  /**
   * `app` is the name of the program. Every series has it and the version as labels in the form of OpenTelemetry's exporter,
   * because existing dashboards and rules for Spiderpool select by them.
   *
   * Throws the Prometheus client's error for an invalid name.
   */
  constructor(app: string, table: T) {
    this.#registry.setDefaultLabels({ otel_scope_name: app, otel_scope_version: productVersion });
    const target = { name: "target_info", help: "The program that is measured.", registers: [this.#registry] };
    new Gauge({ ...target, labelNames: ["service_name", "service_version"] }).set(
      { service_name: app, service_version: productVersion },
      1,
    );
    const scope = { name: "otel_scope_info", help: "Who measures.", registers: [this.#registry] };
    new Gauge(scope).set(1);
    for (const [name, definition] of Object.entries(table)) {
      const metric = this.#register(name, definition);
      this.#metrics.set(name, metric);
      for (const labels of knownLabels(definition.labels ?? {})) startAtZero(metric, labels);
    }
  }

  /** Adds to a counter, by default 1. */
  count<N extends NamesOf<T, "counter">>(
    name: N,
    ...[labels, by = 1]: LabelsOf<T[N]> extends undefined
      ? [labels?: undefined, by?: number]
      : [LabelsOf<T[N]>, number?]
  ): void {
    (this.#metrics.get(name) as Counter).inc((labels ?? {}) as Record<string, string>, by);
  }

  /** Sets a gauge. */
  set<N extends NamesOf<T, "gauge">>(name: N, sample: Sample<T[N]>): void {
    const { value, labels = {} } = sample as { value: number; labels?: Record<string, string> };
    (this.#metrics.get(name) as Gauge).set(labels, value);
  }

  /** Adds a measurement to a histogram. */
  observe<N extends NamesOf<T, "histogram">>(name: N, sample: Sample<T[N]>): void {
    const { value, labels = {} } = sample as { value: number; labels?: Record<string, string> };
    (this.#metrics.get(name) as Histogram).observe(labels, value);
  }

  /** Reads the gauge's values at each scrape. Series that `read` no longer gives disappear. */
  collect<N extends NamesOf<T, "gauge">>(name: N, read: () => Iterable<Sample<T[N]>>): void {
    const gauge = this.#metrics.get(name) as Gauge & { collect: () => void };
    gauge.collect = () => {
      gauge.reset();
      for (const sample of read()) this.set(name, sample);
    };
  }

  /** The scrape, in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #register(name: string, { kind, help, labels = {}, buckets }: MetricDefinition): Counter | Gauge | Histogram {
    const options = { name, help, labelNames: Object.keys(labels), registers: [this.#registry] };
    if (kind === "counter") return new Counter(options);
    if (kind === "gauge") return new Gauge(options);
    return new Histogram({ ...options, ...(buckets !== undefined && { buckets: [...buckets] }) });
  }
}

/** The table of the reference page: name, kind, labels, meaning, in the order of declaration. */
export function formatMetricTable(table: MetricTable): string {
  const rows = Object.entries(table).map(([name, { kind, help, labels = {} }]) => {
    const shown = Object.entries(labels).map(([label, values]) =>
      values === "any" ? `\`${label}\`` : `\`${label}\` (${values.join(", ")})`,
    );
    return `| \`${name}\` | ${kind} | ${shown.join(", ")} | ${help} |`;
  });
  return ["| name | type | labels | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

/** Every combination of known values; none if one of the labels is `any`. */
function knownLabels(labels: MetricLabels): readonly Readonly<Record<string, string>>[] {
  return Object.entries(labels).reduce<readonly Readonly<Record<string, string>>[]>(
    (some, [name, values]) =>
      values === "any" ? [] : some.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
}

function startAtZero(metric: Counter | Gauge | Histogram, labels: Readonly<Record<string, string>>): void {
  if (metric instanceof Counter) metric.inc(labels, 0);
  else if (metric instanceof Gauge) metric.set(labels, 0);
  else metric.zero(labels);
}
