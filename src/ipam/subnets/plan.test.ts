import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { effectiveSet, labels, parseControlledIPPools, type SpiderIPPool, type SpiderSubnet } from "#api";
import { formatIp, formatIpSet, type Ip, IpSet, parseIp, parseIpSet } from "#ip";
import type { Demand } from "./demands.ts";
import { planSubnet, type SubnetPlan } from "./plan.ts";

interface Wish {
  readonly size: number;
  readonly reclaim: boolean;
  readonly uid: string;
}

/** One subnet of 24 addresses, its pools and their claims: what the API server holds, and what the planner is shown. */
class World {
  subnet: SpiderSubnet = {
    metadata: { name: "s", uid: "s", resourceVersion: "1" },
    spec: { ipVersion: 4, subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.33"] },
  };
  readonly pools = new Map<string, SpiderIPPool>();
  /** Address → pool; for Pods and for holds. */
  readonly claimed = new Map<string, string>();
  readonly held = new Map<string, string>();
  readonly wishes = new Map<string, Wish>();
  #uids = 0;

  wish(name: string, size: number, reclaim: boolean): void {
    const uid = this.wishes.get(name)?.uid ?? `${++this.#uids}`.padStart(5, "0");
    this.wishes.set(name, { size, reclaim, uid });
  }

  plan(): SubnetPlan {
    const setOf = (claims: ReadonlyMap<string, string>, { metadata }: SpiderIPPool) =>
      IpSet.ofIps(
        4,
        [...claims].filter(([, pool]) => pool === metadata.name).map(([ip]) => parseIp(ip)),
      );
    const owner = { apiGroup: "apps", apiVersion: "v1", kind: "Deployment", namespace: "default", nic: "eth0" };
    const demands = [...this.wishes].map(
      ([name, { size, reclaim, uid }]): Demand => ({
        owner: { ...owner, name, uid, family: 4 },
        subnet: "s",
        size,
        reclaim,
        ipNumber: `${size}`,
      }),
    );
    const uids = new Set([...this.wishes.values()].map(({ uid }) => uid));
    const plan = planSubnet({
      subnet: this.subnet,
      demands,
      pools: [...this.pools.values()],
      isTaken: (name) => this.pools.has(name),
      useOf: (pool) => ({ claimed: setOf(this.claimed, pool), held: setOf(this.held, pool) }),
      ownerOf: ({ metadata }) => (uids.has(metadata.labels?.[labels.ownerApplicationUid] ?? "") ? "lives" : "gone"),
      reserved: parseIpSet(["10.6.0.12"], 4),
    });
    return plan ?? assert.fail("no plan");
  }

  /** Does those actions of the plan whose bit is set, the others fail; returns whether there was nothing to do. */
  step(done = -1): boolean {
    const { controlled, actions } = this.plan();
    const text = Object.keys(controlled).length === 0 ? undefined : JSON.stringify(controlled);
    if (text !== this.subnet.status?.controlledIPPools) {
      this.subnet = { ...this.subnet, status: text === undefined ? {} : { controlledIPPools: text } };
      return false;
    }
    for (const action of actions.filter((_, index) => (done >> index) & 1)) {
      const name = action.kind === "create" ? (action.draft.metadata.name ?? "") : action.pool.metadata.name;
      switch (action.kind) {
        case "create":
        case "update": {
          const metadata = { uid: name, resourceVersion: "1", ...action.draft.metadata, name };
          assert.equal(action.kind === "create", !this.pools.has(name));
          this.#put({ metadata, spec: action.draft.spec });
          break;
        }
        case "hold":
          for (const ip of membersOf(action.ips)) if (!this.claimed.has(ip)) this.held.set(ip, name);
          break;
        case "unhold":
          for (const ip of membersOf(action.ips)) this.held.delete(ip);
          break;
        case "delete":
          this.pools.set(name, { ...action.pool, metadata: { ...action.pool.metadata, deletionTimestamp: "now" } });
      }
    }
    return actions.length === 0;
  }

  /** What admission says of every pool: inside its part, and apart from all others. */
  #put(pool: SpiderIPPool): void {
    const set = setOfPool(pool);
    const given = parseControlledIPPools(this.subnet.status?.controlledIPPools)?.[pool.metadata.name]?.ips ?? [];
    assert.deepEqual(formatIpSet(set), given, `${pool.metadata.name} is not what the subnet gave it`);
    for (const other of this.pools.values()) {
      if (other.metadata.name !== pool.metadata.name) assert.equal(setOfPool(other).overlaps(set), false);
    }
    this.pools.set(pool.metadata.name, pool);
  }

  /** A Pod of some application gets an address of a pool that is there. */
  claim(at: number): void {
    const open = [...this.pools.values()].filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    const pool = open[at % open.length];
    if (pool === undefined) return;
    const free = membersOf(setOfPool(pool)).filter((ip) => !this.claimed.has(ip) && !this.held.has(ip));
    const ip = free[at % free.length];
    if (ip !== undefined) this.claimed.set(ip, pool.metadata.name);
  }

  release(at: number): void {
    const ip = [...this.claimed.keys()][at % this.claimed.size];
    if (ip !== undefined) this.claimed.delete(ip);
  }

  /** Pools that were deleted go when nobody has an address of them. */
  drain(): void {
    for (const [name, { metadata }] of this.pools) {
      const isUsed = [...this.claimed.values(), ...this.held.values()].includes(name);
      if (metadata.deletionTimestamp !== undefined && !isUsed) this.pools.delete(name);
    }
  }

  /** Until there is nothing to do any more. */
  settle(): void {
    for (let turn = 0; turn < 100; turn++) {
      this.drain();
      if (this.step()) return;
    }
    assert.fail("it never comes to rest");
  }

  /** At rest each application has its size, unless the subnet lacks addresses or more Pods than that have one. */
  checkSizes(): void {
    const { unmet } = this.plan();
    for (const [name, { uid, size }] of this.wishes) {
      if (unmet.some(({ demand }) => demand.owner.name === name)) continue;
      const pool = [...this.pools.values()].find(
        ({ metadata }) => metadata.labels?.[labels.ownerApplicationUid] === uid,
      );
      const used = [...this.claimed.values()].filter((of) => of === pool?.metadata.name).length;
      const found = pool && Number(setOfPool(pool).size);
      if (used <= size) assert.equal(found, size, `the pool of ${name}`);
    }
  }

  check(): void {
    const parts = Object.entries(parseControlledIPPools(this.subnet.status?.controlledIPPools) ?? {});
    const sizes = parts.reduce((sum, [, { ips }]) => sum + parseIpSet(ips, 4).size, 0n);
    const all = parseIpSet(
      parts.flatMap(([, { ips }]) => ips),
      4,
    );
    assert.equal(all.size, sizes, "an address is given to two pools");
    for (const [ip, name] of this.claimed) {
      const pool = this.pools.get(name);
      assert.ok(pool !== undefined && setOfPool(pool).contains(parseIp(ip)), `${ip} is no longer in ${name}`);
    }
  }
}

function setOfPool({ spec }: SpiderIPPool): IpSet {
  return effectiveSet(spec, 4) ?? assert.fail("a broken pool");
}

function membersOf(set: IpSet): readonly string[] {
  return Array.from({ length: Number(set.size) }, (_, at) => formatIp(set.nth(BigInt(at)) as Ip));
}

const app = fc.constantFrom("a", "b", "c");
const at = fc.nat(20);
const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wish" as const), app, size: fc.nat(12), reclaim: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("forget" as const), app }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("expire" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("claim" as const), at }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), at }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("step" as const), done: fc.constant(-1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("step" as const), done: fc.nat(15) }) },
);

function run(operations: readonly (typeof operation extends fc.Arbitrary<infer T> ? T : never)[]): World {
  const world = new World();
  for (const one of operations) {
    if (one.do === "wish") world.wish(one.app, one.size, one.reclaim);
    else if (one.do === "forget") world.wishes.delete(one.app);
    else if (one.do === "expire") world.held.clear();
    else if (one.do === "step") world.step(one.done);
    else world[one.do](one.at);
    world.drain();
    world.check();
  }
  return world;
}

describe("planSubnet()", () => {
  it("never gives an address twice, takes none from a Pod, and comes to rest with every size, from any history", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const world = run(operations);
        world.settle();
        world.check();
        world.checkSizes();
        world.claimed.clear();
        world.settle();
        world.check();
        world.checkSizes();
        assert.equal(world.held.size, 0);
      }),
      { numRuns: 1_000 },
    );
  });

  it("gives a range to nobody before the pool that is to lose it has lost it", () => {
    const world = new World();
    world.wish("b", 20, true);
    world.settle();
    world.wish("a", 16, true);
    world.wish("b", 4, true);
    world.settle();
    world.checkSizes();
    assert.deepEqual(world.plan().unmet, []);
  });

  it("leaves an address with the Pod that got it when the holds were over too early", () => {
    const world = new World();
    world.wish("a", 4, true);
    world.settle();
    world.wish("a", 2, true);
    world.step(); // the holds
    world.step(); // the part
    world.held.clear();
    world.claim(0);
    world.settle();
    world.check();
    world.checkSizes();
  });

  it("free count returns to the initial value after churn", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const world = run(operations);
        world.wishes.clear();
        world.claimed.clear();
        // What was to outlive its application is let go by hand.
        for (const pool of world.pools.values()) {
          const of = { ...pool.metadata.labels, [labels.poolReclaim]: "true" };
          world.pools.set(pool.metadata.name, { ...pool, metadata: { ...pool.metadata, labels: of } });
        }
        world.settle();
        const { controlled, allocated, total } = world.plan();
        assert.deepEqual([controlled, allocated, total, world.pools.size, world.held.size], [{}, 0n, 24n, 0, 0]);
      }),
      { numRuns: 1_000 },
    );
  });
});
