import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations as keys, labels, type SpiderIPPool, spiderIPPools } from "#api";
import { deployments, namespaces, statefulSets } from "#kube";
import { Subnets, withSubnet } from "./testing/subnets.ts";

describe("auto pool scale", () => {
  it("up: the lowest free addresses are added", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments);
    await cluster.pass(300);
    cluster.app(deployments, { name: "other" });
    await cluster.pass(300);
    cluster.app(deployments, { replicas: 4 });
    await cluster.pass(300);
    assert.deepEqual(cluster.pools["auto4-web-eth0-9a2b3"], ["10.6.0.10-10.6.0.12", "10.6.0.16-10.6.0.17"]);
  });

  it("down: holds the lowest idle addresses until the pool no longer has them, then frees them", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { replicas: 5 });
    await cluster.pass(300);
    const pool = cluster.read4("auto4-web-eth0-9a2b3");
    cluster.claim("10.6.0.10", pool);
    await cluster.pass(100);
    cluster.app(deployments, { replicas: 2 });
    await cluster.pass(2_000);
    assert.deepEqual(cluster.pools, { "auto4-web-eth0-9a2b3": ["10.6.0.10", "10.6.0.14-10.6.0.15"] });
    assert.equal(cluster.status().allocatedIPCount, 3);
    assert.deepEqual(cluster.holds, []);
    const steps = cluster.api.requests.flatMap(({ method, path }) => {
      const [, what] = /\/(spideripaddresses|spidersubnets|spiderippools(?!\/[^/]*\/status))/.exec(path) ?? [];
      return method === "GET" || what === undefined ? [] : [`${method} ${what}`];
    });
    const last = steps.slice(-8);
    assert.deepEqual(last, [
      "POST spideripaddresses",
      "POST spideripaddresses",
      "POST spideripaddresses",
      "PATCH spidersubnets",
      "PUT spiderippools",
      "DELETE spideripaddresses",
      "DELETE spideripaddresses",
      "DELETE spideripaddresses",
    ]);
  });

  it("down waits for Pods that still have addresses", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { replicas: 3, annotations: { [keys.poolIpNumber]: "+0" } });
    await cluster.pass(300);
    const pool = cluster.read4("auto4-web-eth0-9a2b3");
    for (const last of [0, 1, 2]) cluster.claim(`10.6.0.1${last}`, pool);
    await cluster.pass(100);
    cluster.app(deployments, { replicas: 1, annotations: { [keys.poolIpNumber]: "+0" } });
    await cluster.pass(3_000);
    assert.deepEqual(cluster.pools["auto4-web-eth0-9a2b3"], ["10.6.0.10-10.6.0.12"]);
    cluster.release("10.6.0.10");
    cluster.release("10.6.0.12");
    await cluster.pass(2_000);
    assert.deepEqual([cluster.pools["auto4-web-eth0-9a2b3"], cluster.holds], [["10.6.0.11"], []]);
  });

  it("an address claimed just before it would be dropped stays; another one goes", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { replicas: 3, annotations: { [keys.poolIpNumber]: "+0" } });
    await cluster.pass(300);
    const pool = cluster.read4("auto4-web-eth0-9a2b3");
    cluster.api.pauseWatches();
    cluster.claim("10.6.0.10", pool);
    cluster.api.resumeWatches();
    cluster.app(deployments, { replicas: 2, annotations: { [keys.poolIpNumber]: "+0" } });
    await cluster.pass(3_000);
    assert.deepEqual([cluster.pools["auto4-web-eth0-9a2b3"], cluster.holds], [["10.6.0.10", "10.6.0.12"], []]);
  });
});

describe("a subnet without enough addresses", () => {
  it("says so by a condition and Events, and gives addresses when there are some", async () => {
    await using cluster = await withSubnet({ ips: ["10.6.0.10-10.6.0.11"] });
    cluster.app(deployments);
    await cluster.pass(500);
    const sentence =
      /^insufficient subnet FreeIPs, required '3' but only left '2' in SpiderSubnet s for NIC eth0 of Deployment default\/web; add addresses/;
    assert.deepEqual(cluster.pools, {});
    assert.match(cluster.status().conditions?.[0]?.message ?? "", sentence);
    const told = cluster.told("InsufficientIPs");
    assert.equal(told.length, 2);
    for (const message of told) assert.match(message, sentence);
    cluster.subnet("s", { ips: ["10.6.0.10"] });
    await cluster.pass(500);
    assert.match(cluster.status().conditions?.[0]?.message ?? "", /only left '1'/);
    assert.equal(cluster.told("InsufficientIPs").length, 2, "another number is no other cause");
    cluster.subnet("s", { ips: ["10.6.0.10-10.6.0.19"] });
    await cluster.pass(500);
    assert.deepEqual(cluster.pools, { "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.12"] });
    assert.equal(cluster.status().conditions, undefined);
  });

  it("that does not exist or has the other family, or an invalid annotation: the application gets an Event", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { annotations: { [keys.subnet]: '{"ipv4":["nowhere"],"ipv6":["s"]}' } });
    cluster.app(statefulSets, { annotations: { [keys.subnet]: "[" } });
    await cluster.pass(500);
    assert.deepEqual([...cluster.told("SubnetUnusable")].sort(), [
      "no IPv4 IPPool for NIC eth0: SpiderSubnet nowhere does not exist; create it, or name another one",
      "no IPv6 IPPool for NIC eth0: SpiderSubnet s is of IPv4; name it under ipv4",
    ]);
    assert.match(cluster.told("InvalidAnnotation").join(), /it is not JSON; .*\. What to do: write it like \{/);
    assert.deepEqual(cluster.pools, {});
    cluster.subnet("nowhere", { subnet: "10.9.0.0/16", ips: ["10.9.0.10-10.9.0.19"], gateway: "10.9.0.1" });
    await cluster.pass(500);
    assert.deepEqual(Object.keys(cluster.pools), ["auto4-web-eth0-9a2b3"]);
  });
});

describe("a subnet for some namespaces", () => {
  const told = "no IPv4 IPPool for NIC eth0: SpiderSubnet s is for";

  it("gives applications of other namespaces no pool, and tells them by an Event", async () => {
    await using cluster = await withSubnet();
    cluster.subnet("s", { namespaceName: ["team-a"] });
    cluster.app(deployments);
    await cluster.pass(500);
    assert.deepEqual(cluster.pools, {});
    assert.deepEqual(cluster.told("SubnetUnusable"), [
      `${told} namespace team-a; add default to its spec.namespaceName, or name another one`,
    ]);
    cluster.subnet("s", { namespaceName: ["team-a", "default"] });
    await cluster.pass(500);
    assert.deepEqual(Object.keys(cluster.pools), ["auto4-web-eth0-9a2b3"]);
  });

  it("selects namespaces by their labels, and follows changes", async () => {
    await using cluster = await withSubnet();
    cluster.subnet("s", { namespaceAffinity: { matchLabels: { team: "a" } } });
    cluster.app(deployments);
    await cluster.pass(500);
    assert.deepEqual(cluster.told("SubnetUnusable"), [], "nothing is known of the namespace yet");
    cluster.api.apply(namespaces, { metadata: { name: "default" } });
    await cluster.pass(500);
    assert.deepEqual(cluster.pools, {});
    assert.deepEqual(cluster.told("SubnetUnusable"), [
      `${told} namespaces with team=a, and default has team absent; label the namespace, change spec.namespaceAffinity of the subnet, or name another one`,
    ]);
    cluster.api.apply(namespaces, { metadata: { name: "default", labels: { team: "a" } } });
    await cluster.pass(500);
    assert.deepEqual(Object.keys(cluster.pools), ["auto4-web-eth0-9a2b3"]);
    cluster.subnet("s", { namespaceName: ["team-a"], namespaceAffinity: {} });
    cluster.app(statefulSets);
    await cluster.pass(500);
    assert.equal(Object.keys(cluster.pools).length, 1, "names win over labels");
  });

  it("is the only kind of subnet allowed with enableStrictIPPoolScope", async () => {
    await using cluster = await withSubnet({}, "enableSpiderSubnet: true\nenableStrictIPPoolScope: true");
    cluster.app(deployments);
    await cluster.pass(500);
    assert.deepEqual(cluster.pools, {});
    assert.deepEqual(cluster.told("SubnetUnusable"), [
      `${told} no namespace, and enableStrictIPPoolScope is on; add default to its spec.namespaceName`,
    ]);
    cluster.subnet("s", { namespaceName: ["default"] });
    await cluster.pass(500);
    assert.deepEqual(Object.keys(cluster.pools), ["auto4-web-eth0-9a2b3"]);
  });
});

describe("auto pool delete", () => {
  const fixed = (reclaim: string) => ({ [keys.poolReclaim]: reclaim, [keys.poolIpNumber]: "2" });

  it("reclaim true: the pool goes with its application, and its addresses are free again", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments);
    await cluster.pass(300);
    cluster.api.remove(deployments, { namespace: "default", name: "web" });
    await cluster.pass(300);
    assert.notEqual(cluster.read4("auto4-web-eth0-9a2b3").metadata.deletionTimestamp, undefined);
    assert.equal(cluster.status().allocatedIPCount, 3);
    await cluster.pass(200_000);
    assert.deepEqual(cluster.pools, {});
    assert.deepEqual([cluster.status().allocatedIPCount, cluster.status().controlledIPPools], [0, undefined]);
  });

  it("reclaim true, with same-named re-creation: the new one gets its own pool", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { annotations: fixed("true") });
    await cluster.pass(300);
    cluster.api.remove(deployments, { namespace: "default", name: "web" });
    cluster.app(deployments, { annotations: fixed("true") });
    await cluster.pass(300);
    assert.deepEqual(cluster.pools, {
      "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.11"],
      "auto4-web-eth0-77777": ["10.6.0.12-10.6.0.13"],
    });
    assert.notEqual(cluster.read4("auto4-web-eth0-9a2b3").metadata.deletionTimestamp, undefined);
  });

  it("reclaim false, with same-named re-creation: the new one gets the pool; another kind does not", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { annotations: fixed("false") });
    await cluster.pass(300);
    cluster.api.remove(deployments, { namespace: "default", name: "web" });
    await cluster.pass(5_000);
    assert.deepEqual(Object.keys(cluster.pools), ["auto4-web-eth0-9a2b3"]);
    cluster.app(statefulSets, { annotations: fixed("true") });
    await cluster.pass(300);
    assert.deepEqual(cluster.pools, {
      "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.11"],
      "auto4-web-eth0-77777": ["10.6.0.12-10.6.0.13"],
    });
    const third = cluster.app(deployments, { annotations: fixed("true") });
    await cluster.pass(300);
    const { labels: found = {} } = cluster.read4("auto4-web-eth0-9a2b3").metadata;
    assert.deepEqual([found[labels.ownerApplicationUid], found[labels.poolReclaim]], [third, "true"]);
    assert.equal(Object.keys(cluster.pools).length, 2);
  });

  it("an application that changes its subnet gets a new pool; the old pool goes when it is empty", async () => {
    await using cluster = await withSubnet();
    cluster.subnet("s2", { subnet: "10.7.0.0/16", ips: ["10.7.0.10-10.7.0.19"], gateway: "10.7.0.1" });
    cluster.app(deployments);
    await cluster.pass(300);
    const pool = cluster.read4("auto4-web-eth0-9a2b3");
    cluster.claim("10.6.0.10", pool);
    cluster.app(deployments, { annotations: { [keys.subnet]: '{"ipv4":["s2"]}' } });
    await cluster.pass(2_000);
    const [old, made = "", ...more] = Object.keys(cluster.pools).sort();
    assert.deepEqual([old, more], ["auto4-web-eth0-9a2b3", []]);
    assert.match(made, /^auto4-web-eth0-9a2b3-[0-9a-f]{5}$/);
    assert.deepEqual(cluster.pools[made], ["10.7.0.10-10.7.0.12"]);
    assert.equal(cluster.read4("auto4-web-eth0-9a2b3").metadata.deletionTimestamp, undefined);
    cluster.release("10.6.0.10");
    await cluster.pass(2_000);
    assert.notEqual(cluster.read4("auto4-web-eth0-9a2b3").metadata.deletionTimestamp, undefined);
    assert.equal(cluster.told("ApplicationSubnetChanged").length, 1);
  });

  it("without the annotations the pool stays until the application goes", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments);
    await cluster.pass(300);
    cluster.app(deployments, { hostNetwork: true });
    await cluster.pass(2_000);
    assert.equal(cluster.read4("auto4-web-eth0-9a2b3").metadata.deletionTimestamp, undefined);
    cluster.api.remove(deployments, { namespace: "default", name: "web" });
    await cluster.pass(2_000);
    assert.notEqual(cluster.read4("auto4-web-eth0-9a2b3").metadata.deletionTimestamp, undefined);
  });

  it("an application that the watch does not show keeps its pool", async () => {
    await using cluster = new Subnets();
    cluster.subnet("s");
    cluster.api.faults = ({ path }) => (/deployments\?.*watch=true/.test(path) ? { kind: "hang" } : undefined);
    cluster.app(statefulSets);
    await cluster.start();
    await cluster.pass(300);
    const uid = cluster.app(deployments, { name: "late" });
    const { metadata, spec } = cluster.read4("auto4-web-eth0-9a2b3");
    const of = { ownerApplicationKind: "Deployment", ownerApplicationName: "late", ownerApplicationUid: uid } as const;
    const changed = Object.entries(of).map(([key, value]) => [labels[key as keyof typeof of], value]);
    cluster.api.apply<SpiderIPPool>(spiderIPPools, {
      metadata: { name: "p", labels: { ...metadata.labels, ...Object.fromEntries(changed) } },
      spec: { ...spec, ips: ["10.6.0.19"] },
    });
    await cluster.pass(5_000);
    assert.equal(cluster.read4("p").metadata.deletionTimestamp, undefined);
    cluster.api.remove(deployments, { namespace: "default", name: "late" });
    await cluster.pass(5_000);
    assert.notEqual(cluster.read4("p").metadata.deletionTimestamp, undefined);
  });
});
