import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { spiderIPPools, spiderReservedIPs } from "#api";
import { silentLogger } from "#base";
import { formatIpSet } from "#ip";
import { metadataOf } from "#kube";
import { reservedSets } from "#ledger";
import { TestApi } from "../testing/api.ts";
import { PoolCache } from "./pool-cache.ts";

let api: TestApi;
let cache: PoolCache;

beforeEach(async () => {
  api = new TestApi();
  put("a", "10.6.0.1-10.6.0.9");
  const metadata = await api.store(metadataOf(spiderIPPools));
  const { client, clock, signal } = api;
  cache = new PoolCache({ client, clock, log: silentLogger, metadata });
  cache.start({ signal });
});
afterEach(() => api[Symbol.dispose]());

function put(name: string, ips: string, more: { labels?: object; status?: object } = {}): void {
  const { labels = {}, status = {} } = more;
  api.fake.apply(spiderIPPools, { metadata: { name, labels }, spec: { subnet: "10.6.0.0/16", ips: [ips] }, status });
}

/** What is known when the watch has had its say. */
async function now() {
  await api.clock.advance(0);
  const { pools, broken } = await api.drive(cache.now({ signal: api.signal }));
  return { pools: Object.fromEntries([...pools].map(([name, { set }]) => [name, formatIpSet(set).join()])), broken };
}
const gets = () => api.fake.requests.filter(({ path }) => /\/spiderippools\/a\?resourceVersion=\d+$/.test(path)).length;

describe("PoolCache", () => {
  it("has the pools that were there and those that come and go", async () => {
    assert.deepEqual((await now()).pools, { a: "10.6.0.1-10.6.0.9" });
    put("b", "10.6.1.1");
    assert.deepEqual((await now()).pools, { a: "10.6.0.1-10.6.0.9", b: "10.6.1.1" });
    api.fake.remove(spiderIPPools, { name: "a" });
    assert.deepEqual((await now()).pools, { b: "10.6.1.1" });
  });

  it("reads a pool again when its spec moved, not when its status did", async () => {
    await now();
    put("a", "10.6.0.1-10.6.0.9", { status: { allocatedIPCount: 3 } });
    await now();
    assert.equal(gets(), 1);
    put("a", "10.6.0.5");
    assert.deepEqual((await now()).pools, { a: "10.6.0.5" });
    assert.equal(gets(), 2);
  });

  it("sees a pool become an automatic one, which no generation tells", async () => {
    await now();
    put("a", "10.6.0.1-10.6.0.9", { labels: { "ipam.spidernet.io/owner-application-name": "web" } });
    await now();
    assert.equal((await cache.now({ signal: api.signal })).pools.get("a")?.auto, true);
  });

  it("keeps a broken pool apart, with the sentence that says why, until it is mended", async () => {
    put("a", "10.9.0.1");
    const { pools, broken } = await now();
    assert.deepEqual(pools, {});
    assert.match(broken.get("a") ?? "", /SpiderIPPool a cannot be used.*10\.9\.0\.1/);
    put("a", "10.6.0.1");
    assert.deepEqual(await now(), { pools: { a: "10.6.0.1" }, broken: new Map() });
  });

  it("asks until it is answered, and never keeps an older pool than the newest that was told", async () => {
    await now();
    api.fake.fail(({ path }) => path.endsWith("/a"), { kind: "status", status: 500, reason: "InternalError" }, 2);
    api.fake.fail(({ path }) => path.endsWith("/a"), { kind: "status", status: 403, reason: "Forbidden" });
    put("a", "10.6.0.5");
    await api.clock.advance(0);
    put("a", "10.6.0.6");
    assert.deepEqual((await now()).pools, { a: "10.6.0.6" });
  });

  it("lists the pools where nothing was heard of them for longer than bookmarks are apart, once for all who ask", async () => {
    await now();
    put("b", "10.6.1.1");
    await now();
    api.fake.deafenWatches();
    api.fake.remove(spiderIPPools, { name: "b" });
    put("a", "10.6.0.5");
    put("c", "10.6.2.1");
    await api.clock.advance(70_000);
    assert.deepEqual((await now()).pools, { a: "10.6.0.1-10.6.0.9", b: "10.6.1.1" });
    await api.clock.advance(6_000);
    const lists = () => api.fake.requests.filter(({ path }) => /spiderippools\?(?!.*watch=)/.test(path)).length;
    const before = lists();
    const [{ pools }] = await Promise.all([now(), now()]);
    assert.deepEqual(pools, { a: "10.6.0.5", c: "10.6.2.1" });
    await now();
    assert.equal(lists() - before, 1);
  });

  it("keeps what a watch that is back tells while the older list is still on its way", async () => {
    await now();
    api.fake.deafenWatches();
    await api.clock.advance(76_000);
    const isList = ({ path }: { readonly path: string }) => /spiderippools\?(?!.*watch=)/.test(path);
    api.fake.fail(isList, { kind: "late-answer", ms: 5_000 });
    const listing = cache.now({ signal: api.signal });
    await api.clock.advance(2_000);
    put("a", "10.6.0.5");
    put("b", "10.6.1.1");
    await api.clock.advance(10_000);
    await listing;
    assert.deepEqual((await now()).pools, { a: "10.6.0.5", b: "10.6.1.1" });
  });

  it("lets a call go that cannot wait any longer", async () => {
    await now();
    api.fake.faults = () => ({ kind: "hang" });
    put("a", "10.6.0.5");
    await api.clock.advance(0);
    const call = new AbortController();
    const waiting = cache.now({ signal: call.signal });
    call.abort(new Error("too late"));
    await assert.rejects(waiting, /too late/);
  });
});

describe("reservedSets()", () => {
  it("joins all that is reserved, by family, and follows changes", async () => {
    const reserve = (name: string, ...ips: readonly string[]) =>
      api.fake.apply(spiderReservedIPs, { metadata: { name }, spec: { ips } });
    reserve("one", "10.6.0.1", "fd00::1-fd00::2");
    reserve("two", "10.6.0.2-10.6.0.3");
    reserve("bad", "10.6.0.300");
    const reserved = reservedSets(await api.store(spiderReservedIPs), silentLogger);
    assert.deepEqual(
      [formatIpSet(reserved(4)), formatIpSet(reserved(6))],
      [["10.6.0.1-10.6.0.3"], ["fd00::1-fd00::2"]],
    );
    assert.equal(reserved(4), reserved(4), "the same set until something changes");
    api.fake.remove(spiderReservedIPs, { name: "two" });
    await api.clock.advance(0);
    assert.deepEqual(formatIpSet(reserved(4)), ["10.6.0.1"]);
  });
});
