import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPAddresses } from "#api";
import { hasCode } from "#base";
import { IpSet, parseIp } from "#ip";
import { ApiUnreachableError } from "#kube";
import type { Fault } from "../../kube/testing/fake-api.ts";
import { isCreate, isDelete, nameOf, reason, requestOf, testPool } from "../testing/nodes.ts";
import { claim, cluster, node, pool } from "../testing/one-node.ts";

const lostAfter: Fault = { kind: "lost-after" };

describe("Ledger.claim()", () => {
  it("creates the object that is named after the address, with all that is known of the holder", async () => {
    const { claim: made, fresh } = await claim("a");
    assert.equal(fresh, true);
    const { metadata, spec } = cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" }) ?? assert.fail("no claim");
    assert.deepEqual(metadata.labels, { pool: "pool-a", node: "n1", "velero.io/exclude-from-backup": "true" });
    assert.deepEqual(
      { ...spec, since: "" },
      {
        format: 1,
        address: "10.6.0.1",
        purpose: "Pod",
        pool: "pool-a",
        poolUID: "uid-pool-a",
        poolGeneration: 1,
        node: "n1",
        bootID: "boot-1",
        podNamespace: "default",
        podName: "a",
        podUID: "a",
        nic: "eth0",
        containerID: "a-1",
        network: "net",
        answer: '{"prefix":16}',
        since: "",
      },
    );
    assert.deepEqual(node.ledger.claimsOf("a"), [made]);
  });

  it("says with each claim how many more Pods of the node wait for an address of the pool", async () => {
    await Promise.all(["a", "b", "c"].map((pod) => claim(pod)));
    const told = ["10.6.0.1", "10.6.0.2", "10.6.0.3"].map(
      (name) => cluster.api.read(spiderIPAddresses, { name })?.spec.waiting,
    );
    assert.deepEqual(told, [2, 1, undefined]);
  });

  it("gives two NICs of one Pod two addresses of the same pool", async () => {
    const names = [nameOf(await claim("a")), nameOf(await claim("a", { nic: "net1" }))];
    assert.deepEqual(names, ["10.6.0.1", "10.6.0.2"]);
  });

  it("goes on to the next pool if one is used up", async () => {
    const small = testPool("10.6.9.1", "small");
    await cluster.claim(node, requestOf("a", [small]));
    assert.equal(nameOf(await cluster.claim(node, requestOf("b", [small, pool]))), "10.6.0.1");
  });

  it("writes each address with the view of the pool in which it was chosen, also while the pool is edited", async () => {
    const edited = { ...testPool("10.6.0.9"), generation: 2 };
    const before = cluster.claim(node, requestOf("a", [pool]));
    const after = cluster.claim(node, requestOf("b", [edited]));
    const told = (await Promise.all([before, after])).map(({ claim: { name, spec } }) => [name, spec.poolGeneration]);
    assert.deepEqual(told, [
      ["10.6.0.1", 1],
      ["10.6.0.9", 2],
    ]);
  });

  it("gives no address that became reserved after it first drew from the pool", async () => {
    await claim("a");
    cluster.reserved = IpSet.ofIps(4, [parseIp("10.6.0.2")]);
    assert.equal(nameOf(await claim("b")), "10.6.0.3");
  });

  it("gives the address again to the same sandbox without a request", async () => {
    await claim("a");
    const before = cluster.api.requests.length;
    assert.deepEqual([nameOf(await claim("a")), (await claim("a")).fresh], ["10.6.0.1", false]);
    assert.equal(cluster.api.requests.length, before);
  });

  it("always writes for another sandbox, so that a late delete of the older version fails", async () => {
    const { claim: first } = await claim("a");
    const { claim: second, fresh } = await claim("a", { sandbox: "a-2" });
    assert.equal(fresh, false);
    assert.notEqual(second.resourceVersion, first.resourceVersion);
    node.ledger.release(first, reason);
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
  });

  it("releases the claim for the next sandbox, too, while the release for the last one is under way", async () => {
    const { claim: first } = await claim("a");
    cluster.api.fail(({ method }) => method === "PUT", { kind: "late-answer", ms: 500 }, 1);
    cluster.api.fail(isDelete, { kind: "late-commit", ms: 1_000 }, 1);
    const taking = claim("a", { sandbox: "a-2" });
    await cluster.clock.advance(10);
    node.ledger.release(first, reason);
    const { claim: second } = await taking;
    assert.equal(node.ledger.pendingReleases, 1);
    node.ledger.release(second, reason);
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(cluster.held, {});
  });

  it("keeps a Pod's address although its pool is no longer a candidate", async () => {
    await claim("a");
    const again = await cluster.claim(
      node,
      requestOf("a", [testPool("10.6.9.1-10.6.9.9", "other")], { sandbox: "a-2" }),
    );
    assert.deepEqual([nameOf(again), Object.keys(cluster.held)], ["10.6.0.1", ["10.6.0.1"]]);
  });

  it("gives two sandboxes of one Pod that are added at once the same address", async () => {
    const both = [requestOf("a", [pool]), requestOf("a", [pool], { sandbox: "a-2" })];
    const names = await Promise.all(both.map((request) => cluster.claim(node, request).then(nameOf)));
    assert.deepEqual([names, Object.keys(cluster.held)], [["10.6.0.1", "10.6.0.1"], ["10.6.0.1"]]);
  });

  it("takes a new address if the Pod's claim was deleted by somebody", async () => {
    await claim("a");
    cluster.api.remove(spiderIPAddresses, { name: "10.6.0.1" });
    const { fresh } = await claim("a", { sandbox: "a-2" });
    assert.deepEqual([fresh, Object.values(cluster.held)], [true, ["a"]]);
  });

  it("waits for the release of the same key before it chooses", async () => {
    const { claim: first } = await claim("a");
    cluster.api.fail(isDelete, { kind: "status", status: 500, reason: "InternalError" }, 3);
    node.ledger.release(first, reason);
    await claim("a", { sandbox: "a-2" });
    assert.deepEqual(Object.values(cluster.held), ["a"]);
  });

  it("has at most eight creates in flight", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? { kind: "late-answer", ms: 1_000 } : undefined);
    const wide = testPool("10.6.1.1-10.6.1.99", "wide");
    const all = Array.from({ length: 40 }, (_, at) => cluster.claim(node, requestOf(`p${at}`, [wide])));
    await cluster.clock.advance(1_500);
    assert.ok(cluster.api.requests.filter(isCreate).length <= 16, "two rounds of eight");
    await Promise.all(all);
    assert.equal(Object.keys(cluster.held).length, 40);
  });
});

describe("Ledger.claim() when the create fails", () => {
  const cases: readonly (readonly [string, Fault])[] = [
    ["was not sent", { kind: "not-sent" }],
    ["is lost before the server acts", { kind: "lost-before" }],
    ["is lost after the server acted", lostAfter],
    ["is answered by 429", { kind: "status", status: 429, reason: "TooManyRequests", retryAfterS: 1 }],
    ["is answered by 500", { kind: "status", status: 500, reason: "InternalError" }],
    ["is answered too late", { kind: "late-answer", ms: 15_000 }],
    ["takes effect too late", { kind: "late-commit", ms: 15_000 }],
    ["hangs", { kind: "hang" }],
  ];
  for (const [how, fault] of cases) {
    it(`repeats the same name where one ${how}`, async () => {
      cluster.api.fail(isCreate, fault);
      assert.deepEqual([nameOf(await claim("a")), cluster.held], ["10.6.0.1", { "10.6.0.1": "a" }]);
      await cluster.clock.advance(100_000);
      assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
    });
  }

  it("obeys Retry-After as far as an ADD has time for it", async () => {
    for (const [pod, retryAfterS, leastMs, mostMs] of [
      ["a", 2, 2_000, 4_100],
      ["b", 32, 3_000, 5_100],
    ] as const) {
      cluster.api.fail(isCreate, { kind: "status", status: 429, reason: "TooManyRequests", retryAfterS });
      const startMs = cluster.clock.monotonicMs();
      await claim(pod);
      const tookMs = cluster.clock.monotonicMs() - startMs;
      assert.ok(tookMs >= leastMs && tookMs <= mostMs, `${retryAfterS} s were asked for, and ${tookMs} ms waited`);
    }
  });

  it("passes on a refusal at once and leaves nothing behind", async () => {
    cluster.api.fail(isCreate, { kind: "status", status: 403, reason: "Forbidden" });
    await assert.rejects(claim("a"), /cannot create spideripaddresses/);
    assert.equal(nameOf(await claim("a")), "10.6.0.2", "the address that was not made comes last, but is not lost");
    await Promise.all(["b", "c", "d"].map((pod) => claim(pod)));
    assert.equal(Object.keys(cluster.held).length, 4);
  });

  it("reports what the API server did, not the deadline, and names the server", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? { kind: "hang" } : undefined);
    await assert.rejects(
      claim("a"),
      (error) => error instanceof ApiUnreachableError && error.details["server"] === "http://fake-api",
    );
  });

  it("releases a claim whose create was given up", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? lostAfter : undefined);
    cluster.api.fail((request) => request.path.includes("/10.6.0.1"), { kind: "hang" }, 3);
    await assert.rejects(claim("a"));
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
    cluster.api.faults = () => undefined;
    await cluster.clock.advance(200_000);
    assert.deepEqual(cluster.held, {});
  });

  it("never takes another address while the outcome of a create is unknown", async () => {
    cluster.api.fail(isCreate, { kind: "late-commit", ms: 33_000 }, 3);
    await assert.rejects(claim("a"));
    assert.equal(cluster.api.all(spiderIPAddresses).length, 0);
    assert.equal(nameOf(await cluster.claim(node, requestOf("a", [pool], { sandbox: "a-2" }))), "10.6.0.1");
    await cluster.clock.advance(200_000);
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
  });

  it("releases only when no lost create of the same name can come after it", async () => {
    cluster.api.fail(isCreate, { kind: "late-commit", ms: 3_500 });
    await assert.rejects(cluster.claim(node, requestOf("a", [pool]), 1_000));
    node.ledger.release((await claim("a")).claim, reason);
    await cluster.drive(node.ledger.drained());
    await cluster.clock.advance(80_000);
    assert.deepEqual(cluster.held, {});
  });

  it("asks to try again if an uncertain create is in a pool that is no longer a candidate", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? { kind: "lost-before" } : undefined);
    await assert.rejects(claim("a"));
    cluster.api.faults = () => undefined;
    const other = requestOf("a", [testPool("10.6.9.1", "other")]);
    await assert.rejects(cluster.claim(node, other), (error) => hasCode(error, "CLAIM_PENDING"));
    await cluster.clock.advance(80_000);
    assert.equal(nameOf(await cluster.claim(node, other)), "10.6.9.1");
  });

  it("asks to try again while somebody else has the address of a create that may still take effect", async () => {
    cluster.api.fail(isCreate, { kind: "late-commit", ms: 12_000 });
    await assert.rejects(cluster.claim(node, requestOf("a", [pool]), 1_000));
    const other = await cluster.node("n2");
    assert.equal(nameOf(await cluster.claim(other, requestOf("b", [testPool("10.6.0.1")]))), "10.6.0.1");
    await assert.rejects(claim("a"), (error) => hasCode(error, "CLAIM_PENDING"));
    await cluster.clock.advance(16_000);
    assert.equal(nameOf(await claim("a")), "10.6.0.2");
  });

  it("leaves the Pod's earlier claim alone if its new sandbox cannot be written", async () => {
    await claim("a");
    cluster.api.fail(({ method }) => method === "PUT", { kind: "status", status: 403, reason: "Forbidden" });
    await assert.rejects(claim("a", { sandbox: "a-2" }));
    await cluster.clock.advance(80_000);
    assert.deepEqual([cluster.held, node.ledger.claimsOf("a").length], [{ "10.6.0.1": "a" }, 1]);
  });

  it("writes the new sandbox again when the answer was lost", async () => {
    await claim("a");
    cluster.api.fail(({ method }) => method === "PUT", lostAfter);
    assert.equal((await claim("a", { sandbox: "a-2" })).claim.spec.containerID, "a-2");
  });

  it("does not take a stranger's claim for its own after a lost answer", async () => {
    const other = await cluster.node("n2");
    cluster.api.fail(isCreate, { kind: "lost-before" });
    const [mine] = await Promise.all([claim("a"), cluster.claim(other, requestOf("b", [pool]))]);
    assert.equal(new Set(Object.values(cluster.held)).size, 2);
    assert.equal(cluster.held[nameOf({ claim: mine.claim })], "a");
  });
});

describe("Ledger.release()", () => {
  it("deletes exactly the object that the decision was about", async () => {
    const { claim: made } = await claim("a");
    node.ledger.release(made, reason);
    await cluster.drive(node.ledger.drained());
    const request = cluster.api.requests.find(isDelete);
    assert.deepEqual(JSON.parse(String(request?.body)).preconditions, {
      uid: made.uid,
      resourceVersion: made.resourceVersion,
    });
    assert.deepEqual([cluster.held, node.ledger.claims()], [{}, []]);
  });

  it("reads again on a conflict and deletes the newer version of the same sandbox's claim", async () => {
    const { claim: made } = await claim("a");
    const object = cluster.api.read(spiderIPAddresses, { name: made.name }) ?? assert.fail();
    cluster.api.apply(spiderIPAddresses, { ...object, metadata: { ...object.metadata, labels: { edited: "yes" } } });
    node.ledger.release(made, reason);
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(cluster.held, {});
  });

  it("leaves an object of the same name alone that was made meanwhile", async () => {
    const { claim: made } = await claim("a");
    cluster.api.remove(spiderIPAddresses, { name: made.name });
    await cluster.claim(await cluster.node("n2"), requestOf("b", [pool]));
    node.ledger.release(made, reason);
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(cluster.held, { "10.6.0.1": "b" });
  });

  for (const fault of [lostAfter, { kind: "lost-before" }, { kind: "hang" }] satisfies Fault[]) {
    it(`goes on until it is certain when the answer is ${fault.kind}`, async () => {
      const { claim: made } = await claim("a");
      cluster.api.fail(isDelete, fault, 3);
      node.ledger.release(made, reason);
      await cluster.drive(node.ledger.drained());
      assert.deepEqual([cluster.held, node.ledger.pendingReleases], [{}, 0]);
    });
  }
});
