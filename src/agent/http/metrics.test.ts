import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seriesOf } from "../../base/testing/metrics.ts";
import type { Flight } from "../calls/flights.ts";
import { CallMetrics } from "./metrics.ts";

const flight = (verb: Flight["verb"], totalMs: number, more: Partial<Flight> = {}): Flight => ({
  verb,
  totalMs,
  executable: "multus",
  network: "n",
  containerId: "c",
  ifName: "eth0",
  pod: "default/a",
  startedAt: "2026-01-01T00:00:00.000Z",
  spans: [{ stage: "queue", of: "", startMs: 0, endMs: 250, failed: false }],
  ...more,
});

async function values(metrics: CallMetrics): Promise<(name: string) => number> {
  const series = seriesOf(await metrics.text());
  return (name) => {
    const value = series.get(`spiderpool_${name}`);
    assert.ok(value !== undefined, name);
    return value;
  };
}

describe("the agent's metrics", () => {
  it("start at zero under the documented names", async () => {
    const value = await values(new CallMetrics());
    for (const name of [
      ...["ipam_allocation_counts_total", "ipam_allocation_failure_counts_total", "ipam_release_counts_total"],
      ...["ipam_allocation_err_internal_counts_total", "ipam_allocation_err_no_available_pool_counts_total"],
      ...["ipam_allocation_err_retries_exhausted_counts_total", "ipam_allocation_err_ip_used_out_counts_total"],
      ...["ipam_release_failure_counts_total", "ipam_release_err_internal_counts_total"],
      ...["ipam_release_err_retries_exhausted_counts_total", "ipam_allocation_duration_seconds_count"],
    ]) {
      assert.equal(value(name), 0, name);
    }
  });

  it("measure each ADD and DEL, and its wait", async () => {
    const metrics = new CallMetrics();
    metrics.ended(flight("ADD", 1_000), undefined);
    metrics.ended(flight("ADD", 3_000), undefined);
    metrics.ended(flight("DEL", 500), undefined);
    metrics.ended(flight("ADD", 9_000, { nested: true }), undefined);
    const value = await values(metrics);
    const of = (kind: string) => value(`ipam_allocation_${kind}_duration_seconds`);
    assert.deepEqual([of("average"), of("max"), of("min"), of("latest")], [2, 3, 1, 3]);
    assert.deepEqual(
      [value("ipam_allocation_latest_limit_duration_seconds"), value("ipam_release_latest_duration_seconds")],
      [0.25, 0.5],
    );
    assert.equal(value('ipam_allocation_duration_seconds_bucket{le="1"}'), 1);
    assert.deepEqual([value("ipam_allocation_counts_total"), value("ipam_release_counts_total")], [2, 1]);
    assert.equal(value('cni_calls_total{verb="ADD",outcome="success"}'), 3);
  });

  it("tell the classes of failures apart", async () => {
    const metrics = new CallMetrics();
    for (const code of ["POOL_EXHAUSTED", "NO_POOL", "CNI_TRY_AGAIN", "WRONG_INPUT", "OVS_BRIDGE_UNKNOWN"]) {
      metrics.ended(flight("ADD", 1), code);
      metrics.ended(flight("DEL", 1), code);
    }
    const value = await values(metrics);
    for (const name of ["ip_used_out", "no_available_pool", "retries_exhausted", "wrong_input", "internal"]) {
      assert.equal(value(`ipam_allocation_err_${name}_counts_total`), 1, name);
    }
    assert.deepEqual(
      [value("ipam_release_err_retries_exhausted_counts_total"), value("ipam_release_err_internal_counts_total")],
      [1, 4],
    );
    assert.deepEqual(
      [value("ipam_allocation_failure_counts_total"), value("ipam_release_failure_counts_total")],
      [5, 5],
    );
  });

  it("show what is there when they are read", async () => {
    const metrics = new CallMetrics();
    metrics.watch({
      calls: () => ({ inside: 2, waiting: 3 }),
      sandboxes: () => 4,
      claims: () => 5,
      eventsDropped: () => 6,
    });
    const value = await values(metrics);
    assert.deepEqual(
      [value('cni_calls_in_progress{state="working"}'), value('cni_calls_in_progress{state="waiting"}')],
      [2, 3],
    );
    assert.deepEqual([value("sandboxes"), value("claims")], [4, 5]);
  });
});
