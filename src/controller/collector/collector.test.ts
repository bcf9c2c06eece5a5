import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, type SpiderIPAddressSpec, spiderEndpoints, spiderIPAddresses, spiderIPPools } from "#api";
import { events, nodes } from "#kube";
import { options, TestCluster } from "../testing/cluster.ts";
import { claimed, collection, ip, reasons } from "./testing/claimed.ts";

describe("a node that is there, with its agent", () => {
  it("releases for itself: force-deleted Pods, wrong names, wrong UIDs, finished Jobs are its business", async () => {
    for (const world of [
      { pod: "none" },
      { claim: { podName: "another" } },
      { claim: { podUID: "another" } },
      { pod: { spec: { restartPolicy: "Never" }, status: { phase: "Succeeded" } } },
      { pod: { spec: { restartPolicy: "Never" }, status: { phase: "Failed" } } },
    ] as const) {
      const { cluster, purpose } = await claimed(world);
      await using _cluster = cluster;
      await cluster.pass(1_300_000);
      assert.equal(purpose(), "Pod");
    }
  });

  it("has ten minutes to get its agent back; then the address goes to quarantine, not to others", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.node("n1", { agent: "False" });
    removePod();
    await cluster.pass(590_000);
    assert.equal(purpose(), "Pod");
    await cluster.pass(60_000);
    assert.equal(purpose(), "Quarantine");
    const [event] = reasons(cluster);
    assert.match(
      event ?? "",
      /^AddressQuarantined: 172\.18\.30\.131 of Pod default\/pod-\S+ is in quarantine: .*Pod \S+ \(\S+\) is gone; node n1 is ready.*agent is missing for 6\d\d s/,
    );
  });

  it("starts its agent's ten minutes anew with every short return", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.node("n1", { agent: "False" });
    removePod();
    await cluster.pass(500_000);
    cluster.node("n1");
    await cluster.pass(1_000);
    cluster.node("n1", { agent: "none" });
    await cluster.pass(500_000);
    assert.equal(purpose(), "Pod");
  });

  it("is trusted where agents do not run as Pods", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    for (const node of ["n1", "n2"]) cluster.node(node, { agent: "none" });
    removePod();
    await cluster.pass(1_500_000);
    assert.equal(purpose(), "Pod");
  });
});

describe("a node that is gone", () => {
  it("gets its five minutes anew with every return, however short", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.api.remove(nodes, { name: "n1" });
    removePod();
    await cluster.pass(250_000);
    cluster.node("n1");
    cluster.api.remove(nodes, { name: "n1" });
    await cluster.pass(250_000);
    assert.equal(purpose(), "Pod");
    await cluster.pass(100_000);
    assert.equal(purpose(), undefined);
  });

  it("frees the address of a Pod that is gone, five minutes later, with evidence in an Event on claim and pool", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.api.remove(nodes, { name: "n1" });
    removePod();
    await cluster.pass(290_000);
    assert.equal(purpose(), "Pod");
    await cluster.pass(60_000);
    assert.equal(purpose(), undefined);
    for (const kind of ["SpiderIPAddress", "SpiderIPPool"]) {
      assert.match(
        reasons(cluster, kind)[0] ?? "",
        /^AddressReclaimed: .*was released: Pod and node are gone \(.*is gone; node n1 is absent for 3\d\d s\)/,
      );
    }
  });

  it("frees at once where an administrator tainted it out-of-service, after two observations", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.node("n1", { ready: "Unknown", agent: "False", outOfService: true });
    removePod();
    await cluster.pass(25_000);
    assert.equal(purpose(), "Pod");
    await cluster.pass(10_000);
    assert.equal(purpose(), undefined);
  });

  it("keeps the address of a Pod that still exists", async () => {
    const { cluster, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.api.remove(nodes, { name: "n1" });
    await cluster.pass(1_300_000);
    assert.equal(purpose(), "Pod");
  });

  it("frees every address of a deleted namespace", async () => {
    const cluster = new TestCluster();
    await using _cluster = cluster;
    const pool = cluster.pool("p");
    cluster.node("n1", { outOfService: true });
    for (const last of [131, 132, 133]) cluster.claim(`172.18.30.${last}`, pool);
    await cluster.start();
    await cluster.pass(60_000);
    assert.deepEqual(cluster.api.all(spiderIPAddresses), []);
  });

  it("takes a static Pod with it, whose mirror alone would prove nothing", async () => {
    const podUID = "0123456789abcdef0123456789abcdef";
    const { cluster, removePod, purpose } = await claimed({ claim: { podUID } });
    await using _cluster = cluster;
    removePod();
    cluster.node("n1", { ready: "Unknown", agent: "False" });
    await cluster.pass(1_300_000);
    assert.equal(purpose(), "Pod");
    cluster.node("n1", { ready: "Unknown", agent: "False", outOfService: true });
    await cluster.pass(60_000);
    assert.equal(purpose(), undefined);
  });
});

describe("a silent node", () => {
  const silent = { ready: "Unknown", agent: "False" } as const;

  it("puts the address of a Pod that is gone in quarantine: its sandbox may still answer", async () => {
    const { cluster, removePod } = await claimed();
    await using _cluster = cluster;
    cluster.node("n1", silent);
    removePod();
    await cluster.pass(35_000);
    const { spec } = cluster.read(ip) ?? {};
    assert.deepEqual([spec?.purpose, spec?.unclean, spec?.node], ["Quarantine", true, "n1"]);
    assert.ok(Date.parse(spec?.until ?? "") > cluster.clock.wall().getTime() + 590_000);
  });

  it("waits for a terminating Pod's grace and delay, and asks the switches for NotReady nodes", async () => {
    const metadata = { deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 60, finalizers: ["x"] };
    for (const [changes, expected] of [
      [{ delayMs: 40_000 }, "Quarantine"],
      [{ endingOnNotReadyNode: false }, "Pod"],
      [{ endingOnReadyNode: false }, "Quarantine"],
      [{ enabled: false }, "Pod"],
    ] as const) {
      const { cluster, purpose } = await claimed({ pod: { metadata }, options: collection(changes) });
      await using _cluster = cluster;
      cluster.node("n1", silent);
      await cluster.pass(80_000);
      if ("delayMs" in changes) assert.equal(purpose(), "Pod");
      await cluster.pass(60_000);
      assert.equal(purpose(), expected, JSON.stringify(changes));
    }
  });

  it("has its ready counterpart: a Pod that does not end on a ready node without an agent", async () => {
    const metadata = { deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 60, finalizers: ["x"] };
    for (const [endingOnReadyNode, expected] of [
      [true, "Quarantine"],
      [false, "Pod"],
    ] as const) {
      const { cluster, purpose } = await claimed({ pod: { metadata }, options: collection({ endingOnReadyNode }) });
      await using _cluster = cluster;
      cluster.node("n1", { agent: "False" });
      await cluster.pass(700_000);
      assert.equal(purpose(), expected);
    }
  });

  it("frees a finished Job's address only by quarantine, and keeps a Pod that is restarted", async () => {
    for (const [restartPolicy, phase, expected] of [
      ["Never", "Succeeded", "Quarantine"],
      ["Never", "Failed", "Quarantine"],
      ["OnFailure", "Succeeded", "Quarantine"],
      ["OnFailure", "Failed", "Pod"],
      ["Always", "Succeeded", "Pod"],
    ] as const) {
      const { cluster, purpose } = await claimed({ pod: { spec: { restartPolicy }, status: { phase } } });
      await using _cluster = cluster;
      cluster.node("n1", silent);
      await cluster.pass(100_000);
      assert.equal(purpose(), expected, `${restartPolicy} ${phase}`);
    }
  });

  it("keeps a running Pod without addresses in its status, unless it is told otherwise", async () => {
    for (const [runningWithoutAddresses, phase, expected] of [
      [false, "Running", "Pod"],
      [true, "Running", "Quarantine"],
      [false, "Unknown", "Quarantine"],
      [true, "Pending", "Pod"],
    ] as const) {
      const changed = collection({ runningWithoutAddresses });
      const { cluster, purpose } = await claimed({ pod: { status: { phase, podIPs: [] } }, options: changed });
      await using _cluster = cluster;
      cluster.node("n1", silent);
      await cluster.pass(100_000);
      assert.equal(purpose(), expected, `${runningWithoutAddresses} ${phase}`);
    }
  });

  it("that answers again before the second observation keeps its claims", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.node("n1", silent);
    removePod();
    await cluster.pass(25_000);
    cluster.node("n1");
    await cluster.pass(600_000);
    assert.equal(purpose(), "Pod");
  });
});

describe("a quarantine", () => {
  const until = "2026-01-01T00:01:00Z";
  const quarantine = { purpose: "Quarantine", until, reason: "a test", unclean: true } as const;

  it("ends at its time where no node may have the sandbox: the conflict was with a foreign host", async () => {
    const claim = { ...quarantine, node: undefined, containerID: undefined } as unknown as Partial<SpiderIPAddressSpec>;
    const { cluster, purpose } = await claimed({ claim });
    await using _cluster = cluster;
    await cluster.pass(55_000);
    assert.equal(purpose(), "Quarantine");
    await cluster.pass(40_000);
    assert.equal(purpose(), undefined);
  });

  it("ends when the node is back with its agent, or is gone; a silent node prolongs it, and an Event says what to do", async () => {
    const { cluster, removePod, purpose } = await claimed({ claim: quarantine });
    await using _cluster = cluster;
    removePod();
    cluster.node("n1", { ready: "Unknown", agent: "False" });
    await cluster.pass(100_000);
    assert.equal(purpose(), "Quarantine");
    assert.match(
      reasons(cluster)[0] ?? "",
      /stays in quarantine.*delete Node n1 or taint it node\.kubernetes\.io\/out-of-service/,
    );
    assert.ok(Date.parse(cluster.read(ip)?.spec.until ?? "") > cluster.clock.wall().getTime());
    cluster.node("n1");
    await cluster.pass(700_000);
    assert.equal(purpose(), undefined);
  });

  it("is prolonged while its Pod lives", async () => {
    const { cluster, purpose } = await claimed({ claim: quarantine });
    await using _cluster = cluster;
    await cluster.pass(1_500_000);
    assert.equal(purpose(), "Quarantine");
  });

  it("obeys a probe: an answer prolongs it, silence ends it", async () => {
    let answer: "answered" | "silent" = "answered";
    const { cluster, purpose } = await claimed({
      claim: quarantine,
      pod: "none",
      more: { probe: async () => answer },
    });
    await using _cluster = cluster;
    await cluster.pass(100_000);
    assert.equal(purpose(), "Quarantine");
    assert.ok(Date.parse(cluster.read(ip)?.spec.until ?? "") > Date.parse(until));
    answer = "silent";
    await cluster.pass(700_000);
    assert.equal(purpose(), undefined);
  });

  it("and a hold last no longer than one can where the clock jumps back, or its writer's was ahead", async () => {
    for (const purpose of ["Quarantine", "Hold"] as const) {
      const claim = { ...quarantine, purpose, node: undefined, containerID: undefined };
      const { cluster, ...one } = await claimed({ claim: claim as unknown as Partial<SpiderIPAddressSpec> });
      await using _cluster = cluster;
      cluster.clock.jumpWall(-6 * 3_600_000);
      await cluster.pass(590_000);
      assert.equal(one.purpose(), purpose);
      await cluster.pass(90_000);
      assert.equal(one.purpose(), undefined);
    }
  });

  it("ends early where the clock jumps ahead, but not while its Pod lives", async () => {
    const { cluster, purpose } = await claimed({ claim: quarantine });
    await using _cluster = cluster;
    cluster.clock.jumpWall(6 * 3_600_000);
    await cluster.pass(60_000);
    assert.equal(purpose(), "Quarantine");
    cluster.clock.jumpWall(-6 * 3_600_000);
    await cluster.pass(700_000);
    assert.equal(purpose(), "Quarantine");
  });

  it("and a hold end also where collection is switched off", async () => {
    const claim = { ...quarantine, purpose: "Hold", node: undefined } as unknown as Partial<SpiderIPAddressSpec>;
    const { cluster, purpose } = await claimed({ claim, options: collection({ enabled: false }) });
    await using _cluster = cluster;
    await cluster.pass(55_000);
    assert.equal(purpose(), "Hold");
    await cluster.pass(40_000);
    assert.equal(purpose(), undefined);
  });
});

describe("the collector", () => {
  it("obeys an administrator's order that names the object's UID, and no other", async () => {
    const { cluster, claim, purpose } = await claimed();
    await using _cluster = cluster;
    const order = (uid: string) =>
      cluster.api.apply(spiderIPAddresses, {
        ...claim,
        metadata: { ...claim.metadata, annotations: { [annotations.forceRelease]: uid } },
      });
    order("of another object");
    await cluster.pass(100_000);
    assert.equal(purpose(), "Pod");
    order(claim.metadata.uid);
    await cluster.pass(1_000);
    assert.equal(purpose(), undefined);
  });

  it("believes a fresh reading more than its watches", async () => {
    const { cluster, purpose } = await claimed({ pod: "none" });
    await using _cluster = cluster;
    cluster.node("n1", { ready: "Unknown", agent: "False" });
    await cluster.pass(10_000);
    cluster.api.pauseWatches();
    cluster.node("n1");
    await cluster.pass(100_000);
    assert.equal(purpose(), "Pod");
  });

  it("writes for exactly the version that it read: an agent's write in between wins", async () => {
    const { cluster, claim, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    cluster.node("n1", { outOfService: true });
    removePod();
    cluster.api.fail(({ method }) => method === "DELETE", { kind: "late-commit", ms: 3_000 });
    await cluster.pass(32_000);
    cluster.api.apply(spiderIPAddresses, { ...claim, spec: { ...claim.spec, containerID: "another" } });
    await cluster.pass(10_000);
    assert.deepEqual([purpose(), cluster.read(ip)?.spec.containerID], ["Pod", "another"]);
  });

  it("changes nothing in a dry run, and tells what it would do", async () => {
    const dry = { collection: { ...options.collection, dryRun: true } };
    const { cluster, removePod, purpose } = await claimed({ options: dry });
    await using _cluster = cluster;
    cluster.node("n1", { outOfService: true });
    removePod();
    const before = cluster.api.requests.length;
    await cluster.pass(1_300_000);
    assert.equal(purpose(), "Pod");
    const writes = cluster.api.requests
      .slice(before)
      .filter(({ method, path }) => method !== "GET" && path.includes("spiderip"));
    assert.deepEqual(writes, []);
  });

  it("starts over with a new leader: nothing is released on one leader's first and another's second observation", async () => {
    const { cluster, removePod, purpose } = await claimed();
    await using _cluster = cluster;
    const stopAll = await cluster.start({ podName: "b" });
    cluster.node("n1", { outOfService: true });
    removePod();
    await cluster.pass(25_000);
    // The first leader's Lease is taken by force: the other one starts over after its own waiting time.
    await stopAll();
    assert.equal(purpose(), "Pod");
    await cluster.pass(10_000);
    assert.equal(purpose(), undefined);
  });

  it("tells one Event in five minutes about a pool, and one about each claim", async () => {
    const cluster = new TestCluster();
    await using _cluster = cluster;
    const pool = cluster.pool("p");
    cluster.node("n1", { outOfService: true });
    for (let last = 131; last <= 140; last++) cluster.claim(`172.18.30.${last}`, pool);
    await cluster.start();
    await cluster.pass(60_000);
    const ofPool = cluster.api
      .all(events)
      .filter(({ involvedObject, reason }) => involvedObject.kind === "SpiderIPPool" && reason === "AddressReclaimed");
    assert.equal(ofPool.length, 1);
    assert.equal(reasons(cluster).length, 10);
    assert.equal(cluster.api.read(spiderIPPools, { name: "p" })?.status?.allocatedIPCount, 0);
  });
});

describe("outdated endpoints", () => {
  const endpoint = (cluster: TestCluster, name: string, ipv4: string) =>
    cluster.api.apply(spiderEndpoints, {
      metadata: { namespace: "default", name },
      status: { current: { uid: "u", node: "n1", ips: ipv4 === "" ? [] : [{ interface: "eth0", ipv4 }] } },
    });
  const names = ({ api }: TestCluster) => api.all(spiderEndpoints).map(({ metadata }) => metadata.name);

  it("go where that is switched on: Pod and claims are gone, and there were addresses", async () => {
    for (const on of [true, false]) {
      const { cluster } = await claimed({ more: { conf: `enableCleanOutdatedEndpoint: ${on}` } });
      await using _cluster = cluster;
      endpoint(cluster, "outdated", "172.18.30.139/16");
      endpoint(cluster, "empty", "");
      endpoint(cluster, `pod-${ip}`, `${ip}/16`);
      await cluster.pass(700_000);
      assert.deepEqual(names(cluster), on ? ["empty", `pod-${ip}`] : ["empty", "outdated", `pod-${ip}`]);
    }
  });
});
