import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderPoolUsages } from "#api";
import { hasCode } from "#base";
import { isCreate, isList, nameOf, reason, requestOf, testPool } from "../testing/nodes.ts";
import { claim, cluster, node, pool } from "../testing/one-node.ts";

describe("Ledger.claim() of a pool that is used up", () => {
  const one = testPool("10.6.0.1", "tiny");

  it("is refused only after a list, in a sentence with the NIC, the pools and what to do", async () => {
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

  it("counts as used up only for a short time", async () => {
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

  it("has addresses again when newer usage says so, whatever the list said", async () => {
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

  it("ignores malformed usage", async () => {
    publish(["somewhere"]);
    assert.equal(nameOf(await cluster.claim(node, requestOf("a", [one]))), "10.6.0.1");
  });

  it("is refused without a list if usage that came after the ADD began says so", async () => {
    publish([]);
    await cluster.claim(await cluster.node("n2"), requestOf("a", [one]));
    const asking = cluster.claim(node, requestOf("b", [one]));
    await cluster.clock.advance(300);
    publish(["10.6.0.1"]);
    await assert.rejects(asking, (error) => hasCode(error, "POOL_EXHAUSTED"));
    assert.equal(cluster.api.requests.filter(isList).length, 0);
  });

  it("says how many of its addresses no Pod has, as far as that is published", async () => {
    const other = await cluster.node("n2");
    for (const pod of ["a", "b", "c", "d"]) await cluster.claim(other, requestOf(pod, [pool]));
    const aside = { quarantined: 1, quarantinedUntil: "2026-01-01T00:05:00.000Z", held: 1 };
    const spec = { poolUID: pool.uid, used: ["10.6.0.1-10.6.0.4"], ...aside };
    cluster.api.apply(spiderPoolUsages, { metadata: { name: pool.name }, spec });
    await assert.rejects(
      cluster.claim(node, requestOf("e", [pool])),
      /: all 4 addresses of IPPool pool-a are taken: 2 in use, 1 in quarantine until 2026-01-01T00:05:00\.000Z, 1 held$/,
    );
  });

  it("waits for the next usage before it is listed, and gives what has become free by then", async () => {
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

  it("is listed at most twice a minute, however many ask and even if no usage comes", async () => {
    await cluster.claim(await cluster.node("n2"), requestOf("a", [one]));
    for (let at = 0; at < 20; at++) {
      await assert.rejects(cluster.claim(node, requestOf(`p${at}`, [one])));
      await cluster.clock.advance(2_900);
    }
    assert.ok(cluster.api.requests.filter(isList).length <= 2);
  });

  const isOfUsage = ({ path }: { readonly path: string }) => path.includes("/spiderpoolusages");

  it("has its usage read once for a Pod now and then, and not watched", async () => {
    const usage = { poolUID: pool.uid, used: ["10.6.0.1-10.6.0.2"] };
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "pool-a" }, spec: usage });
    assert.equal(nameOf(await claim("a")), "10.6.0.3");
    await cluster.clock.advance(6_000);
    assert.equal(nameOf(await claim("b")), "10.6.0.4");
    const paths = cluster.api.requests.filter(isOfUsage).map(({ path }) => path.replace(/^.*\//, ""));
    assert.deepEqual(paths, ["pool-a?resourceVersion=0", "pool-a?resourceVersion=0"]);
    assert.equal(cluster.api.watches, 0);
  });

  it("has its usage watched at once after a collision", async () => {
    const other = await cluster.node("n9");
    await claim("a");
    assert.equal(cluster.api.watches, 0);
    await cluster.claim(other, requestOf("b", [pool]));
    assert.equal(cluster.api.watches, 1);
  });

  it("has its usage watched while it is drawn from often, and for five more seconds", async () => {
    await claim("a");
    await cluster.clock.advance(4_700);
    await claim("b");
    assert.equal(cluster.api.watches, 1);
    await cluster.clock.advance(4_700);
    assert.equal(cluster.api.watches, 1);
    await cluster.clock.advance(500);
    assert.equal(cluster.api.watches, 0);
  });

  it("gives cooling addresses last, and at once if no other is left", async () => {
    const usage = { poolUID: pool.uid, used: ["10.6.0.4"], cooling: ["10.6.0.1-10.6.0.2"] };
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "pool-a" }, spec: usage });
    const names = [nameOf(await claim("a")), nameOf(await claim("b")), nameOf(await claim("c"))];
    assert.deepEqual(names, ["10.6.0.3", "10.6.0.1", "10.6.0.2"]);
  });

  it("begins at the node's share if several nodes draw from it, otherwise at the lowest address", async () => {
    const usage = { poolUID: pool.uid, used: [], nodes: ["n0", "n1"] };
    cluster.api.apply(spiderPoolUsages, { metadata: { name: "pool-a" }, spec: usage });
    assert.deepEqual([nameOf(await claim("a")), nameOf(await claim("b"))], ["10.6.0.3", "10.6.0.4"]);
    assert.equal(nameOf(await cluster.claim(await cluster.node("n9"), requestOf("c", [pool]))), "10.6.0.1");
  });

  it("is listed once for all that wait for it", async () => {
    await claim("a");
    const waiting = Array.from({ length: 10 }, (_, at) => cluster.claim(node, requestOf(`p${at}`, [one])));
    const answers = await Promise.allSettled(waiting);
    assert.ok(answers.every(({ status }) => status === "rejected"));
    assert.equal(cluster.api.requests.filter(isList).length, 1);
  });

  it("is not called used up if the list fails", async () => {
    await cluster.claim(await cluster.node("n2"), requestOf("a", [one]));
    cluster.api.faults = (request) =>
      isList(request) ? { kind: "status", status: 500, reason: "InternalError" } : undefined;
    await assert.rejects(cluster.claim(node, requestOf("b", [one])), /cannot list spideripaddresses/);
    cluster.api.faults = () => undefined;
    await assert.rejects(cluster.claim(node, requestOf("b", [one])), (error) => hasCode(error, "POOL_EXHAUSTED"));
  });

  it("is listed after many collisions", async () => {
    const full = testPool("10.6.2.1-10.6.2.99", "full");
    const other = await cluster.node("n2");
    for (let at = 0; at < 50; at++) await cluster.claim(other, requestOf(`p${at}`, [full]));
    const before = cluster.api.requests.filter(isCreate).length;
    await cluster.claim(node, requestOf("a", [full]));
    assert.ok(cluster.api.requests.filter(isCreate).length - before <= 9);
  });
});
