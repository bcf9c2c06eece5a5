import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizer, annotations as keys, labels, spiderSubnets } from "#api";
import { deployments, jobs, replicaSets, statefulSets } from "#kube";
import { type App, kinds, reference, Subnets, withSubnet } from "./testing/subnets.ts";

describe("auto pool create", () => {
  for (const resource of kinds) {
    it(`gives a ${resource.kind} one address for each replica and one more, within 300 ms`, async () => {
      await using cluster = await withSubnet();
      cluster.app(resource);
      await cluster.pass(300);
      assert.deepEqual(cluster.pools, { "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.12"] });
      const { text } = cluster.status();
      const version = `${resource.group}_v1_${resource.kind}`;
      assert.equal(
        text,
        `{"auto4-web-eth0-9a2b3":{"ips":["10.6.0.10-10.6.0.12"],"application":"${version}_default_web"}}`,
      );
      assert.deepEqual([cluster.status().totalIPCount, cluster.status().allocatedIPCount], [10, 3]);
    });
  }

  it("makes the pool with the documented labels, affinity, finalizer, owner, gateway and routes", async () => {
    await using cluster = await withSubnet({ routes: [{ dst: "10.7.0.0/16", gw: "10.6.0.1" }] });
    const uid = cluster.app(statefulSets, {
      annotations: { [keys.poolReclaim]: "false", [keys.poolIpNumber]: "4" },
    });
    await cluster.pass(300);
    const { metadata, spec } = cluster.read4("auto4-web-eth0-9a2b3");
    const subnet = cluster.api.read(spiderSubnets, { name: "s" });
    assert.deepEqual(metadata.labels, {
      [labels.poolCidr]: "10-6-0-0-16",
      [labels.ownerSubnet]: "s",
      [labels.ownerApplicationGv]: "apps_v1",
      [labels.ownerApplicationKind]: "StatefulSet",
      [labels.ownerApplicationNamespace]: "default",
      [labels.ownerApplicationName]: "web",
      [labels.ownerApplicationUid]: uid,
      [labels.interface]: "eth0",
      [labels.ipVersion]: "IPv4",
      [labels.poolReclaim]: "false",
    });
    assert.deepEqual([metadata.annotations, metadata.finalizers], [{ [keys.poolIpNumber]: "4" }, [finalizer]]);
    assert.deepEqual(
      metadata.ownerReferences?.map(({ kind, uid: of, controller, blockOwnerDeletion }) => [
        kind,
        of,
        controller,
        blockOwnerDeletion,
      ]),
      [["SpiderSubnet", subnet?.metadata.uid, true, true]],
    );
    assert.deepEqual(spec, {
      ipVersion: 4,
      subnet: "10.6.0.0/16",
      ips: ["10.6.0.10-10.6.0.13"],
      gateway: "10.6.0.1",
      routes: [{ dst: "10.7.0.0/16", gw: "10.6.0.1" }],
      podAffinity: {
        matchLabels: {
          [labels.appApiGroup]: "apps",
          [labels.appApiVersion]: "v1",
          [labels.appKind]: "StatefulSet",
          [labels.appNamespace]: "default",
          [labels.appName]: "web",
        },
      },
    });
  });

  it("fixed and +N; the cluster's default if there is no annotation", async () => {
    await using cluster = await withSubnet({}, "clusterSubnetDefaultFlexibleIPNumber: 3");
    const sizes = async (annotations: App["annotations"]) => {
      cluster.app(deployments, { annotations: annotations ?? {} });
      await cluster.pass(2_000);
      return cluster.status().allocatedIPCount;
    };
    assert.equal(await sizes({ [keys.poolIpNumber]: "1" }), 1);
    assert.equal(await sizes({ [keys.poolIpNumber]: "+0" }), 2);
    assert.equal(await sizes({ [keys.poolIpNumber]: "+4" }), 6);
    assert.equal(await sizes({}), 5);
    assert.deepEqual(cluster.holds, []);
  });

  it("two NICs with two subnets, dual stack", async () => {
    await using cluster = await withSubnet();
    cluster.subnet("s2", { subnet: "10.7.0.0/16", ips: ["10.7.0.10-10.7.0.19"], gateway: "10.7.0.1" });
    cluster.subnet("s6", { subnet: "fd00::/64", ipVersion: 6, ips: ["fd00::10-fd00::ffff"], gateway: "fd00::1" });
    cluster.app(deployments, {
      annotations: {
        [keys.subnets]: '[{"interface":"eth0","ipv4":["s"],"ipv6":["s6"]},{"interface":"net1","ipv4":["s2"]}]',
      },
    });
    await cluster.pass(300);
    assert.deepEqual(cluster.pools, {
      "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.12"],
      "auto4-web-net1-9a2b3": ["10.7.0.10-10.7.0.12"],
      "auto6-web-eth0-9a2b3": ["fd00::10-fd00::12"],
    });
  });

  it("respects reserved IPs and addresses of other pools", async () => {
    await using cluster = await withSubnet();
    cluster.reserved("r", ["10.6.0.11"]);
    cluster.pool("manual", { subnet: "10.6.0.0/16", ips: ["10.6.0.10"], gateway: "10.6.0.1" });
    await cluster.pass(300);
    cluster.app(deployments);
    await cluster.pass(300);
    assert.deepEqual(cluster.pools["auto4-web-eth0-9a2b3"], ["10.6.0.12-10.6.0.14"]);
    assert.deepEqual(cluster.status().parts["manual"], { ips: ["10.6.0.10"] });
  });

  it("does nothing for Pods on the host's network, or for ReplicaSets and Jobs that a Deployment or CronJob owns", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { hostNetwork: true });
    cluster.app(replicaSets, { owners: [reference] });
    cluster.app(jobs, { owners: [{ ...reference, kind: "CronJob" }] });
    await cluster.pass(1_000);
    assert.deepEqual(cluster.pools, {});
  });

  it("is off with the feature", async () => {
    await using cluster = await withSubnet({}, "enableAutoPoolForApplication: false");
    cluster.app(deployments);
    await cluster.pass(1_000);
    assert.deepEqual([cluster.pools, cluster.status().totalIPCount], [{}, 10]);
  });

  it("writes the range into the subnet's status before it creates the pool", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments);
    await cluster.pass(300);
    const writes = cluster.api.requests.filter(
      ({ method, path }) => method !== "GET" && /spidersubnets|spiderippools\?/.test(path),
    );
    const [given, made] = writes.slice(-2).map(({ path }) => path.replace(/\?.*/, "").replace(/.*\//, ""));
    assert.deepEqual([given, made], ["status", "spiderippools"]);
  });

  it("continues from a range that a controller gave before it died", async () => {
    await using cluster = new Subnets();
    cluster.subnet("s");
    cluster.app(deployments);
    const refusals = cluster.api;
    refusals.fail(({ method, path }) => method === "POST" && path.includes("spiderippools"), { kind: "hang" }, 1);
    const stop = await cluster.start();
    await cluster.pass(300);
    assert.deepEqual([cluster.status().allocatedIPCount, cluster.pools], [3, {}]);
    await stop();
    await cluster.pass(20_000);
    await cluster.start();
    await cluster.pass(20_000);
    assert.deepEqual(cluster.pools, { "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.12"] });
  });

  it("makes valid labels and pool names of long and odd names", async () => {
    await using cluster = await withSubnet();
    const name = `${"a".repeat(62)}.${"b".repeat(62)}.${"c".repeat(62)}.${"d".repeat(60)}`;
    cluster.app(deployments, { name, annotations: { [keys.subnet]: '{"interface":"ETH_0","ipv4":["s"]}' } });
    await cluster.pass(300);
    const [pool = ""] = Object.keys(cluster.pools);
    assert.match(pool, /^auto4-a{62}\.[b.c-d]+-eth-0-9a2b3$/);
    assert.equal(pool.length <= 253, true);
    const { metadata, spec } = cluster.read4(pool);
    const values = [metadata.labels, spec.podAffinity?.matchLabels].flatMap((set) => Object.values(set ?? {}));
    for (const value of values) assert.match(value, /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/);
  });
});
