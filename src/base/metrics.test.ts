import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatMetricTable, Metrics, type MetricTable } from "./metrics.ts";
import { seriesOf } from "./testing/metrics.ts";
import { productVersion } from "./version.ts";

const table = {
  app_calls_total: {
    kind: "counter",
    help: "Calls by verb and outcome.",
    labels: { verb: ["ADD", "DEL"], outcome: ["ok", "error"] },
  },
  app_free: { kind: "gauge", help: "Free things by pool.", labels: { pool: "any" } },
  app_size: { kind: "gauge", help: "How large it is." },
  app_call_seconds: { kind: "histogram", help: "How long a call took.", buckets: [0.1, 1] },
} as const satisfies MetricTable;

const linesOf = async (metrics: Metrics<typeof table>) =>
  [...seriesOf(await metrics.text())].filter(([name]) => name.startsWith("app_")).map((one) => one.join(" "));

describe("Metrics", () => {
  it("start at zero for every combination of known label values", async () => {
    const lines = await linesOf(new Metrics("app", table));
    for (const line of [
      'app_calls_total{verb="ADD",outcome="ok"} 0',
      'app_calls_total{verb="DEL",outcome="error"} 0',
      "app_size 0",
      'app_call_seconds_bucket{le="0.1"} 0',
      "app_call_seconds_count 0",
    ]) {
      assert.ok(lines.includes(line), `${line} in ${lines.join(", ")}`);
    }
    assert.deepEqual(
      lines.filter((line) => line.startsWith("app_free")),
      [],
    );
  });

  it("label each series with the program, as OpenTelemetry's exporter does", async () => {
    const lines = (await new Metrics("app", table).text()).split("\n");
    const scope = `otel_scope_name="app",otel_scope_version="${productVersion}"`;
    for (const line of [
      `app_size{${scope}} 0`,
      `app_calls_total{verb="ADD",outcome="ok",${scope}} 0`,
      `otel_scope_info{${scope}} 1`,
      `target_info{service_name="app",service_version="${productVersion}",${scope}} 1`,
    ]) {
      assert.ok(lines.includes(line), `${line} in ${lines.join(", ")}`);
    }
  });

  it("count, set and observe", async () => {
    const metrics = new Metrics("app", table);
    metrics.count("app_calls_total", { verb: "ADD", outcome: "ok" });
    metrics.count("app_calls_total", { verb: "ADD", outcome: "ok" }, 2);
    metrics.set("app_size", { value: 7 });
    metrics.observe("app_call_seconds", { value: 0.5 });
    const lines = await linesOf(metrics);
    assert.ok(lines.includes('app_calls_total{verb="ADD",outcome="ok"} 3'));
    assert.ok(lines.includes("app_size 7"));
    assert.ok(lines.includes('app_call_seconds_bucket{le="1"} 1'));
  });

  it("read a gauge at each scrape, and drop series that are no longer given", async () => {
    const metrics = new Metrics("app", table);
    let pools = ["a", "b"];
    metrics.collect("app_free", () => pools.map((pool, at) => ({ value: at, labels: { pool } })));
    assert.deepEqual(
      (await linesOf(metrics)).filter((line) => line.startsWith("app_free")),
      ['app_free{pool="a"} 0', 'app_free{pool="b"} 1'],
    );
    pools = ["b"];
    assert.deepEqual(
      (await linesOf(metrics)).filter((line) => line.startsWith("app_free")),
      ['app_free{pool="b"} 0'],
    );
  });

  it("of two programs in one process do not mix", async () => {
    const [one, other] = [new Metrics("app", table), new Metrics("app", table)];
    one.set("app_size", { value: 1 });
    assert.ok((await linesOf(other)).includes("app_size 0"));
  });
});

describe("formatMetricTable()", () => {
  it("gives one row for each metric, with its labels and their values", () => {
    const text = formatMetricTable(table);
    assert.match(text, /\| `app_calls_total` \| counter \| `verb` \(ADD, DEL\), `outcome` \(ok, error\) \| Calls by/);
    assert.match(text, /\| `app_free` \| gauge \| `pool` \| Free things/);
  });
});
