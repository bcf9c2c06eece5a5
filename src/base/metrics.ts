import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { productVersion } from "./version.ts";

/** A label: its known values, each of which starts at zero, or `any` where nobody can list them (a pool's name). */
type MetricLabels = Readonly<Record<string, readonly string[] | "any">>;

/** What a metric is, as an app declares it: the scrape and the reference page are both made from this. */
interface MetricDefinition<L extends MetricLabels = MetricLabels> {
  readonly kind: "counter" | "gauge" | "histogram";
  /** One sentence; it is the HELP line and the row of the reference page. */
  readonly help: string;
  readonly labels?: L;
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
}

/** All metrics of one app by their full names. Declare it `as const satisfies MetricTable`, so that names and labels are checked. */
export type MetricTable = Readonly<Record<string, MetricDefinition>>;

type LabelsOf<D> = D extends { readonly labels: infer L extends MetricLabels }
  ? { readonly [N in keyof L]: L[N] extends readonly (infer V)[] ? V : string }
  : undefined;
type NamesOf<T extends MetricTable, K extends MetricDefinition["kind"]> = {
  [N in keyof T]: T[N]["kind"] extends K ? N : never;
}[keyof T] &
  string;

/** One measured value; `labels` exactly where the metric declares some. */
type Sample<D> =
  LabelsOf<D> extends undefined ? { readonly value: number } : { readonly value: number; readonly labels: LabelsOf<D> };

/** What Prometheus accepts most widely. */
export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE;

/**
 * The metrics of one app, in a registry of its own: two apps or two tests in one process do not meet. Wrong names and labels
 * are errors of the compiler.
 */
export class Metrics<T extends MetricTable> {
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge | Histogram>();

  /**
   * `app` is the program that measures. Every series carries it and its version the way OpenTelemetry's exporter writes them,
   * because dashboards and rules of Spiderpool select by these labels.
   *
   * Throws what the Prometheus client says of a name that it does not allow.
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

  /** Adds to a counter; 1 where no number is given. */
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

  /** At each scrape the gauge gets exactly these values: series that are not among them are gone. */
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

/** The rows of the reference page: name, kind, labels, meaning. In the order of the table. */
export function formatMetricTable(table: MetricTable): string {
  const rows = Object.entries(table).map(([name, { kind, help, labels = {} }]) => {
    const shown = Object.entries(labels).map(([label, values]) =>
      values === "any" ? `\`${label}\`` : `\`${label}\` (${values.join(", ")})`,
    );
    return `| \`${name}\` | ${kind} | ${shown.join(", ")} | ${help} |`;
  });
  return ["| name | type | labels | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

/** Every combination of values; none where one of the labels can have any. */
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
