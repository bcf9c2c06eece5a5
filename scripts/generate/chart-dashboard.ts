/** One panel: title, unit, and queries by legend. `SELECT` stands for the chosen cluster. */
type Panel = readonly [title: string, unit: string, queries: Readonly<Record<string, string>>];

const rate = (name: string) => `sum(rate(${name}{SELECT}[$__rate_interval]))`;
const quantile = (q: number, name: string) =>
  `histogram_quantile(${q}, sum by (le) (rate(${name}_bucket{SELECT}[$__rate_interval])))`;
const byPool = (name: string) => `sum by (SpiderIPPool) (${name}{SELECT})`;
const free = "spiderpool_ippool_free_ip_counts";
const errors = ["internal", "no_available_pool", "retries_exhausted", "ip_used_out", "wrong_input"];

const stats: readonly Panel[] = [
  ["Pools", "none", { pools: "max(spiderpool_total_ippool_counts{SELECT})" }],
  ["Subnets", "none", { subnets: "max(spiderpool_total_subnet_counts{SELECT})" }],
  ["Addresses in use", "none", { used: "sum(spiderpool_ippool_used_ip_counts{SELECT})" }],
  ["Addresses free", "none", { free: `sum(${free}{SELECT})` }],
];

const graphs: readonly Panel[] = [
  [
    "Allocations",
    "ops",
    {
      all: rate("spiderpool_ipam_allocation_counts_total"),
      failed: rate("spiderpool_ipam_allocation_failure_counts_total"),
    },
  ],
  [
    "Failed allocations by class",
    "ops",
    Object.fromEntries(errors.map((name) => [name, rate(`spiderpool_ipam_allocation_err_${name}_counts_total`)])),
  ],
  [
    "Allocation durations",
    "s",
    {
      p50: quantile(0.5, "spiderpool_ipam_allocation_duration_seconds"),
      p99: quantile(0.99, "spiderpool_ipam_allocation_duration_seconds"),
      "max since start": "max(spiderpool_ipam_allocation_max_duration_seconds{SELECT})",
    },
  ],
  [
    "Releases and collection",
    "ops",
    {
      released: rate("spiderpool_ipam_release_counts_total"),
      "release failed": rate("spiderpool_ipam_release_failure_counts_total"),
      collected: rate("spiderpool_ip_gc_counts_total"),
      "collection failed": rate("spiderpool_ip_gc_failure_counts_total"),
    },
  ],
  [
    "Release durations",
    "s",
    {
      p50: quantile(0.5, "spiderpool_ipam_release_duration_seconds"),
      p99: quantile(0.99, "spiderpool_ipam_release_duration_seconds"),
      "max since start": "max(spiderpool_ipam_release_max_duration_seconds{SELECT})",
    },
  ],
  ["Free addresses by pool", "none", { "{{SpiderIPPool}}": byPool(free) }],
  ["Used addresses by pool", "none", { "{{SpiderIPPool}}": byPool("spiderpool_ippool_used_ip_counts") }],
  [
    "Reserved and quarantined by pool",
    "none",
    {
      "reserved {{SpiderIPPool}}": byPool("spiderpool_ippool_reserved_ip_counts"),
      "quarantined {{SpiderIPPool}}": byPool("spiderpool_ippool_quarantined_ip_counts"),
    },
  ],
  [
    "Time until a pool is empty",
    "s",
    // At the pace of the last hour; a pool that does not shrink has none.
    { "{{SpiderIPPool}}": `${byPool(free)} / (-sum by (SpiderIPPool) (deriv(${free}{SELECT}[1h])) > 0)` },
  ],
];

const datasource = { type: "prometheus", uid: "$datasource" };
const select = 'cluster=~"$cluster"';

/** files/dashboards/ipam.json: what Grafana imports. */
export function ipamDashboard(): string {
  const panel = ([title, unit, queries]: Panel, id: number, type: string, gridPos: object) => ({
    id,
    title,
    type,
    datasource,
    gridPos,
    fieldConfig: { defaults: { unit }, overrides: [] },
    targets: Object.entries(queries).map(([legendFormat, expr], index) => ({
      refId: String.fromCharCode(65 + index),
      datasource,
      legendFormat,
      expr: expr.replaceAll("SELECT", select),
    })),
  });
  const dashboard = {
    uid: "5FAGqFE4z",
    title: "Spiderpool",
    tags: ["spiderpool"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: "30s",
    time: { from: "now-1h", to: "now" },
    timezone: "browser",
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus", current: {} },
        {
          name: "cluster",
          label: "Cluster",
          type: "query",
          datasource,
          refresh: 2,
          query: { query: "label_values(spiderpool_total_ippool_counts, cluster)", refId: "cluster" },
          includeAll: true,
          allValue: ".*",
          multi: true,
          current: { text: "All", value: "$__all" },
        },
      ],
    },
    panels: [
      ...stats.map((one, index) => panel(one, index + 1, "stat", { x: index * 6, y: 0, w: 6, h: 4 })),
      ...graphs.map((one, index) => {
        const gridPos = { x: (index % 3) * 8, y: 4 + Math.floor(index / 3) * 8, w: 8, h: 8 };
        return panel(one, stats.length + index + 1, "timeseries", gridPos);
      }),
    ],
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}
