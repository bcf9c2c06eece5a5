// The chart's contract: what Prometheus and Grafana get.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parse } from "yaml";
import type { MetricTable } from "#base";
import { agentMetrics } from "../../src/agent/http/metrics.ts";
import { controllerMetrics } from "../../src/controller/http/metrics.ts";
import { chart, envOf, podOf, type Rendered, refusal, render } from "./render.ts";

/** A series of ours in an expression: name, what a histogram adds, matchers. */
const series = /(spiderpool_\w+?)(_bucket|_sum|_count)?(?![\w])(?:\{([^}]*)\})?/g;

describe("the chart: monitoring", () => {
  const on = ["spiderpoolAgent.prometheus.enabled=true", "spiderpoolController.prometheus.enabled=true"];

  it("35. serves metrics on a port of each Service", async () => {
    const { get } = await render(...on);
    for (const [kind, name, port] of [
      ["DaemonSet", "spiderpool-agent", 5711],
      ["Deployment", "spiderpool-controller", 5721],
    ] as const) {
      const { container } = podOf(get(kind, name));
      const env = envOf(container);
      assert.deepEqual([env["SPIDERPOOL_ENABLED_METRIC"], env["SPIDERPOOL_METRIC_HTTP_PORT"]], ["true", String(port)]);
      const named = ({ name }: Rendered) => name === "metrics";
      assert.equal(container.ports.find(named).containerPort, port);
      assert.equal(get("Service", name).spec.ports.find(named).port, port);
    }
  });

  it("36. labels a ServiceMonitor as it is told, and refuses one without metrics", async () => {
    const monitor = "spiderpoolAgent.prometheus.serviceMonitor";
    const flags = [`${monitor}.install=true`, `${monitor}.labels.release=prom`, `${monitor}.namespace=mon`];
    const { get } = await render(...on, ...flags);
    const { metadata, spec } = get("ServiceMonitor", "spiderpool-agent");
    assert.deepEqual([metadata.namespace, metadata.labels.release], ["mon", "prom"]);
    assert.deepEqual(spec.namespaceSelector.matchNames, ["kube-system"]);
    assert.deepEqual(spec.selector.matchLabels, get("DaemonSet").spec.selector.matchLabels);
    assert.match(await refusal(...flags), /set spiderpoolAgent\.prometheus\.enabled=true/);
  });

  it("37. has the six alerts, each with its switch", async () => {
    const rules = ["spiderpoolAgent", "spiderpoolController"].map((part) => `${part}.prometheus.prometheusRule`);
    const install = rules.map((rule) => `${rule}.install=true`);
    const alerts = (rendering: Rendered) =>
      rendering
        .all("PrometheusRule")
        .flatMap(({ spec }: Rendered) => spec.groups.flatMap(({ rules }: Rendered) => rules))
        .map(({ alert }: Rendered) => alert);
    const all = alerts(await render(...install));
    const switches = {
      ipamAllocationFailure: `${rules[0]}.enableWarningIPAMAllocationFailure`,
      ipamAllocationOverTime: `${rules[0]}.enableWarningIPAMAllocationOverTime`,
      ipamHighAllocationDurations: `${rules[0]}.enableWarningIPAMHighAllocationDurations`,
      ipamReleaseFailure: `${rules[0]}.enableWarningIPAMReleaseFailure`,
      ipamReleaseOverTime: `${rules[0]}.enableWarningIPAMReleaseOverTime`,
      ipGCFailureCounts: `${rules[1]}.enableWarningIPGCFailureCounts`,
    };
    for (const alert of Object.keys(switches)) assert.ok(all.includes(alert), alert);
    const off = alerts(await render(...install, ...Object.values(switches).map((value) => `${value}=false`)));
    assert.deepEqual(all.filter((alert: string) => !off.includes(alert)).sort(), Object.keys(switches).sort());
  });

  it("has alerts on programs that are gone where its own ServiceMonitor finds them, and only there", async () => {
    const exprs = async (...flags: readonly string[]) =>
      (await render(...on, ...flags))
        .all("PrometheusRule")
        .flatMap(({ spec }: Rendered) => spec.groups.flatMap(({ rules }: Rendered) => rules))
        .map(({ expr }: Rendered) => expr)
        .filter((expr: string) => expr.startsWith("absent("));
    const of = (what: string) =>
      ["Agent", "Controller"].map((part) => `spiderpool${part}.prometheus.${what}.install=true`);
    assert.deepEqual(await exprs(...of("prometheusRule")), []);
    assert.deepEqual(
      (await exprs(...of("prometheusRule"), ...of("serviceMonitor"), "spiderpoolController.name=ctl")).sort(),
      [
        'absent(up{job="ctl", namespace="kube-system"} == 1)',
        'absent(up{job="spiderpool-agent", namespace="kube-system"})',
      ],
    );
  });

  it("watches and draws only series that agent or controller have", () => {
    const known = new Set(
      Object.entries<{ readonly kind: string }>({ ...agentMetrics, ...controllerMetrics }).flatMap(
        ([name, { kind }]) => (kind === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]),
      ),
    );
    const texts = ["files/alerts.yaml", "files/dashboards/ipam.json"].map((file) =>
      readFileSync(join(chart, file), "utf8"),
    );
    const used = new Set(texts.flatMap((text) => text.match(/spiderpool_[a-z_0-9]+/g) ?? []));
    assert.ok(used.size > 15);
    assert.deepEqual(
      [...used].filter((name) => !known.has(name)),
      [],
    );
  });

  it("alerts by labels that the series of their program have", () => {
    const file: Readonly<Record<string, Readonly<Record<string, readonly { alert: string; expr: string }[]>>>> = parse(
      readFileSync(join(chart, "files/alerts.yaml"), "utf8"),
    );
    const tables: Readonly<Record<string, MetricTable>> = { agent: agentMetrics, controller: controllerMetrics };
    for (const [program, groups] of Object.entries(file)) {
      for (const { alert, expr } of Object.values(groups).flat()) {
        for (const [, name = "", suffix, matchers = ""] of expr.matchAll(series)) {
          const metric = tables[program]?.[name] ?? assert.fail(`${alert}: ${program} has no ${name}`);
          assert.equal(metric.kind === "histogram", suffix !== undefined, `${alert}: ${name}`);
          const has = Object.keys(metric.labels ?? {});
          const by = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = ""]) => labels.split(/, */));
          const asked = [...matchers.matchAll(/(\w+) *[=!]~?/g)].map(([, label = ""]) => label);
          const known = suffix === "_bucket" ? [...has, "le"] : has;
          for (const label of [...by, ...asked]) assert.ok(known.includes(label), `${alert}: ${name} by ${label}`);
        }
      }
    }
  });
});
