import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type SpiderIPAddress, type SpiderIPPool, spiderIPAddresses, spiderIPPools } from "#api";
import { never, silentLogger } from "#base";
import { formatIpSet, IpSet, parseIp } from "#ip";
import { KubeClient, WatchedStore } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { followUses } from "../testing/pool-uses.ts";
import { trimClaim } from "./kept-claim.ts";
import { PoolUses } from "./uses.ts";

type Step =
  | { readonly kind: "claim"; readonly last: number; readonly pool: string }
  | { readonly kind: "release"; readonly last: number }
  | { readonly kind: "edit"; readonly last: number; readonly pool: string }
  | { readonly kind: "pool"; readonly name: string; readonly from: number; readonly size: number }
  | { readonly kind: "remove pool"; readonly name: string };

const last = fc.integer({ min: 1, max: 12 });
const name = fc.constantFrom("a", "b");
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("claim" as const), last, pool: name }),
    fc.record({ kind: fc.constant("release" as const), last }),
    fc.record({ kind: fc.constant("edit" as const), last, pool: name }),
    fc.record({ kind: fc.constant("pool" as const), name, from: last, size: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ kind: fc.constant("remove pool" as const), name }),
  ),
  { maxLength: 25 },
);

function apply(api: FakeApi, step: Step): void {
  const ip = "last" in step ? `10.0.0.${step.last}` : "";
  switch (step.kind) {
    case "claim": {
      if (api.read(spiderIPAddresses, { name: ip }) !== undefined) return;
      const poolUID = api.read(spiderIPPools, { name: step.pool })?.metadata.uid ?? "gone";
      const spec = { format: 1, address: ip, purpose: "Pod", pool: step.pool, poolUID, poolGeneration: 1, node: "n" };
      api.apply<SpiderIPAddress>(spiderIPAddresses, { metadata: { name: ip }, spec });
      return;
    }
    case "release":
      api.remove(spiderIPAddresses, { name: ip });
      return;
    case "edit": {
      const claim = api.read(spiderIPAddresses, { name: ip });
      const pool = api.read(spiderIPPools, { name: step.pool });
      if (claim === undefined || pool === undefined) return;
      const spec = { ...claim.spec, pool: step.pool, poolUID: pool.metadata.uid };
      api.apply<SpiderIPAddress>(spiderIPAddresses, { metadata: { name: ip }, spec });
      return;
    }
    case "pool": {
      const ips = [`10.0.0.${step.from}-10.0.0.${step.from + step.size - 1}`];
      api.apply<SpiderIPPool>(spiderIPPools, { metadata: { name: step.name }, spec: { subnet: "10.0.0.0/24", ips } });
      return;
    }
    case "remove pool":
      api.remove(spiderIPPools, { name: step.name });
  }
}

describe("PoolUses", () => {
  it("knows after any history who has addresses of each pool: by UID, or by address for claims outside their own pool", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (history) => {
        const clock = new ManualClock();
        const api = new FakeApi({ clock });
        await using followed = await followUses(api, { clock, coolDownMs: 30_000 });
        const { uses } = followed;
        for (const step of history) {
          apply(api, step);
          for (let turn = 0; turn < 10; turn++) await clock.advance(0);
          for (const members of uses.list()) void members.used;
        }
        const all = api.all(spiderIPAddresses);
        const sets = new Map(uses.list().map(({ view }) => [view.uid, view.set]));
        for (const { view, used, nodes, claims } of uses.list()) {
          const held = [...claims];
          const ips = held.map(({ ip }) => ip);
          assert.deepEqual(formatIpSet(used), formatIpSet(IpSet.ofIps(4, ips)));
          assert.deepEqual(nodes, ips.length === 0 ? [] : ["n"]);
          const own = ips.filter((ip) => view.set.contains(ip)).length;
          assert.deepEqual(uses.get(view.name)?.held, { used: own, reserved: 0, quarantined: 0 });
          const names = new Set(held.map((claim) => claim.name));
          for (const { metadata, spec } of all) {
            const at = parseIp(metadata.name);
            const stray = sets.get(spec.poolUID)?.contains(at) !== true;
            if (spec.poolUID === view.uid || (stray && view.set.contains(at))) {
              assert.ok(names.delete(metadata.name), `${metadata.name} in ${view.name}`);
            }
          }
          // The remaining claims had their address in two pools for a while, which valid pools never have.
          for (const name of names) assert.ok(all.some(({ metadata }) => metadata.name === name));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("takes pools one after the other beside thousands of claims whose own pool is not known", async () => {
    const api = new FakeApi();
    const count = 1_500;
    for (let at = 0; at < count; at++) {
      const ip = `10.${at >> 8}.${at & 255}.1`;
      const spec = { format: 1, address: ip, purpose: "Pod", pool: "a", poolUID: "gone", poolGeneration: 1, node: "n" };
      api.apply<SpiderIPAddress>(spiderIPAddresses, { metadata: { name: ip }, spec });
      const net = `10.${at >> 8}.${at & 255}`;
      const pool = { subnet: `${net}.0/24`, ips: [`${net}.1-${net}.9`] };
      api.apply<SpiderIPPool>(spiderIPPools, { metadata: { name: `p${at}` }, spec: pool });
    }
    const clock = new ManualClock();
    const options = { client: new KubeClient({ transport: api, clock }), clock, log: silentLogger };
    const pools = new WatchedStore({ ...options, resource: spiderIPPools });
    const claims = new WatchedStore({ ...options, resource: spiderIPAddresses, trim: trimClaim });
    const uses = new PoolUses(pools, claims, { clock, coolDownMs: 0 });
    const stop = new AbortController();
    const running = [claims.run(stop)];
    await claims.synced({ signal: never });
    const { user } = process.cpuUsage();
    running.push(pools.run(stop));
    await pools.synced({ signal: never });
    const tookMs = (process.cpuUsage().user - user) / 1_000;
    assert.ok(uses.list().every(({ held }) => held.used === 1));
    assert.ok(tookMs < 10_000, `${tookMs} ms of the processor`);
    stop.abort();
    await Promise.all(running);
  });
});
