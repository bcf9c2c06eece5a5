import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { type SpiderIPAddressSpec, spiderIPAddresses } from "#api";
import { hasCode, never } from "#base";
import { parseIpSet } from "#ip";
import type { PoolView } from "#ipam";
import { Cluster, isCreate, isDelete, nameOf, reason, requestOf, type TestNode, testPool } from "../testing/nodes.ts";
import type { Kept } from "./kept.ts";
import type { ClaimRequest } from "./request.ts";

const pool = testPool("10.6.0.1-10.6.0.4");
const other = testPool("10.6.1.1-10.6.1.4", "pool-b");

let cluster: Cluster;
let first: TestNode;
let second: TestNode;

beforeEach(async () => {
  cluster = new Cluster();
  first = await cluster.node("n1");
  second = await cluster.node("n2");
});
afterEach(() => cluster[Symbol.dispose]());

/** What Pod web-0 of StatefulSet web asks for; `uid` tells its lives apart. */
function web0(
  uid: string,
  more: Partial<Omit<Kept, "pools">> & { readonly from?: PoolView; readonly sandbox?: string } = {},
) {
  const { names = [], from = pool, probe, sandbox = `${uid}-1` } = more;
  const { holder, ...request } = requestOf("web-0", [from], { sandbox });
  return {
    ...request,
    holder: {
      ...holder,
      pod: { ...holder.pod, uid },
      owner: { text: "apps/v1/StatefulSet/default/web", uid: "uid-web" },
      sticky: "pod",
    },
    kept: { names, pools: [from.name], probe },
  } satisfies ClaimRequest;
}

const spec = (name = "10.6.0.1"): SpiderIPAddressSpec =>
  cluster.api.read(spiderIPAddresses, { name })?.spec ?? assert.fail(`no claim ${name}`);

/** web-0 had 10.6.0.1 on the first node, and has ended there. */
async function detachedClaim() {
  const { claim } = await cluster.claim(first, web0("a"));
  first.ledger.release(claim, reason);
  await cluster.drive(first.ledger.drained());
}

describe("a sticky claim", () => {
  it("is one for a Pod that was deleted by force and for its successor, whose ADDs are under way at once", async () => {
    const [former, next] = [
      first.ledger.claim(web0("a"), { signal: never }),
      first.ledger.claim(web0("b"), { signal: never }),
    ];
    const { claim } = await cluster.drive(former);
    first.ledger.release(claim, reason);
    assert.deepEqual((await cluster.drive(next)).claim.name, claim.name);
    assert.equal(spec("10.6.0.1").podUID, "b");
  });

  it("is made with its owner", async () => {
    await cluster.claim(first, web0("a"));
    const { purpose, owner, ownerUID, podName, node } = spec();
    assert.deepEqual(
      [purpose, owner, ownerUID, podName, node],
      ["Sticky", "apps/v1/StatefulSet/default/web", "uid-web", "web-0", "n1"],
    );
  });

  it("is detached by a release, not deleted, and nobody else gets its address, however full the pool is", async () => {
    await detachedClaim();
    const { node, bootID, containerID, podUID, podName } = spec();
    assert.deepEqual([node, bootID, containerID, podUID, podName], [undefined, undefined, undefined, "a", "web-0"]);
    const unused = { pool: "pool-a", "velero.io/exclude-from-backup": "true" };
    assert.deepEqual(cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" })?.metadata.labels, unused);
    for (const pod of ["b", "c", "d"]) await cluster.claim(first, requestOf(pod, [pool]));
    await assert.rejects(cluster.claim(first, requestOf("e", [pool])), (error) => hasCode(error, "POOL_EXHAUSTED"));
    assert.deepEqual(Object.keys(cluster.held), ["10.6.0.1", "10.6.0.2", "10.6.0.3", "10.6.0.4"]);
  });

  it("passes to the next Pod of the name on any node, with the same answer and by a write", async () => {
    await detachedClaim();
    const before = spec();
    const { claim, fresh } = await cluster.claim(second, {
      ...web0("b", { names: ["10.6.0.1"] }),
      answer: () => '{"prefix":24}',
    });
    assert.deepEqual([claim.name, fresh, claim.spec.answer], ["10.6.0.1", false, before.answer]);
    const { node, podUID, containerID } = spec();
    assert.deepEqual([node, podUID, containerID], ["n2", "b", "b-1"]);
    assert.equal(cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" })?.metadata.labels?.["node"], "n2");
  });

  it("can be taken although no pool may give new addresses, as long as its own pool is named", async () => {
    await detachedClaim();
    assert.equal(nameOf(await cluster.claim(second, { ...web0("b", { names: ["10.6.0.1"] }), pools: [] })), "10.6.0.1");
  });

  it("is not for Pods of another name, owner, namespace or NIC", async () => {
    await detachedClaim();
    const request = web0("b", { names: ["10.6.0.1"] });
    const { holder } = request;
    const strangers: readonly ClaimRequest["holder"][] = [
      { ...holder, pod: { ...holder.pod, name: "web-1" } },
      { ...holder, pod: { ...holder.pod, namespace: "other" } },
      { ...holder, owner: { ...holder.owner, text: "apps/v1/StatefulSet/default/db" } },
    ];
    for (const [at, stranger] of strangers.entries()) {
      const pod = { ...stranger.pod, uid: `s${at}` };
      assert.notEqual(nameOf(await cluster.claim(second, { ...request, holder: { ...stranger, pod } })), "10.6.0.1");
    }
    assert.equal(spec().node, undefined);
  });

  it("of a virtual machine passes to its next Pod, whatever the Pod's name", async () => {
    const vm = (uid: string, names: readonly string[]): ClaimRequest => {
      const request = web0(uid, { names });
      const { holder } = request;
      const owner = { text: "kubevirt.io/v1/VirtualMachineInstance/default/vm", uid: `vmi-${uid}` };
      return {
        ...request,
        holder: { ...holder, pod: { ...holder.pod, name: `virt-launcher-${uid}` }, owner, sticky: "owner" },
      };
    };
    const { claim } = await cluster.claim(first, vm("a", []));
    first.ledger.release(claim, reason);
    await cluster.drive(first.ledger.drained());
    assert.equal(nameOf(await cluster.claim(second, vm("b", ["10.6.0.1"]))), "10.6.0.1");
    assert.deepEqual([spec().podName, spec().ownerUID], ["virt-launcher-b", "vmi-b"]);
  });

  it("is given up when the Pod asks for other pools", async () => {
    await detachedClaim();
    const made = await cluster.claim(second, web0("b", { names: ["10.6.0.1"], from: other }));
    assert.deepEqual([nameOf(made), made.fresh, Object.keys(cluster.held)], ["10.6.1.1", true, ["10.6.1.1"]]);
  });

  it("is given up when the Pod no longer asks for its family", async () => {
    await detachedClaim();
    const { holder } = web0("b");
    await cluster.drive(second.ledger.giveUpKept(["10.6.0.1", "10.6.0.9"], holder, { signal: never }));
    assert.deepEqual(cluster.held, {});
  });

  it("is made again if the index names an address that nobody has", async () => {
    assert.equal(nameOf(await cluster.claim(second, web0("b", { names: ["10.6.0.3"] }))), "10.6.0.3");
    assert.equal(nameOf(await cluster.claim(second, requestOf("x", [pool]))), "10.6.0.1");
  });

  it("is not made again if the address is reserved now", async () => {
    cluster.reserved = parseIpSet(["10.6.0.3"], 4);
    assert.equal(nameOf(await cluster.claim(second, web0("b", { names: ["10.6.0.3"] }))), "10.6.0.1");
  });

  it("is not taken while the ledger is restored, even if that began during the wait for its holder", async () => {
    const { claim } = await cluster.claim(first, web0("a"));
    const opened = Promise.withResolvers<void>();
    const adding = second.ledger.claim(web0("b", { names: ["10.6.0.1"] }), { signal: never });
    await cluster.clock.advance(300);
    cluster.closed = opened.promise;
    first.ledger.release(claim, reason);
    await cluster.clock.advance(2_000);
    assert.equal(spec().node, undefined);
    opened.resolve();
    assert.equal((await cluster.drive(adding)).claim.spec.node, "n2");
  });

  it("is not taken while another node's sandbox has it; the ADD waits a moment and then says who does", async () => {
    const { claim } = await cluster.claim(first, web0("a"));
    await assert.rejects(cluster.claim(second, web0("b", { names: ["10.6.0.1"] })), (error) => {
      assert.ok(hasCode(error, "STICKY_HELD"));
      assert.match(error.message, /address 10\.6\.0\.1 is kept for Pod default\/web-0.*Pod a on node n1/);
      return true;
    });
    const waiting = cluster.claim(second, web0("c", { names: ["10.6.0.1"] }));
    first.ledger.release(claim, reason);
    assert.equal(nameOf(await waiting), "10.6.0.1");
  });

  it("of a former process is taken from this node's own dead Pod, and only from a dead one", async () => {
    await cluster.claim(first, web0("a"));
    first.kill();
    const next = await cluster.node("n1-again");
    cluster.api.apply(spiderIPAddresses, {
      metadata: { name: "10.6.0.1", labels: { pool: "pool-a", node: "n1-again" } },
      spec: { ...spec(), node: "n1-again" },
    });
    next.used.add("10.6.0.1");
    await assert.rejects(cluster.claim(next, web0("b", { names: ["10.6.0.1"] })), (e) => hasCode(e, "STICKY_HELD"));
    next.used.clear();
    assert.equal(nameOf(await cluster.claim(next, web0("b", { names: ["10.6.0.1"] }))), "10.6.0.1");
  });

  it("is taken only when nobody answers for it if nobody saw its last holder end", async () => {
    await detachedClaim();
    const { metadata } = cluster.api.read(spiderIPAddresses, { name: "10.6.0.1" }) ?? assert.fail();
    cluster.api.apply(spiderIPAddresses, { metadata, spec: { ...spec(), unclean: true } });
    const asked: string[] = [];
    const answers = (mac: string | undefined): Partial<Omit<Kept, "pools">> => ({
      names: ["10.6.0.1"],
      probe: async ({ family }) => {
        asked.push(`IPv${family}`);
        return mac;
      },
    });
    await assert.rejects(
      cluster.claim(second, web0("b", answers("02:00:00:00:00:01"))),
      /02:00:00:00:00:01 still answers/,
    );
    assert.deepEqual([spec().node, spec().unclean], [undefined, true]);
    assert.equal(nameOf(await cluster.claim(second, web0("b", answers(undefined)))), "10.6.0.1");
    assert.deepEqual([asked, spec().unclean, spec().node], [["IPv4", "IPv4"], undefined, "n2"]);
  });

  it("that no index names is deleted by a release: its ADD was never answered, and nobody would find it", async () => {
    cluster.unindexed.add("10.6.0.1");
    const { claim } = await cluster.claim(first, web0("a"));
    first.ledger.release(claim, reason);
    await cluster.drive(first.ledger.drained());
    assert.deepEqual(cluster.held, {});
  });

  it("survives lost answers of its detaching and of its adoption", async () => {
    const lost = { kind: "lost-after" } as const;
    cluster.api.fail(({ method }) => method === "PUT", lost);
    await detachedClaim();
    assert.equal(spec().node, undefined);
    cluster.api.fail(({ method }) => method === "PUT", lost);
    assert.equal(nameOf(await cluster.claim(second, web0("b", { names: ["10.6.0.1"] }))), "10.6.0.1");
    assert.deepEqual([spec().node, spec().podUID], ["n2", "b"]);
    assert.equal(cluster.api.requests.filter(isCreate).length, 1);
    assert.equal(cluster.api.requests.filter(isDelete).length, 0);
  });

  it("whose adoption was given up in doubt is detached again when its ADD is not repeated", async () => {
    await detachedClaim();
    cluster.api.fail(({ method }) => method === "PUT", { kind: "late-commit", ms: 3_500 });
    await assert.rejects(cluster.claim(second, web0("b", { names: ["10.6.0.1"] }), 1_000));
    await cluster.clock.advance(80_000);
    assert.equal(spec().node, undefined);
  });

  it("is adopted once though an earlier adoption of the Pod takes effect in between", async () => {
    await detachedClaim();
    cluster.api.fail(({ method }) => method === "PUT", { kind: "late-commit", ms: 1_500 });
    await assert.rejects(cluster.claim(second, web0("b", { names: ["10.6.0.1"] }), 1_000));
    cluster.api.fail(({ method }) => method === "PUT", { kind: "late-commit", ms: 2_000 });
    assert.equal(nameOf(await cluster.claim(second, web0("b", { names: ["10.6.0.1"], sandbox: "b-2" }))), "10.6.0.1");
    assert.deepEqual([spec().containerID, Object.keys(cluster.held)], ["b-2", ["10.6.0.1"]]);
  });

  it("is not released by an audit that sees it while it is adopted", async () => {
    await detachedClaim();
    await cluster.clock.advance(120_000);
    cluster.api.fail(({ method }) => method === "PUT", { kind: "late-answer", ms: 2_000 });
    const adopting = cluster.claim(second, web0("b", { names: ["10.6.0.1"] }));
    await cluster.clock.advance(1_000);
    await cluster.drive(second.ledger.audit({ signal: never }));
    await adopting;
    await cluster.drive(second.ledger.drained());
    assert.deepEqual([spec().node, spec().podUID], ["n2", "b"]);
  });
});

describe("Ledger.quarantine()", () => {
  const conflict = { mac: "02:00:00:00:00:01", until: new Date("2026-01-01T01:00:00Z") };

  it("keeps the address from everybody, and the holder takes the next one in the same ADD", async () => {
    const { claim } = await cluster.claim(first, requestOf("a", [pool]));
    await cluster.drive(first.ledger.quarantine(claim, conflict, { signal: never }));
    const { purpose, mac, until, containerID, reason: why } = spec();
    assert.deepEqual(
      [purpose, mac, until, containerID, why],
      ["Quarantine", "02:00:00:00:00:01", "2026-01-01T01:00:00.000Z", undefined, "another host answers for it"],
    );
    const again = await cluster.claim(first, requestOf("a", [pool]));
    assert.deepEqual([nameOf(again), again.fresh], ["10.6.0.2", true]);
    assert.equal(nameOf(await cluster.claim(second, requestOf("b", [pool]))), "10.6.0.3");
    assert.equal(first.ledger.claimsOf("a").length, 1);
    await cluster.drive(first.ledger.quarantine(again.claim, { until: conflict.until }, { signal: never }));
    const told = cluster.api.read(spiderIPAddresses, { name: "10.6.0.2" })?.spec;
    assert.deepEqual([told?.mac, told?.reason], [undefined, "a plugin found it in use"]);
  });

  it("is done once although the answer is lost, and leaves a claim alone that was made meanwhile", async () => {
    const { claim } = await cluster.claim(first, requestOf("a", [pool]));
    cluster.api.fail(({ method }) => method === "PUT", { kind: "lost-after" });
    await cluster.drive(first.ledger.quarantine(claim, conflict, { signal: never }));
    assert.equal(cluster.api.requests.filter(({ method }) => method === "PUT").length, 1);
    cluster.api.remove(spiderIPAddresses, { name: claim.name });
    await cluster.claim(second, requestOf("b", [pool]));
    await cluster.drive(first.ledger.quarantine(claim, conflict, { signal: never }));
    assert.equal(spec().purpose, "Pod");
  });

  it("and a Hold are respected by everybody who chooses", async () => {
    for (const [name, purpose] of [
      ["10.6.0.1", "Hold"],
      ["10.6.0.2", "Quarantine"],
    ] as const) {
      cluster.api.apply(spiderIPAddresses, {
        metadata: { name, labels: { pool: "pool-a" } },
        spec: { format: 1, address: name, purpose, pool: "pool-a", poolUID: pool.uid, until: "2026-01-01T01:00:00Z" },
      });
    }
    assert.equal(nameOf(await cluster.claim(first, requestOf("a", [pool]))), "10.6.0.3");
  });
});
