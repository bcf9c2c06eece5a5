import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  finalizer,
  annotations as keys,
  labels,
  parseControlledIPPools,
  type SpiderIPPool,
  type SpiderSubnet,
  type SpiderSubnetSpec,
  spiderIPAddresses,
  spiderIPPools,
  spiderSubnets,
} from "#api";
import {
  cronJobs,
  daemonSets,
  deployments,
  events,
  jobs,
  type KubeObject,
  type Resource,
  replicaSets,
  statefulSets,
} from "#kube";
import { TestCluster } from "../testing/cluster.ts";

const reference = { apiVersion: "apps/v1", kind: "Deployment", name: "up", uid: "u", controller: true };

interface App {
  readonly name?: string;
  readonly replicas?: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
  readonly owners?: readonly object[];
}

/** Six kinds of workload that run `replicas` Pods. */
const kinds = [deployments, replicaSets, statefulSets, daemonSets, jobs, cronJobs] as const;

/** How names of pools end here that are made for the first, the second and the third workload. */
const ends = ["9a2b3", "77777", "88888"] as const;

class Subnets extends TestCluster {
  readonly #uids: string[] = [];

  subnet(name: string, spec: Partial<SpiderSubnetSpec> = {}): SpiderSubnet {
    return this.api.apply<SpiderSubnet>(spiderSubnets, {
      metadata: { name, finalizers: [finalizer] },
      spec: { ipVersion: 4, subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.19"], gateway: "10.6.0.1", ...spec },
    });
  }

  /** Creates or changes a workload; returns its UID. */
  app(resource: Resource<KubeObject>, app: App = {}): string {
    const { name = "web", replicas = 2, annotations = {}, hostNetwork = false, owners = [] } = app;
    const template = {
      metadata: { annotations: { [keys.subnet]: '{"ipv4":["s"]}', ...annotations } },
      spec: { hostNetwork },
    };
    const body = {
      Job: { spec: { template, completions: replicas, parallelism: 1 } },
      CronJob: { spec: { jobTemplate: { spec: { template, parallelism: replicas } } } },
      DaemonSet: { spec: { template }, status: { desiredNumberScheduled: replicas } },
    }[resource.kind] ?? { spec: { template, replicas } };
    const metadata = { namespace: "default", name, ownerReferences: owners };
    const { uid } = this.api.apply(resource, { metadata, ...body }).metadata;
    if (!this.#uids.includes(uid)) this.#uids.push(uid);
    return uid;
  }

  get pools(): Readonly<Record<string, readonly string[] | undefined>> {
    return Object.fromEntries(
      this.api.all(spiderIPPools).map(({ metadata, spec }) => [this.#aliased(metadata.name), spec.ips]),
    );
  }

  read4(alias: string): SpiderIPPool {
    const found = this.api.all(spiderIPPools).find(({ metadata }) => this.#aliased(metadata.name) === alias);
    return found ?? assert.fail(`no pool ${alias}`);
  }

  /** The text with our ends of names for those that are made of UIDs. */
  #aliased(text: string): string {
    return this.#uids.reduce((all, uid, at) => all.replaceAll(`-${uid.slice(24, 29)}`, `-${ends[at]}`), text);
  }

  status(name = "s") {
    const { status = {} } = this.api.read(spiderSubnets, { name }) ?? assert.fail(`no subnet ${name}`);
    const text = this.#aliased(status.controlledIPPools ?? "");
    return { ...status, text, parts: parseControlledIPPools(status.controlledIPPools) ?? {} };
  }

  get holds(): readonly string[] {
    return this.api
      .all(spiderIPAddresses)
      .flatMap(({ metadata, spec }) => (spec.purpose === "Hold" ? [metadata.name] : []));
  }

  told(reason: string): readonly string[] {
    return this.api.all(events).flatMap((event) => (event.reason === reason ? [event.message ?? ""] : []));
  }
}

async function withSubnet(spec: Partial<SpiderSubnetSpec> = {}, conf?: string): Promise<Subnets> {
  const cluster = new Subnets();
  cluster.subnet("s", spec);
  await cluster.start({}, conf === undefined ? {} : { conf });
  await cluster.pass(100);
  return cluster;
}

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

  it("makes the pool as the contract has it: labels, affinity, finalizer, owner, gateway and routes", async () => {
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

  it("fixed and +N; the cluster's default where nothing is said", async () => {
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

  it("reserved IPs respected, and what other pools have", async () => {
    await using cluster = await withSubnet();
    cluster.reserved("r", ["10.6.0.11"]);
    cluster.pool("manual", { subnet: "10.6.0.0/16", ips: ["10.6.0.10"], gateway: "10.6.0.1" });
    await cluster.pass(300);
    cluster.app(deployments);
    await cluster.pass(300);
    assert.deepEqual(cluster.pools["auto4-web-eth0-9a2b3"], ["10.6.0.12-10.6.0.14"]);
    assert.deepEqual(cluster.status().parts["manual"], { ips: ["10.6.0.10"] });
  });

  it("is not for Pods on the host's network, nor for what belongs to a Deployment or a CronJob", async () => {
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

  it("writes the range into the subnet's status before the pool is there", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments);
    await cluster.pass(300);
    const writes = cluster.api.requests.filter(
      ({ method, path }) => method !== "GET" && /spidersubnets|spiderippools\?/.test(path),
    );
    const [given, made] = writes.slice(-2).map(({ path }) => path.replace(/\?.*/, "").replace(/.*\//, ""));
    assert.deepEqual([given, made], ["status", "spiderippools"]);
  });

  it("goes on from a range that a controller gave before it died", async () => {
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

  it("gives long and odd names labels and pools that the API takes", async () => {
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

  it("down: holds the lowest idle addresses until the pool has lost them, then they are free", async () => {
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

  it("an address that was claimed while it was to be dropped stays, another one goes", async () => {
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
  it("says so by a condition and Events, and gives them when there are", async () => {
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
    cluster.subnet("s", { ips: ["10.6.0.10-10.6.0.19"] });
    await cluster.pass(500);
    assert.deepEqual(cluster.pools, { "auto4-web-eth0-9a2b3": ["10.6.0.10-10.6.0.12"] });
    assert.equal(cluster.status().conditions, undefined);
  });

  it("that is not there, of the other family, or an annotation that cannot be read: the application is told", async () => {
    await using cluster = await withSubnet();
    cluster.app(deployments, { annotations: { [keys.subnet]: '{"ipv4":["nowhere"],"ipv6":["s"]}' } });
    cluster.app(statefulSets, { annotations: { [keys.subnet]: "[" } });
    await cluster.pass(500);
    assert.deepEqual([...cluster.told("SubnetUnusable")].sort(), [
      "no IPv4 IPPool for NIC eth0: SpiderSubnet nowhere does not exist; create it, or name another one",
      "no IPv6 IPPool for NIC eth0: SpiderSubnet s is of IPv4; name it under ipv4",
    ]);
    assert.match(cluster.told("InvalidAnnotation").join(), /it is not JSON/);
    assert.deepEqual(cluster.pools, {});
    cluster.subnet("nowhere", { subnet: "10.9.0.0/16", ips: ["10.9.0.10-10.9.0.19"], gateway: "10.9.0.1" });
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

  it("reclaim true, with same-named re-creation: the new one has a pool of its own", async () => {
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

  it("reclaim false, with same-named re-creation: the pool is taken over; another kind does not get it", async () => {
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

  it("an application that goes to another subnet gets a pool there; the old one goes when it is empty", async () => {
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
