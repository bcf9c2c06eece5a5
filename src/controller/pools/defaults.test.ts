import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizer, spiderIPPools } from "#api";
import { events } from "#kube";
import { TestCluster } from "../testing/cluster.ts";

const poolEvents = ({ api }: TestCluster) => api.all(events).filter(({ reason }) => reason === "InvalidIPPool");

describe("pool defaults", () => {
  it("are filled in for a pool stored without admission", async () => {
    await using cluster = new TestCluster();
    cluster.pool("p", { ips: ["172.18.30.7", "172.18.30.6"] });
    await cluster.start();
    const { metadata, spec } = cluster.api.read(spiderIPPools, { name: "p" }) ?? {};
    assert.deepEqual(metadata?.finalizers, [finalizer]);
    assert.deepEqual(metadata?.labels, { "ipam.spidernet.io/ippool-cidr": "172-18-0-0-16" });
    assert.deepEqual([spec?.ipVersion, spec?.ips], [4, ["172.18.30.6-172.18.30.7"]]);
  });

  it("do not touch an invalid pool, which gets an Event with its first violation", async () => {
    await using cluster = new TestCluster();
    cluster.pool("p", { gateway: "10.0.0.1" });
    await cluster.start();
    const [event] = poolEvents(cluster);
    assert.deepEqual(
      [event?.type, event?.involvedObject.kind, event?.involvedObject.name],
      ["Warning", "SpiderIPPool", "p"],
    );
    assert.match(event?.message ?? "", /^spec.gateway: Invalid value: "10.0.0.1": not pertains to/);
  });

  it("blame the younger of two pools that share an address", async () => {
    await using cluster = new TestCluster();
    cluster.pool("older");
    await cluster.clock.advance(2_000);
    cluster.pool("a-younger", { ips: ["172.18.30.140-172.18.30.150"] });
    await cluster.start();
    const blamed = poolEvents(cluster).map(({ involvedObject, message }) => `${involvedObject.name}: ${message}`);
    assert.equal(blamed.length, 1);
    assert.match(blamed[0] ?? "", /^a-younger: spec.ips: Forbidden: overlap with IPPool older/);
  });
});
