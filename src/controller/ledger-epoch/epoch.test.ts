import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { describe, it } from "node:test";
import { annotations, finalizer, spiderIPPools } from "#api";
import { never } from "#base";
import { leases, nodes, type Transport } from "#kube";
import { TestCluster } from "../testing/cluster.ts";
import { closedMsMax, crds, decideEpoch, type EpochView } from "./epoch.ts";

const crdName = "spideripaddresses.spiderpool.spidernet.io";
const lease = { namespace: "kube-system", name: "spiderpool-controller-leases" };
const complete: EpochView = {
  crdUid: "a",
  recorded: "a",
  revision: 10n,
  highest: 10n,
  missing: [],
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
        kind({ revision: 9n }),
        kind({ former: "seen" }),
        kind({ former: "seen", recorded: undefined }),
        kind({ former: "closed", missing: ["n1"], closedForMs: 10 * closedMsMax }),
        kind({ former: "closed", recorded: undefined }),
        kind({ former: "closed", crdUid: undefined }),
      ],
      [
        ...["complete", "record", "complete", "closed", "closed", "open", "open", "closed"],
        ...["complete", "closed", "closed", "take-over", "closed"],
      ],
    );
  });
});

/** A leader that has seen the ledger complete, two nodes with agents, a pool. */
async function settled() {
  const cluster = new TestCluster();
  const define = () => cluster.api.apply(crds, { metadata: { name: crdName } });
  define();
  cluster.pool("p");
  for (const node of ["n1", "n2"]) cluster.node(node);
  let rewoundBy = 0;
  // An API server that was restored from a snapshot tells older versions.
  const transport: Transport = {
    server: cluster.api.server,
    send: async (request, o) => {
      const response = await cluster.api.send(request, o);
      if (rewoundBy === 0 || !/spiderippools\?limit=1$/.test(request.path)) return response;
      const page = JSON.parse(Buffer.concat(await Array.fromAsync(response.body)).toString());
      page.metadata.resourceVersion = String(Number(page.metadata.resourceVersion) - rewoundBy);
      return { ...response, body: Readable.from([Buffer.from(JSON.stringify(page))]) };
    },
  };
  const rewind = (versions: number) => {
    rewoundBy = versions;
  };
  await cluster.start({}, { transport });
  await cluster.pass(6_000);
  const token = () => cluster.api.read(spiderIPPools, { name: "p" })?.metadata.annotations?.[annotations.ledgerClosed];
  const recorded = () => cluster.api.read(leases, lease)?.metadata.annotations?.[annotations.ledgerEpoch];
  const redefine = () => {
    cluster.api.remove(crds, { name: crdName });
    return define();
  };
  /** What an agent does when it has made its claims again. */
  const tell = (name: string) => {
    const node = cluster.api.read(nodes, { name }) ?? assert.fail();
    const noted = { [annotations.ledgerClosed]: token() ?? "" };
    cluster.api.apply(nodes, { ...node, metadata: { ...node.metadata, annotations: noted } });
  };
  return { cluster, token, recorded, redefine, tell, rewind };
}

describe("the ledger's epoch", () => {
  it("is recorded the first time, and pools stay open", async () => {
    const { cluster, token, recorded } = await settled();
    await using _cluster = cluster;
    assert.equal(recorded(), cluster.api.read(crds, { name: crdName })?.metadata.uid);
    assert.equal(token(), undefined);
  });

  it("closes pools when the claims' definition is another one, until every agent has told", async () => {
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

  it("opens them after a minute at most, and waits for no node that is not ready", async () => {
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
    cluster.api.remove(crds, { name: crdName });
    await cluster.pass(200_000);
    assert.notEqual(token(), undefined);
  });

  it("is taken up by the next leader in the middle of it, with the same closure", async () => {
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

  it("is over when versions run backwards: etcd was restored from a snapshot", async () => {
    const { cluster, token, recorded, tell, rewind } = await settled();
    await using _cluster = cluster;
    const before = recorded();
    rewind(5);
    await cluster.pass(5_000);
    assert.notEqual(token(), undefined);
    tell("n1");
    tell("n2");
    await cluster.pass(15_000);
    assert.deepEqual([token(), recorded()], [undefined, before]);
  });

  it("holds deleted pools: that nobody has an address of them means nothing now", async () => {
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
