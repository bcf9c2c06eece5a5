import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { describe, it } from "node:test";
import { spiderSubnets } from "#api";
import type { Logger } from "#base";
import { seriesOf } from "../../base/testing/metrics.ts";
import { options, TestCluster } from "../testing/cluster.ts";
import { controllerMetrics, createMetrics } from "./metrics.ts";

const page = new URL("../../../docs/reference/metrics.md", import.meta.url);
/** Our metrics, without the two that the Prometheus client adds. */
const namesOf = (text: string) => [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name).slice(2);
const valuesOf = (text: string) => Object.fromEntries(seriesOf(text));

function scrape(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path: "/metrics", agent: false }, (response) => {
      response.toArray().then((chunks) => resolve(Buffer.concat(chunks).toString()), reject);
    }).on("error", reject);
  });
}

/** A logger that catches the port on which metrics are served. */
function portCatcher(): { readonly log: Logger; readonly port: () => number } {
  let port = 0;
  const info = (data: { readonly metricsPort?: number }) => {
    port = data.metricsPort ?? port;
  };
  const log = { debug: () => {}, info, warn: () => {}, error: () => {} } as unknown as Logger;
  return { log, port: () => port };
}

describe("the controller's metrics", () => {
  it("are those of the reference page", async () => {
    const names = namesOf(await createMetrics().text());
    assert.deepEqual(names, Object.keys(controllerMetrics));
    for (const name of names) assert.ok(readFileSync(page, "utf8").includes(`| \`${name}\` |`), name);
  });

  it("tell every pool's addresses by state, and every controller that runs", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    cluster.api.apply(spiderSubnets, {
      metadata: { name: "s" },
      spec: { subnet: "172.18.0.0/16", ips: ["172.18.30.131-172.18.30.146"] },
    });
    cluster.reserved("r", ["172.18.30.140"]);
    const until = "2030-01-01T00:00:00Z";
    cluster.claim("172.18.30.131", pool);
    cluster.claim("172.18.30.132", pool, "n1", { purpose: "Hold", until, reason: "a plan" });
    cluster.claim("172.18.30.133", pool, "n1", { purpose: "Quarantine", until, reason: "a conflict" });
    cluster.claim("172.18.30.134", pool);
    const { log, port } = portCatcher();
    await cluster.start({ ...options, metrics: { port: 0, debug: true } }, { log });
    cluster.release("172.18.30.134");
    await cluster.pass(2_000);
    const text = await scrape(port());
    const values = valuesOf(text);
    const ofPool = (state: string) => values[`spiderpool_ippool_${state}_ip_counts{SpiderIPPool="p"}`];
    assert.deepEqual(["free", "used", "reserved", "cooling", "quarantined"].map(ofPool), [6, 1, 2, 1, 1]);
    assert.deepEqual(
      [
        values['spiderpool_debug_ippool_total_ip_counts{SpiderIPPool="p"}'],
        values['spiderpool_debug_ippool_available_ip_counts{SpiderIPPool="p"}'],
        values['spiderpool_debug_subnet_total_ip_counts{SpiderSubnet="s"}'],
        values['spiderpool_debug_subnet_available_ip_counts{SpiderSubnet="s"}'],
        values['spiderpool_debug_subnet_ippool_counts{SpiderSubnet="s"}'],
      ],
      [10, 7, 16, 6, 1],
    );
    assert.deepEqual(
      [values["spiderpool_leader"], values["spiderpool_total_ippool_counts"], values["spiderpool_total_subnet_counts"]],
      [1, 1, 1],
    );
    assert.deepEqual(namesOf(text), Object.keys(controllerMetrics));
    const run = new Set(
      [...text.matchAll(/^controller_runtime_reconcile_total\{controller="([^"]+)"/gm)].map(([, name]) => name),
    );
    assert.deepEqual([...run].sort(), [...controllerMetrics.workqueue_depth.labels.name].sort());
  });
});
