import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { labels, type SpiderIPPool, spiderIPAddresses, spiderIPPools, spiderPoolUsages } from "#api";
import { events, type Transport } from "#kube";
import { foundInUse } from "#ledger";
import { TestCluster } from "../testing/cluster.ts";

const statusWrites = ({ api }: TestCluster) => api.requests.filter(({ path }) => path.includes("/p/status")).length;
const usageWrites = ({ api }: TestCluster) =>
  api.requests.filter(({ method, path }) => method !== "GET" && path.includes("spiderpoolusages")).length;

/** A cluster with a leader and the idle pool `p`, all views written. */
async function quietCluster() {
  const cluster = new TestCluster();
  const pool = cluster.pool("p");
  await cluster.start();
  await cluster.pass(3_000);
  const status = () => cluster.api.read(spiderIPPools, { name: "p" })?.status;
  const usage = () => cluster.api.read(spiderPoolUsages, { name: "p" })?.spec;
  return { cluster, pool, status, usage };
}

describe("a pool's status", () => {
  it("follows claims as they come and go", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    assert.deepEqual(status(), { allocatedIPCount: 0, totalIPCount: 10 });
    cluster.claim("172.18.30.132", pool);
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(1_000);
    assert.equal(status()?.allocatedIPCount, 2);
    const record = (ip: string) => `"${ip}":{"pod":"default/pod-${ip}","podUid":"uid-${ip}"}`;
    assert.equal(status()?.allocatedIPs, `{${record("172.18.30.131")},${record("172.18.30.132")}}`);
    cluster.release("172.18.30.131");
    cluster.release("172.18.30.132");
    await cluster.pass(1_000);
    assert.deepEqual(status(), { allocatedIPCount: 0, totalIPCount: 10 });
  });

  it("is written at once after a quiet time, then at most once a second", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    const before = statusWrites(cluster);
    cluster.claim("172.18.30.131", pool);
    await cluster.settle();
    assert.deepEqual([status()?.allocatedIPCount, statusWrites(cluster) - before], [1, 1]);
    for (const last of [2, 3, 4, 5]) cluster.claim(`172.18.30.13${last}`, pool);
    await cluster.pass(900);
    assert.equal(statusWrites(cluster) - before, 1);
    await cluster.pass(200);
    assert.deepEqual([status()?.allocatedIPCount, statusWrites(cluster) - before], [5, 2]);
    await cluster.pass(5_000);
    assert.equal(statusWrites(cluster) - before, 2);
  });

  it("is written a second after the previous write's answer, however long that took", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    let delayMs = 0;
    const atMs: number[] = [];
    const transport: Transport = {
      server: cluster.api.server,
      send: async (request, o) => {
        if (!request.path.includes("/p/status")) return cluster.api.send(request, o);
        await cluster.clock.sleep(delayMs, o);
        atMs.push(cluster.clock.monotonicMs());
        return cluster.api.send(request, o);
      },
    };
    await cluster.start({}, { transport });
    await cluster.pass(3_000);
    atMs.length = 0;
    delayMs = 900;
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(850);
    delayMs = 0;
    cluster.claim("172.18.30.132", pool);
    await cluster.pass(5_000);
    assert.equal(atMs.length, 2);
    assert.ok((atMs[1] ?? 0) - (atMs[0] ?? 0) >= 1_000, String(atMs));
  });

  it("is tried again a second after a refusal: the conflict may be our own write whose answer was lost", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    const isStatus = ({ path }: { readonly path: string }) => path.includes("/p/status");
    cluster.api.fail(isStatus, { kind: "status", status: 409, reason: "Conflict" });
    const before = statusWrites(cluster);
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(900);
    assert.equal(statusWrites(cluster) - before, 1);
    await cluster.pass(3_000);
    assert.deepEqual([status()?.allocatedIPCount, statusWrites(cluster) - before], [1, 2]);
  });

  it("counts the addresses of a huge pool as 2^63 - 1, digit by digit", async () => {
    await using cluster = new TestCluster();
    cluster.pool("p", { subnet: "fd00::/64", ips: ["fd00::-fd00::ffff:ffff:ffff:ffff"], gateway: "" });
    await cluster.start();
    await cluster.pass(2_000);
    const sent = cluster.api.requests.filter(({ path }) => path.includes("/p/status"));
    assert.match(Buffer.from(sent.at(-1)?.body ?? []).toString(), /"totalIPCount":9223372036854775807\b/);
    await cluster.pass(5_000);
    assert.equal(cluster.api.requests.filter(({ path }) => path.includes("/p/status")).length, sent.length);
  });

  it("counts a claim by its address if its pool was created again", async () => {
    const { cluster, pool, status } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(1_000);
    cluster.api.remove(spiderIPPools, { name: "p" });
    cluster.pool("p");
    await cluster.pass(5_000);
    assert.equal(status()?.allocatedIPCount, 1);
  });
});

describe("a pool's conditions", () => {
  const conditionsOf = ({ api }: TestCluster, name = "p") =>
    api.read(spiderIPPools, { name })?.status?.conditions?.map(({ type, message }) => `${type}: ${message}`);
  const poolEvents = ({ api }: TestCluster, reason: string) =>
    api.all(events).filter((event) => event.reason === reason && event.involvedObject.kind === "SpiderIPPool").length;

  it("name the Pods whose addresses an edit removed, until they are gone, with one Event", async () => {
    const { cluster, pool } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.139", pool);
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    const shrunk = { ...pool, spec: { ...pool.spec, ips: ["172.18.30.131-172.18.30.135"] } };
    cluster.api.apply(spiderIPPools, {
      ...shrunk,
      metadata: cluster.api.read(spiderIPPools, { name: "p" })?.metadata ?? {},
    });
    await cluster.pass(3_000);
    assert.match(
      conditionsOf(cluster)?.join() ?? "",
      /^OutOfRange: Pods have addresses .* any more: 172\.18\.30\.139 \(default\/pod-172\.18\.30\.139\); .* restart these Pods/,
    );
    await cluster.pass(10_000);
    assert.equal(poolEvents(cluster, "OutOfRange"), 1);
    cluster.release("172.18.30.139");
    await cluster.pass(3_000);
    assert.equal(conditionsOf(cluster), undefined);
  });

  it("say that the list of addresses is cut short; counts stay exact", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    for (const last of [1, 2, 3]) cluster.claim(`172.18.30.13${last}`, pool);
    await cluster.start({ listedIps: 2 });
    await cluster.pass(2_000);
    const { status } = cluster.api.read(spiderIPPools, { name: "p" }) ?? {};
    assert.equal(status?.allocatedIPCount, 3);
    assert.deepEqual(Object.keys(JSON.parse(status?.allocatedIPs ?? "{}")), ["172.18.30.131", "172.18.30.132"]);
    assert.match(conditionsOf(cluster)?.join() ?? "", /^AllocatedIPsTruncated: allocatedIPs lists 2 of 3 .*-l pool=p$/);
  });

  it("say of the younger of two overlapping pools that it is invalid, until the older one is gone", async () => {
    await using cluster = new TestCluster();
    cluster.pool("older");
    await cluster.clock.advance(2_000);
    cluster.pool("younger", { ips: ["172.18.30.140-172.18.30.150"] });
    await cluster.start();
    await cluster.pass(2_000);
    assert.deepEqual([conditionsOf(cluster, "older"), conditionsOf(cluster, "younger")?.length], [undefined, 1]);
    assert.match(
      conditionsOf(cluster, "younger")?.[0] ?? "",
      /^Invalid: spec.ips: Forbidden: overlap with IPPool older/,
    );
    cluster.api.remove(spiderIPPools, { name: "older" });
    await cluster.pass(2_000);
    assert.equal(conditionsOf(cluster, "younger"), undefined);
    assert.equal(poolEvents(cluster, "InvalidIPPool"), 1);
  });

  it("come with Events: one when the last address is taken, one for a foreign host", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p", { ips: ["172.18.30.131-172.18.30.132"] });
    cluster.claim("172.18.30.131", pool);
    await cluster.start();
    await cluster.pass(2_000);
    assert.equal(poolEvents(cluster, "IPPoolExhausted"), 0);
    const claim = cluster.claim("172.18.30.132", pool);
    await cluster.pass(5_000);
    assert.equal(poolEvents(cluster, "IPPoolExhausted"), 1);
    const spec = {
      ...claim.spec,
      purpose: "Quarantine" as const,
      mac: "02:00:00:00:00:01",
      until: "2030-01-01T00:00:00Z",
    };
    cluster.api.apply(spiderIPAddresses, { ...claim, spec: { ...spec, reason: "another host answers for it" } });
    await cluster.pass(1_000);
    assert.equal(poolEvents(cluster, "AddressConflict"), 1);
    cluster.api.remove(spiderIPAddresses, { name: "172.18.30.131" });
    await cluster.pass(2_000);
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    assert.equal(poolEvents(cluster, "IPPoolExhausted"), 1, "of the same pool, with other counts");
    const own = cluster.api.apply<SpiderIPPool>(spiderIPPools, {
      metadata: { name: "auto", labels: { [labels.ownerApplicationName]: "web" } },
      spec: { subnet: "172.18.0.0/16", ips: ["172.18.30.150"] },
    });
    cluster.claim("172.18.30.150", own);
    await cluster.pass(2_000);
    assert.equal(poolEvents(cluster, "IPPoolExhausted"), 1, "an application's pool is as large as it asked for");
    const other = cluster.pool("q", { ips: ["172.18.30.140"] });
    const held = cluster.claim("172.18.30.140", other);
    cluster.api.apply(spiderIPAddresses, {
      ...held,
      spec: { ...held.spec, purpose: "Quarantine", reason: foundInUse },
    });
    await cluster.pass(5_000);
    const isGivenBack = /^172\.18\.30\.140 was given back as in use by a host that is none of ours: /;
    assert.equal(cluster.api.all(events).filter(({ message = "" }) => isGivenBack.test(message)).length, 1);
    const told = cluster.api
      .all(events)
      .flatMap(({ message = "" }) => (message.startsWith("all 1 addresses of IPPool q ") ? [message] : []));
    assert.match(
      told.join(),
      /^all 1 addresses of IPPool q are taken: 1 in quarantine: .*spiderpoolctl ip show --pool q says who has them$/,
    );
    const usage = cluster.api.all(spiderPoolUsages).find(({ metadata }) => metadata.name === "p");
    assert.deepEqual([usage?.spec.quarantined, usage?.spec.quarantinedUntil], [1, "2030-01-01T00:00:00Z"]);
  });
});

describe("the budget of statuses", () => {
  it("is shared by all pools: in a cluster of 1,000 nodes twenty in a second", async () => {
    await using cluster = new TestCluster();
    const pools = Array.from({ length: 60 }, (_, at) =>
      cluster.pool(`p${at}`, { subnet: `10.${at}.0.0/16`, ips: [`10.${at}.0.10-10.${at}.0.20`], gateway: "" }),
    );
    for (let at = 0; at < 1_000; at++) cluster.node(`n${at}`, { agent: "none" });
    await cluster.start();
    await cluster.pass(10_000);
    const writes = () => cluster.api.requests.filter(({ path }) => /\/spiderippools\/[^/]+\/status/.test(path)).length;
    const before = writes();
    for (const [at, pool] of pools.entries()) cluster.claim(`10.${at}.0.10`, pool);
    await cluster.pass(1_000);
    const first = writes() - before;
    assert.ok(first >= 15 && first <= 25, `${first} statuses in the first second`);
    await cluster.pass(4_000);
    assert.equal(writes() - before, 60);
  });

  it("shrinks while the server answers late, and recovers afterwards", async () => {
    await using cluster = new TestCluster();
    const all = Array.from({ length: 20 }, (_, at) =>
      cluster.pool(`p${at}`, { subnet: `10.${at}.0.0/16`, ips: [`10.${at}.0.10-10.${at}.0.20`], gateway: "" }),
    );
    for (let at = 0; at < 1_000; at++) cluster.node(`n${at}`, { agent: "none" });
    let [delayMs, writes] = [0, 0];
    const transport: Transport = {
      server: cluster.api.server,
      send: async (request, o) => {
        if (!/\/spiderippools\/[^/]+\/status/.test(request.path)) return cluster.api.send(request, o);
        writes += 1;
        await cluster.clock.sleep(delayMs, o);
        return cluster.api.send(request, o);
      },
    };
    await cluster.start({}, { transport });
    await cluster.pass(5_000);
    [delayMs, writes] = [400, 0];
    for (const [at, pool] of all.entries()) cluster.claim(`10.${at}.0.10`, pool);
    await cluster.pass(4_000);
    assert.ok(writes > 0 && writes <= 12, `${writes} statuses in four seconds`);
    delayMs = 0;
    await cluster.pass(6_000);
    assert.equal(writes, 20);
  });
});

describe("SpiderPoolUsage", () => {
  it("counts as free only what can be claimed, without reserved addresses", async () => {
    const { cluster, usage } = await quietCluster();
    await using _cluster = cluster;
    assert.equal(usage()?.free, 10);
    cluster.reserved("r", ["172.18.30.138-172.18.30.150"]);
    await cluster.pass(2_000);
    assert.equal(usage()?.free, 7);
  });

  it("ranks nodes at once that begin to draw from a large pool, and is not hurried otherwise", async () => {
    const { cluster, usage } = await quietCluster();
    await using _cluster = cluster;
    const large = cluster.pool("p", { ips: ["172.18.32.0-172.18.63.255"] });
    await cluster.pass(2_000);
    cluster.claim("172.18.32.0", large, "n1");
    cluster.claim("172.18.32.1", large, "n2");
    await cluster.pass(50);
    assert.deepEqual(usage()?.nodes, ["n1", "n2"]);
    cluster.claim("172.18.32.2", large, "n2");
    await cluster.pass(50);
    assert.deepEqual(usage()?.used, ["172.18.32.0-172.18.32.1"]);
    await cluster.pass(1_000);
    assert.deepEqual(usage()?.used, ["172.18.32.0-172.18.32.2"]);
  });

  it("grants addresses at once to nodes on which Pods wait, until they wait no more or the node is silent", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    const grants = () => usage()?.grants?.map(({ node, ips }) => [node, ...ips]);
    cluster.claim("172.18.30.131", pool, "n1", { waiting: 2 });
    await cluster.settle();
    cluster.claim("172.18.30.136", pool, "n2", { waiting: 1 });
    await cluster.pass(40);
    assert.deepEqual(grants(), [
      ["n1", "172.18.30.132-172.18.30.133"],
      ["n2", "172.18.30.137"],
    ]);
    assert.deepEqual(usage()?.granted, ["172.18.30.132-172.18.30.133", "172.18.30.137"]);
    cluster.claim("172.18.30.137", pool, "n2");
    await cluster.pass(1_000);
    assert.deepEqual(grants(), [["n1", "172.18.30.132-172.18.30.133"]]);
    await cluster.pass(5_000);
    cluster.claim("172.18.30.140", pool, "n2");
    await cluster.pass(1_000);
    assert.equal(grants(), undefined);
  });

  it("grants nothing for what claims said that were made before the controller began to watch", async () => {
    await using cluster = new TestCluster();
    cluster.claim("172.18.30.131", cluster.pool("p"), "n1", { waiting: 2 });
    await cluster.start();
    await cluster.pass(3_000);
    const { used, granted } = cluster.api.read(spiderPoolUsages, { name: "p" })?.spec ?? assert.fail("no usage");
    assert.deepEqual([used, granted], [["172.18.30.131"], undefined]);
  });

  it("lists what is taken, how many are free, and the nodes", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    assert.deepEqual([usage()?.used, usage()?.free, usage()?.nodes, usage()?.epoch], [[], 10, [], 0]);
    cluster.claim("172.18.30.131", pool, "n2");
    cluster.claim("172.18.30.132", pool, "n1");
    await cluster.pass(1_000);
    assert.deepEqual(usage()?.used, ["172.18.30.131-172.18.30.132"]);
    assert.deepEqual([usage()?.free, usage()?.nodes], [8, ["n1", "n2"]]);
  });

  it("is published within 25 ms if a third of the free addresses is gone, and within a second otherwise", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.131", pool);
    await cluster.settle();
    assert.equal(usage()?.free, 9);
    for (const last of ["132", "133"]) cluster.claim(`172.18.30.${last}`, pool);
    await cluster.pass(30);
    assert.equal(usage()?.free, 9);
    cluster.claim("172.18.30.134", pool);
    await cluster.pass(30);
    assert.equal(usage()?.free, 6);
    const before = usageWrites(cluster);
    cluster.release("172.18.30.134");
    await cluster.pass(500);
    assert.equal(usageWrites(cluster), before);
    await cluster.pass(600);
    assert.equal(usage()?.free, 7);
  });

  it("is not hurried for Pods that wait for a pool in which nothing is left", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    for (const last of ["31", "32", "33", "34", "35", "36", "37", "38", "39", "40"])
      cluster.claim(`172.18.30.1${last}`, pool, "n1", { waiting: 3 });
    await cluster.pass(2_000);
    assert.deepEqual([usage()?.free, usage()?.granted], [0, undefined]);
    const before = usageWrites(cluster);
    for (const last of ["31", "32", "33"]) {
      cluster.release(`172.18.30.1${last}`);
      await cluster.pass(100);
    }
    assert.equal(usageWrites(cluster) - before, 1, "a second after the one before");
  });

  it("lists a released address as cooling for 30 s", async () => {
    const { cluster, pool, usage } = await quietCluster();
    await using _cluster = cluster;
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    cluster.release("172.18.30.131");
    await cluster.pass(2_000);
    assert.deepEqual([usage()?.used, usage()?.cooling], [[], ["172.18.30.131"]]);
    await cluster.pass(27_000);
    assert.deepEqual(usage()?.cooling, ["172.18.30.131"]);
    await cluster.pass(2_000);
    assert.equal(usage()?.cooling, undefined);
  });

  it("lists it for as long as its pool says, and obeys a change of that at once", async () => {
    const { cluster, usage } = await quietCluster();
    await using _cluster = cluster;
    const pool = cluster.pool("p", { coolDown: 100 });
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    cluster.release("172.18.30.131");
    await cluster.pass(90_000);
    assert.deepEqual(usage()?.cooling, ["172.18.30.131"]);
    cluster.pool("p", { coolDown: 0 });
    await cluster.pass(2_000);
    assert.equal(usage()?.cooling, undefined);
  });

  it("is written only if something changed, again if somebody removes it, and goes with its pool", async () => {
    const { cluster, usage } = await quietCluster();
    await using _cluster = cluster;
    const before = usageWrites(cluster);
    await cluster.pass(10_000);
    assert.equal(usageWrites(cluster), before);
    cluster.api.remove(spiderPoolUsages, { name: "p" });
    await cluster.pass(100);
    assert.equal(usage()?.free, 10);
    cluster.api.remove(spiderIPPools, { name: "p" });
    await cluster.pass(100);
    assert.equal(usage(), undefined);
  });
});
