import { Metrics, type MetricTable } from "#base";
import { type ControllerMetrics as QueueMetrics, reconcileResults } from "#kube";

const controllers = [
  "certificates",
  "collector",
  "coordinator",
  "default-network",
  "multus-config",
  "network-keys",
  "pool-defaults",
  "pool-drain",
  "pool-status",
  "pool-usage",
  "subnet-drain",
  "subnet-parts",
  "workload-annotations",
] as const;

/** Every metric of the controller. `npm run generate` makes docs/reference/metrics.md from it. */
export const controllerMetrics = {
  spiderpool_ip_gc_counts_total: { kind: "counter", help: "Addresses released by the collector." },
  spiderpool_ip_gc_failure_counts_total: {
    kind: "counter",
    help: "Attempts of the collector that failed and are repeated.",
  },
  spiderpool_ip_gc_actions_total: {
    kind: "counter",
    help: "What the collector did to claims.",
    labels: { action: ["release", "quarantine", "extend", "detach", "promote", "clear-next"] },
  },
  spiderpool_faults_total: {
    kind: "counter",
    help: "Times that two sources disagreed about addresses, and were made to agree, by kind.",
    labels: { kind: ["claim-without-pod", "wrong-uid", "view-differs"] },
  },
  spiderpool_ip_gc_pending: { kind: "gauge", help: "Claims that wait for the collector's second observation." },
  spiderpool_ipam_release_update_ippool_conflict_counts_total: {
    kind: "counter",
    help: "Writes of the collector that lost against a newer one of somebody else.",
  },
  spiderpool_webhook_certificate_expiry_timestamp_seconds: {
    kind: "gauge",
    help: "When the certificate expires that this replica serves to API servers, in seconds of Unix time.",
  },
  spiderpool_total_ippool_counts: { kind: "gauge", help: "SpiderIPPools." },
  spiderpool_total_subnet_counts: { kind: "gauge", help: "SpiderSubnets." },
  spiderpool_ippool_free_ip_counts: {
    kind: "gauge",
    help: "Addresses that can be claimed.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_ippool_used_ip_counts: {
    kind: "gauge",
    help: "Addresses that Pods and applications have.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_ippool_reserved_ip_counts: {
    kind: "gauge",
    help: "Addresses that SpiderReservedIPs or holds keep out of use.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_ippool_cooling_ip_counts: {
    kind: "gauge",
    help: "Free addresses that were released a moment ago: handed out last.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_ippool_quarantined_ip_counts: {
    kind: "gauge",
    help: "Addresses that somebody may still answer for.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_debug_ippool_total_ip_counts: {
    kind: "gauge",
    help: "Addresses of the pool, ips less excludeIPs; only with SPIDERPOOL_ENABLED_DEBUG_METRIC.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_debug_ippool_available_ip_counts: {
    kind: "gauge",
    help: "Addresses of the pool less those in use; only with SPIDERPOOL_ENABLED_DEBUG_METRIC.",
    labels: { SpiderIPPool: "any" },
  },
  spiderpool_debug_subnet_total_ip_counts: {
    kind: "gauge",
    help: "Addresses of the subnet; only with SPIDERPOOL_ENABLED_DEBUG_METRIC.",
    labels: { SpiderSubnet: "any" },
  },
  spiderpool_debug_subnet_available_ip_counts: {
    kind: "gauge",
    help: "Addresses of the subnet that no pool has; only with SPIDERPOOL_ENABLED_DEBUG_METRIC.",
    labels: { SpiderSubnet: "any" },
  },
  spiderpool_debug_subnet_ippool_counts: {
    kind: "gauge",
    help: "Pools that have a part of the subnet; only with SPIDERPOOL_ENABLED_DEBUG_METRIC.",
    labels: { SpiderSubnet: "any" },
  },
  spiderpool_events_dropped: { kind: "gauge", help: "Events that could not be written since the start." },
  spiderpool_leader: { kind: "gauge", help: "1 where this replica leads." },
  controller_runtime_reconcile_total: {
    kind: "counter",
    help: "Reconciles by controller and result.",
    labels: { controller: controllers, result: reconcileResults },
  },
  controller_runtime_reconcile_time_seconds: {
    kind: "histogram",
    help: "How long a reconcile took.",
    labels: { controller: controllers },
    buckets: [0.005, 0.025, 0.1, 0.3, 0.5, 1, 3, 5, 10],
  },
  workqueue_depth: { kind: "gauge", help: "Keys that wait, by controller.", labels: { name: controllers } },
} as const satisfies MetricTable;

/** The registry of {@link controllerMetrics}, typed by name and labels. */
export type ControllerMetrics = Metrics<typeof controllerMetrics>;

/** The registry of a replica, with all series of known labels at zero. */
export function createMetrics(): ControllerMetrics {
  return new Metrics("spiderpool-controller", controllerMetrics);
}

/** Counters of the work queues, as metrics of this registry. */
export function queueMetrics(metrics: ControllerMetrics): QueueMetrics {
  // metrics.test.ts checks that the table has every controller.
  const named = (name: string) => name as (typeof controllers)[number];
  return {
    reconciled(name, result, durationMs) {
      const controller = named(name);
      metrics.count("controller_runtime_reconcile_total", { controller, result });
      metrics.observe("controller_runtime_reconcile_time_seconds", {
        value: durationMs / 1_000,
        labels: { controller },
      });
    },
    queued(name, length) {
      metrics.set("workqueue_depth", { value: length, labels: { name: named(name) } });
    },
  };
}
