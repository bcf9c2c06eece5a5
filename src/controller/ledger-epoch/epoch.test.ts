import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, doneInPart, finalizer, isLost, isTakeOver, lostToken, partlyLost, spiderIPPools } from "#api";
import { never } from "#base";
import { customResourceDefinitions, leases, nodes } from "#kube";
import { TestCluster } from "../testing/cluster.ts";
import { closedMsMax, decideEpoch, type EpochView } from "./decide.ts";

const crdName = "spideripaddresses.spiderpool.spidernet.io";
const lease = { namespace: "kube-system", name: "spiderpool-controller-leases" };
const complete: EpochView = {
  crdUid: "a",
  recorded: "a",
  rewound: false,
  hasPools: true,
  isClosed: false,
  missing: [],
  inPart: false,
  closedForMs: 0,
  former: "none",
};

describe("decideEpoch()", () => {
  it("has one answer for each case", () => {
    const kind = (changes: Partial<EpochView>) => decideEpoch({ ...complete, ...changes }).kind;
    assert.deepEqual(
      [
        kind({}),
        kind({ recorded: undefined }),
        kind({ recorded: undefined, crdUid: undefined }),
        kind({ crdUid: undefined }),
        kind({ crdUid: "b", missing: ["n1"] }),
        kind({ crdUid: "b" }),
        kind({ crdUid: "b", missing: ["n1"], closedForMs: closedMsMax }),
        kind({ crdUid: "b", hasPools: false, closedForMs: closedMsMax }),
        kind({ rewound: true }),
        kind({ former: "seen" }),
        kind({ former: "seen", recorded: undefined }),
        kind({ former: "closed", missing: ["n1"], closedForMs: 10 * closedMsMax }),
        kind({ former: "closed", recorded: undefined }),
        kind({ former: "closed", crdUid: undefined }),
        kind({ former: "seen", recorded: undefined, rewound: true }),
      ],
      [
        ...["complete", "record", "complete", "closed", "closed", "open", "open", "wait", "closed"],
        ...["complete", "closed", "closed", "take-over", "closed", "closed"],
      ],
    );
  });

  it("records that addresses outside all pools may be in use, so that new pools start closed", () => {
    const lost: EpochView = { ...complete, recorded: lostToken("1"), isClosed: true };
    const partly = partlyLost(lostToken("1"), "a");
    const late = { missing: ["n1"], closedForMs: closedMsMax };
    const step = (changes: Partial<EpochView>) => {
      const decided = decideEpoch({ ...lost, ...changes });
      return decided.kind === "open" ? decided.recorded : decided.kind;
    };
    assert.deepEqual(
      [step({ missing: ["n1"] }), step({}), step({ inPart: true }), step(late), step({ hasPools: false })],
      ["closed", "a", partly, partly, "wait"],
    );
    const then = (changes: Partial<EpochView>) => step({ recorded: partly, ...changes });
    assert.deepEqual(
      [then({ isClosed: false }), then({ missing: ["n1"] }), then({}), then({ inPart: true }), then(late)],
      ["complete", "closed", "a", partly, partly],
    );
    assert.deepEqual(
      [then({ crdUid: "b", hasPools: false }), then({ crdUid: "b", missing: ["n1"] })],
      ["wait", "closed"],
    );
  });
});

/** Creates a pool as admission would. */
function create(cluster: TestCluster, name: string, closed: string | undefined): void {
  const made = cluster.pool(name);
  const noted = { [annotations.ledgerClosed]: closed ?? assert.fail() };
  cluster.api.apply(spiderIPPools, { ...made, metadata: { ...made.metadata, annotations: noted } });
}

/** Reads closures, and reports as an agent. */
function lookAt(cluster: TestCluster) {
  const token = (name = "p") =>
    cluster.api.read(spiderIPPools, { name })?.metadata.annotations?.[annotations.ledgerClosed];
  /** Reports, as an agent does when it has made its claims again. */
  const tell = (name: string, done = (of: string) => of) => {
    const node = cluster.api.read(nodes, { name }) ?? assert.fail();
    const noted = { [annotations.ledgerClosed]: done(token() ?? "") };
    cluster.api.apply(nodes, { ...node, metadata: { ...node.metadata, annotations: noted } });
  };
  return { token, tell };
}

/** A leader that has seen the ledger complete, two nodes with agents, a pool. */
async function settled() {
  const cluster = new TestCluster();
  const define = () => cluster.api.apply(customResourceDefinitions, { metadata: { name: crdName } });
  define();
  cluster.pool("p");
  for (const node of ["n1", "n2"]) cluster.node(node);
  await cluster.start();
  await cluster.pass(6_000);
  const recorded = () => cluster.api.read(leases, lease)?.metadata.annotations?.[annotations.ledgerEpoch];
  const redefine = () => {
    cluster.api.remove(customResourceDefinitions, { name: crdName });
    return define();
  };
  return { cluster, recorded, redefine, ...lookAt(cluster) };
}

describe("the ledger's epoch", () => {
  it("is recorded the first time, and pools stay open", async () => {
    const { cluster, token, recorded } = await settled();
    await using _cluster = cluster;
    assert.equal(recorded(), cluster.api.read(customResourceDefinitions, { name: crdName })?.metadata.uid);
    assert.equal(token(), undefined);
  });

  it("closes pools when the claims' definition is a new one, until every agent has reported", async () => {
    const { cluster, token, recorded, redefine, tell } = await settled();
    await using _cluster = cluster;
    const { uid } = redefine().metadata;
    await cluster.pass(5_000);
    assert.notEqual(token(), undefined);
    tell("n1");
    await cluster.pass(10_000);
    assert.notEqual(token(), undefined);
    tell("n2");
    await cluster.pass(10_000);
    assert.deepEqual([token(), recorded()], [undefined, uid]);
  });

  it("waits for new pools if all are lost; they start closed and are opened when every agent has reported", async () => {
    const { cluster, token, recorded, redefine, tell } = await settled();
    await using _cluster = cluster;
    cluster.api.remove(spiderIPPools, { name: "p" });
    const { uid } = redefine().metadata;
    await cluster.pass(100_000);
    const noted = recorded();
    assert.ok(isLost(noted), noted);
    create(cluster, "p", noted);
    await cluster.pass(5_000);
    const first = token();
    assert.ok(first !== undefined && !isLost(first), "the leader asks with a closure of its own");
    tell("n1");
    await cluster.pass(50_000);
    assert.equal(token(), first);
    tell("n2");
    await cluster.pass(10_000);
    assert.deepEqual([token(), recorded()], [undefined, uid]);
  });

  it("closes even pools created an hour later if addresses were outside all pools, until agents have reported", async () => {
    const { cluster, token, recorded, redefine, tell } = await settled();
    await using _cluster = cluster;
    cluster.api.remove(spiderIPPools, { name: "p" });
    const { uid } = redefine().metadata;
    await cluster.pass(5_000);
    create(cluster, "p", recorded());
    await cluster.pass(5_000);
    tell("n1");
    tell("n2", doneInPart);
    await cluster.pass(5_000);
    const partly = recorded();
    assert.deepEqual([token(), isLost(partly)], [undefined, true], "what is in pools can be given");
    await cluster.pass(100_000);
    create(cluster, "q", partly);
    await cluster.pass(5_000);
    const second = token();
    assert.ok(second !== undefined, "all pools are closed again");
    tell("n1");
    await cluster.pass(20_000);
    assert.equal(token(), second);
    tell("n2");
    await cluster.pass(10_000);
    assert.deepEqual([token("p"), token("q"), recorded()], [undefined, undefined, uid]);
  });

  it("was lost if Nodes say so, in any namespace: no pool opens before agents have started and reported", async () => {
    const cluster = new TestCluster();
    await using _cluster = cluster;
    const { uid } = cluster.api.apply(customResourceDefinitions, { metadata: { name: crdName } }).metadata;
    cluster.node("n1");
    cluster.node("n2", { agent: "none" });
    const mark = lostToken("1");
    for (const node of cluster.api.all(nodes))
      cluster.api.apply(nodes, {
        ...node,
        metadata: { ...node.metadata, annotations: { [annotations.ledgerClosed]: mark } },
      });
    await cluster.start({ namespace: "elsewhere" });
    await cluster.pass(6_000);
    const recorded = () =>
      cluster.api.read(leases, { ...lease, namespace: "elsewhere" })?.metadata.annotations?.[annotations.ledgerEpoch];
    assert.equal(recorded(), mark);
    create(cluster, "p", mark);
    await cluster.pass(5_000);
    const { token, tell } = lookAt(cluster);
    tell("n1");
    await cluster.pass(20_000);
    assert.ok(token() !== undefined, "an agent is still to come");
    tell("n2");
    await cluster.pass(5_000);
    assert.deepEqual([token(), recorded()], [undefined, uid]);
  });

  it("does not mistake the statuses of its own pools for a former system's", async () => {
    const { cluster, token, redefine } = await settled();
    await using _cluster = cluster;
    const pool = cluster.api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(5_000);
    assert.notEqual(cluster.api.read(spiderIPPools, { name: "p" })?.status?.allocatedIPs, undefined);
    redefine();
    await cluster.pass(5_000);
    assert.equal(isTakeOver(token() ?? assert.fail("pools are open")), false);
    await cluster.pass(65_000);
    assert.equal(token(), undefined);
  });

  it("opens pools after a minute at most, and does not wait for nodes that are not ready", async () => {
    const { cluster, token, redefine, tell } = await settled();
    await using _cluster = cluster;
    cluster.node("n2", { ready: "Unknown", agent: "False" });
    await cluster.pass(1_000);
    redefine();
    await cluster.pass(5_000);
    tell("n1");
    await cluster.pass(8_000);
    assert.equal(token(), undefined);
    cluster.node("n2");
    redefine();
    await cluster.pass(50_000);
    assert.notEqual(token(), undefined);
    await cluster.pass(20_000);
    assert.equal(token(), undefined);
  });

  it("closes pools while there is no definition at all", async () => {
    const { cluster, token } = await settled();
    await using _cluster = cluster;
    cluster.api.remove(customResourceDefinitions, { name: crdName });
    await cluster.pass(200_000);
    assert.notEqual(token(), undefined);
  });

  it("is continued by the next leader in the middle, with the same closure", async () => {
    const { cluster, token, redefine, tell } = await settled();
    await using _cluster = cluster;
    redefine();
    await cluster.pass(5_000);
    const first = token();
    cluster.api.apply(leases, {
      ...(cluster.api.read(leases, lease) ?? assert.fail()),
      spec: { holderIdentity: "", leaseDurationSeconds: 1, leaseTransitions: 5 },
    });
    await cluster.start({ podName: "b" });
    await cluster.pass(10_000);
    assert.equal(token(), first);
    tell("n1");
    tell("n2");
    await cluster.pass(10_000);
    assert.equal(token(), undefined);
  });

  for (const [how, after] of [
    ["within a term", async () => {}],
    // Nobody could renew the Lease for longer than a term: the same process leads again, and still knows what it saw.
    [
      "between two terms",
      async (cluster: TestCluster) => {
        let isAway = true;
        cluster.api.fail(() => isAway, { kind: "not-sent" }, 100_000);
        await cluster.pass(30_000);
        isAway = false;
      },
    ],
  ] as const) {
    it(`ends when etcd is restored to an earlier state ${how}, and restored objects are seen`, async () => {
      const { cluster, token, recorded, tell } = await settled();
      await using _cluster = cluster;
      const before = recorded();
      const restore = cluster.api.backup();
      cluster.pool("later");
      await cluster.pass(10_000);
      restore();
      await after(cluster);
      await cluster.pass(20_000);
      const closed = token() ?? assert.fail("pools are open");
      await cluster.pass(10_000);
      assert.equal(token(), closed);
      tell("n1");
      tell("n2");
      await cluster.pass(15_000);
      assert.deepEqual([token(), recorded()], [undefined, before]);
    });
  }

  it("costs no request while nothing happens", async () => {
    const { cluster } = await settled();
    await using _cluster = cluster;
    const before = cluster.api.requests.length;
    await cluster.pass(60_000);
    const paths = cluster.api.requests.slice(before).map(({ method, path }) => `${method} ${path.split("?")[0]}`);
    const about = (what: string) => paths.filter((path) => path.includes(what));
    assert.deepEqual(
      [about(customResourceDefinitions.plural), about("spiderippools"), about("GET /apis/coordination")],
      [[], [], []],
    );
    assert.ok(about("PUT /apis/coordination").length <= 30);
  });

  it("keeps deleted pools while it is incomplete: missing claims prove nothing then", async () => {
    const { cluster, redefine, tell } = await settled();
    await using _cluster = cluster;
    await cluster.client.delete(spiderIPPools, { name: "p" }, { signal: never });
    redefine();
    await cluster.pass(55_000);
    tell("n1");
    tell("n2");
    await cluster.pass(100_000);
    assert.deepEqual(cluster.api.read(spiderIPPools, { name: "p" })?.metadata.finalizers, [finalizer]);
    await cluster.pass(80_000);
    assert.equal(cluster.api.read(spiderIPPools, { name: "p" }), undefined);
  });
});
