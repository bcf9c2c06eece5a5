import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { spiderIPAddresses, spiderPoolUsages } from "#api";
import { hasCode } from "#base";
import { ApiUnreachableError } from "#kube";
import type { Fault } from "../kube/testing/fake-api.ts";
import {
  Cluster,
  isCreate,
  isDelete,
  isList,
  nameOf,
  reason,
  requestOf,
  type TestNode,
  testPool,
} from "./testing/nodes.ts";

const pool = testPool("10.6.0.1-10.6.0.4");
const lostAfter: Fault = { kind: "lost-after" };

let cluster: Cluster;
let node: TestNode;

beforeEach(async () => {
  cluster = new Cluster();
  node = await cluster.node();
});
afterEach(() => cluster[Symbol.dispose]());

const claim = (pod: string, more = {}) => cluster.claim(node, requestOf(pod, [pool], more));

describe("Ledger.claim()", () => {
  it("creates the object that is named after the address, with all that is known of the holder", async () => {
    const { claim: made, fresh } = await claim("a");
    assert.equal(fresh, true);
    const { metadata, spec } = cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" }) ?? assert.fail("no claim");
    assert.deepEqual(metadata.labels, { pool: "pool-a", node: "n1" });
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

  it("gives two NICs of one Pod two addresses of the same pool", async () => {
    const names = [nameOf(await claim("a")), nameOf(await claim("a", { nic: "net1" }))];
    assert.deepEqual(names, ["10.6.0.1", "10.6.0.2"]);
  });

  it("goes on to the next candidate where one is used up", async () => {
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

  it("gives the address again to the same sandbox without a request", async () => {
    await claim("a");
    const before = cluster.api.requests.length;
    assert.deepEqual([nameOf(await claim("a")), (await claim("a")).fresh], ["10.6.0.1", false]);
    assert.equal(cluster.api.requests.length, before);
  });

  it("always writes for another sandbox, so that a late delete of the older view fails", async () => {
    const { claim: first } = await claim("a");
    const { claim: second, fresh } = await claim("a", { sandbox: "a-2" });
    assert.equal(fresh, false);
    assert.notEqual(second.resourceVersion, first.resourceVersion);
    node.ledger.release(first, reason);
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
  });

  it("keeps a Pod's address although its pool is no candidate any more", async () => {
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

  it("takes a new address where the Pod's own was taken from the ledger", async () => {
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

  it("has at most four creates in flight", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? { kind: "late-answer", ms: 1_000 } : undefined);
    const wide = testPool("10.6.1.1-10.6.1.99", "wide");
    const all = Array.from({ length: 20 }, (_, at) => cluster.claim(node, requestOf(`p${at}`, [wide])));
    await cluster.clock.advance(1_500);
    assert.ok(cluster.api.requests.filter(isCreate).length <= 8, "two rounds of four");
    await Promise.all(all);
    assert.equal(Object.keys(cluster.held).length, 20);
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

  it("honours Retry-After", async () => {
    cluster.api.fail(isCreate, { kind: "status", status: 429, reason: "TooManyRequests", retryAfterS: 7 });
    await claim("a");
    assert.ok(cluster.clock.monotonicMs() >= 7_000);
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

  it("releases what a create made that was given up", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? lostAfter : undefined);
    cluster.api.fail((request) => request.path.includes("/10.6.0.1"), { kind: "hang" }, 3);
    await assert.rejects(claim("a"));
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
    cluster.api.faults = () => undefined;
    await cluster.clock.advance(200_000);
    assert.deepEqual(cluster.held, {});
  });

  it("never takes another address while the fate of one is open", async () => {
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

  it("says to try again where the open create is in a pool that is no candidate any more", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? { kind: "lost-before" } : undefined);
    await assert.rejects(claim("a"));
    cluster.api.faults = () => undefined;
    const other = requestOf("a", [testPool("10.6.9.1", "other")]);
    await assert.rejects(cluster.claim(node, other), (error) => hasCode(error, "CLAIM_PENDING"));
    await cluster.clock.advance(80_000);
    assert.equal(nameOf(await cluster.claim(node, other)), "10.6.9.1");
  });

  it("leaves the claim alone that the Pod had before, when its new sandbox cannot be written", async () => {
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

describe("Ledger.claim() of a pool that is used up", () => {
  const one = testPool("10.6.0.1", "tiny");

  it("says so only after it has looked, in a sentence that names NIC and pools and what to do", async () => {
    await claim("a");
    await assert.rejects(cluster.claim(node, requestOf("b", [one, testPool("10.6.0.1", "other")])), (error) => {
      assert.ok(hasCode(error, "POOL_EXHAUSTED"));
      assert.equal(
        error.message,
        "failed to allocate any IPv4 IP address to NIC eth0 from IPPools [tiny other]: all IP addresses used out: all 1 addresses of IPPool tiny are in use; all 1 addresses of IPPool other are in use",
      );
      assert.match(String(error.details["fix"]), /^add addresses to spec.ips of IPPool tiny/);
      return true;
    });
    assert.equal(cluster.api.requests.filter(isList).length, 2);
  });

  it("believes the answer for a short time only", async () => {
    const other = await cluster.node("n2");
    const { claim: held } = await cluster.claim(other, requestOf("a", [one]));
    const refused = () =>
      assert.rejects(cluster.claim(node, requestOf("b", [one])), (e) => hasCode(e, "POOL_EXHAUSTED"));
    await refused();
    other.ledger.release(held, reason);
    await cluster.drive(other.ledger.drained());
    await refused();
    assert.equal(cluster.api.requests.filter(isList).length, 1);
    await cluster.clock.advance(31_000);
    await cluster.claim(node, requestOf("b", [one]));
  });

  it("believes newer usage more than its own list", async () => {
    const other = await cluster.node("n2");
    const { claim: held } = await cluster.claim(other, requestOf("a", [one]));
    await assert.rejects(cluster.claim(node, requestOf("b", [one])));
    other.ledger.release(held, reason);
    await cluster.drive(other.ledger.drained());
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "tiny" }, spec: { poolUID: one.uid, used: [] } });
    await cluster.clock.advance(0);
    assert.equal(nameOf(await cluster.claim(node, requestOf("b", [one]))), "10.6.0.1");
  });

  const publish = (used: readonly string[]) =>
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "tiny" }, spec: { poolUID: one.uid, used } });

  it("says so without a list where the leader says so after the ADD began", async () => {
    publish([]);
    await cluster.claim(await cluster.node("n2"), requestOf("a", [one]));
    const asking = cluster.claim(node, requestOf("b", [one]));
    await cluster.clock.advance(300);
    publish(["10.6.0.1"]);
    await assert.rejects(asking, (error) => hasCode(error, "POOL_EXHAUSTED"));
    assert.equal(cluster.api.requests.filter(isList).length, 0);
  });

  it("waits for the leader's next word before it asks the server, and takes what has become free by then", async () => {
    const other = await cluster.node("n2");
    const { claim: held } = await cluster.claim(other, requestOf("a", [one]));
    publish(["10.6.0.1"]);
    const asking = cluster.claim(node, requestOf("b", [one]));
    await cluster.clock.advance(300);
    other.ledger.release(held, reason);
    await cluster.drive(other.ledger.drained());
    publish([]);
    assert.equal(nameOf(await asking), "10.6.0.1");
    assert.equal(cluster.api.requests.filter(isList).length, 0);
  });

  it("asks the server for a list at most twice a minute, however many ask and however the leader is silent", async () => {
    await cluster.claim(await cluster.node("n2"), requestOf("a", [one]));
    for (let at = 0; at < 20; at++) {
      await assert.rejects(cluster.claim(node, requestOf(`p${at}`, [one])));
      await cluster.clock.advance(2_900);
    }
    assert.ok(cluster.api.requests.filter(isList).length <= 2);
  });

  it("watches the usage while it is drawn from and five seconds longer", async () => {
    await claim("a");
    await cluster.clock.advance(4_700);
    assert.equal(cluster.api.watches, 1);
    await claim("b");
    await cluster.clock.advance(4_700);
    assert.equal(cluster.api.watches, 1);
    await cluster.clock.advance(500);
    assert.equal(cluster.api.watches, 0);
  });

  it("hands out what cools down last, and at once where nothing else is left", async () => {
    const usage = { poolUID: pool.uid, used: ["10.6.0.4"], cooling: ["10.6.0.1-10.6.0.2"] };
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "pool-a" }, spec: usage });
    const names = [nameOf(await claim("a")), nameOf(await claim("b")), nameOf(await claim("c"))];
    assert.deepEqual(names, ["10.6.0.3", "10.6.0.1", "10.6.0.2"]);
  });

  it("starts at its own place among the nodes that draw from the pool, alone at the lowest address", async () => {
    const usage = { poolUID: pool.uid, used: [], nodes: ["n0", "n1"] };
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "pool-a" }, spec: usage });
    assert.deepEqual([nameOf(await claim("a")), nameOf(await claim("b"))], ["10.6.0.3", "10.6.0.4"]);
    assert.equal(nameOf(await cluster.claim(await cluster.node("n9"), requestOf("c", [pool]))), "10.6.0.1");
  });

  it("shares one list among those that wait for it", async () => {
    await claim("a");
    const waiting = Array.from({ length: 10 }, (_, at) => cluster.claim(node, requestOf(`p${at}`, [one])));
    const answers = await Promise.allSettled(waiting);
    assert.ok(answers.every(({ status }) => status === "rejected"));
    assert.equal(cluster.api.requests.filter(isList).length, 1);
  });

  it("does not say so where the list fails", async () => {
    await cluster.claim(await cluster.node("n2"), requestOf("a", [one]));
    cluster.api.faults = (request) =>
      isList(request) ? { kind: "status", status: 500, reason: "InternalError" } : undefined;
    await assert.rejects(cluster.claim(node, requestOf("b", [one])), /cannot list spideripaddresses/);
    cluster.api.faults = () => undefined;
    await assert.rejects(cluster.claim(node, requestOf("b", [one])), (error) => hasCode(error, "POOL_EXHAUSTED"));
  });

  it("looks when guesses miss again and again", async () => {
    const full = testPool("10.6.2.1-10.6.2.99", "full");
    const other = await cluster.node("n2");
    for (let at = 0; at < 50; at++) await cluster.claim(other, requestOf(`p${at}`, [full]));
    const before = cluster.api.requests.filter(isCreate).length;
    await cluster.claim(node, requestOf("a", [full]));
    assert.ok(cluster.api.requests.filter(isCreate).length - before <= 9);
  });
});

describe("Ledger.release()", () => {
  it("deletes exactly the object that was decided on", async () => {
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

  it("leaves the name alone where it belongs to another object by now", async () => {
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

describe("Ledger.recall()", () => {
  it("finds the claims of a process that was killed, by its intents", async () => {
    await claim("a");
    node.kill();
    const next = await cluster.node();
    assert.equal(next.ledger.claimsOf("a").length, 1);
    const again = await cluster.claim(next, requestOf("a", [pool], { sandbox: "a-2" }));
    assert.deepEqual([nameOf(again), again.fresh], ["10.6.0.1", false]);
  });

  it("finds a claim whose create was cut off by the end of the process", async () => {
    cluster.api.fail(isCreate, { kind: "late-answer", ms: 5_000 });
    const cut = node.ledger.claim(requestOf("a", [pool]), { signal: AbortSignal.abort(new Error("killed")) });
    await assert.rejects(cut);
    const stop = new AbortController();
    const running = node.ledger.claim(requestOf("b", [pool]), { signal: stop.signal });
    await cluster.clock.advance(1_000);
    stop.abort(new Error("killed"));
    node.kill();
    await assert.rejects(running);
    assert.equal((await cluster.node()).ledger.claimsOf("b").length, 1);
  });

  it("takes up what sandbox records name, of this node only", async () => {
    await claim("a");
    const restarted = await cluster.node("n2", ["10.6.0.1", "10.6.0.2"]);
    assert.deepEqual(restarted.ledger.claims(), []);
  });

  it("holds claims up until it has succeeded", async () => {
    cluster.api.fail(
      ({ method, path }) => method === "GET" && path.includes("10.6.0.1"),
      { kind: "status", status: 503, reason: "ServiceUnavailable" },
      5,
    );
    await claim("a");
    node.kill();
    const next = await cluster.node();
    assert.equal((await cluster.claim(next, requestOf("a", [pool]))).fresh, false);
  });
});

describe("Intents.note()", () => {
  it("keeps a claim findable whose record goes with its sandbox after a boot took the hints", async () => {
    await claim("a");
    node.kill();
    const booted = await cluster.node("n1", [], { boot: "boot-2" });
    booted.intents.note([{ key: "a.eth0.4", name: "10.6.0.1" }]);
    booted.kill();
    const next = await cluster.node("n1", [], { boot: "boot-2" });
    const again = await cluster.claim(next, requestOf("a", [pool], { sandbox: "a-2" }));
    assert.deepEqual([nameOf(again), again.fresh], ["10.6.0.1", false]);
  });
});

describe("Ledger.audit()", () => {
  const audit = (known: readonly string[] = []) => {
    for (const name of known) node.used.add(name);
    return cluster.drive(node.ledger.audit({ signal: new AbortController().signal }));
  };
  const leaked = (name: string, nodeName = "n1", purpose = "Pod") =>
    cluster.api.apply(spiderIPAddresses, {
      metadata: { name, labels: { node: nodeName } },
      spec: {
        format: 1,
        address: name,
        purpose,
        pool: "pool-a",
        poolUID: "uid-pool-a",
        node: nodeName,
        podUID: `old-${name}`,
        nic: "eth0",
      },
    });

  it("deletes the claim of a living holder that has another one since the boot that ended its sandbox", async () => {
    await claim("a");
    cluster.api.apply(spiderIPAddresses, {
      metadata: { name: "10.6.0.2", labels: { node: "n1" } },
      spec: {
        ...cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" })?.spec,
        address: "10.6.0.2",
        bootID: "boot-0",
      },
    });
    await cluster.clock.advance(120_000);
    await audit(["10.6.0.1", "10.6.0.2"]);
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
  });

  it("deletes what nobody knows for a minute on the node's own clock, and nothing else", async () => {
    await claim("a");
    leaked("10.6.0.2");
    leaked("10.6.0.3", "n2");
    leaked("10.6.0.4", "n1", "Sticky");
    leaked("10.6.0.9");
    const done = audit(["10.6.0.9"]);
    await cluster.clock.advance(59_000);
    assert.equal(Object.keys(cluster.held).length, 5, "what is seen once may be on its way");
    await done;
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(Object.keys(cluster.held), ["10.6.0.1", "10.6.0.3", "10.6.0.4", "10.6.0.9"]);
    assert.equal(node.ledger.claimsOf("old-10.6.0.9").length, 1);
  });

  it("leaves a name alone whose create is still open", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? lostAfter : undefined);
    cluster.api.fail(({ method, path }) => method === "GET" && path.endsWith("/10.6.0.1"), { kind: "hang" }, 9);
    await assert.rejects(claim("a"));
    await audit();
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
  });
});
