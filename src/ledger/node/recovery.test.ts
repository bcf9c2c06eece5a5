import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPAddresses } from "#api";
import { never } from "#base";
import { parseIp } from "#ip";
import type { Fault } from "../../kube/testing/fake-api.ts";
import { isCreate, nameOf, requestOf } from "../testing/nodes.ts";
import { claim, cluster, node, pool } from "../testing/one-node.ts";

const lostAfter: Fault = { kind: "lost-after" };

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

  it("reads the claims that sandbox records name, if they are of this node", async () => {
    await claim("a");
    const restarted = await cluster.node("n2", ["10.6.0.1", "10.6.0.2"]);
    assert.deepEqual(restarted.ledger.claims(), []);
  });

  it("saves a request about addresses that the node has, at the next claim", async () => {
    await claim("a");
    await claim("b");
    node.kill();
    const next = await cluster.node();
    const before = cluster.api.requests.length;
    assert.equal(nameOf(await cluster.claim(next, requestOf("c", [pool]))), "10.6.0.3");
    assert.equal(cluster.api.requests.slice(before).filter(isCreate).length, 1);
  });

  it("writes the boot into a claim whose sandbox has the container ID of one before the reboot", async () => {
    await claim("a");
    node.kill();
    const next = await cluster.node("n1", ["10.6.0.1"], { boot: "boot-2" });
    await cluster.claim(next, requestOf("a", [pool]));
    assert.equal(cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" })?.spec.bootID, "boot-2");
  });

  it("makes claims wait until it has succeeded", async () => {
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

describe("Ledger.claim() while the ledger is restored", () => {
  it("does not repeat creates from before, but claims the addresses of sandboxes", async () => {
    const opened = Promise.withResolvers<void>();
    cluster.api.faults = (request) => {
      if (!isCreate(request) || cluster.closed !== undefined) return undefined;
      cluster.closed = opened.promise; // The server that is asked again is another one: etcd was put back.
      return { kind: "lost-before" };
    };
    const adding = claim("a");
    await cluster.clock.advance(5_000);
    assert.deepEqual(cluster.held, {});
    const again = node.ledger.reassert(parseIp("10.6.0.1"), requestOf("b", [pool]), { signal: never });
    assert.equal((await cluster.drive(again))?.spec.podUID, "b");
    opened.resolve();
    assert.equal(nameOf(await adding), "10.6.0.2");
  });
});

describe("Ledger.verify()", () => {
  it("says foreign of a claim of another node, even if the Pods have the same UID, as static Pods may", async () => {
    await cluster.claim(await cluster.node("n2"), requestOf("a", [pool]));
    assert.equal(await cluster.drive(node.ledger.verify("10.6.0.1", "a", { signal: never })), "foreign");
    assert.deepEqual(node.ledger.claims(), []);
  });

  it("does not forget the holder's claim when it is asked about another Pod", async () => {
    await claim("b");
    assert.equal(await cluster.drive(node.ledger.verify("10.6.0.1", "a", { signal: never })), "foreign");
    assert.equal(node.ledger.claimsOf("b").length, 1);
  });
});

describe("Intents.note()", () => {
  it("keeps a claim findable after a reboot removed its intent and a DEL removes its record", async () => {
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

  it("deletes a claim from before the reboot if its Pod has another one now", async () => {
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

  it("deletes only claims that nobody knows at two looks, with a pause by the node's own clock", async () => {
    await claim("a");
    leaked("10.6.0.2");
    leaked("10.6.0.3", "n2");
    leaked("10.6.0.4", "n1", "Sticky");
    leaked("10.6.0.9");
    const done = audit(["10.6.0.9"]);
    await cluster.clock.advance(19_000);
    assert.equal(Object.keys(cluster.held).length, 5, "what is seen once may be on its way");
    await done;
    await cluster.drive(node.ledger.drained());
    assert.deepEqual(Object.keys(cluster.held), ["10.6.0.1", "10.6.0.3", "10.6.0.4", "10.6.0.9"]);
    assert.equal(node.ledger.claimsOf("old-10.6.0.9").length, 1);
  });

  it("leaves a claim alone whose create has an unknown outcome", async () => {
    cluster.api.faults = (request) => (isCreate(request) ? lostAfter : undefined);
    cluster.api.fail(({ method, path }) => method === "GET" && path.endsWith("/10.6.0.1"), { kind: "hang" }, 9);
    await assert.rejects(claim("a"));
    await audit();
    assert.deepEqual(cluster.held, { "10.6.0.1": "a" });
  });
});
