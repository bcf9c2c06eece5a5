import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeSettings, type SpiderIPPool, spiderIPPools } from "#api";
import { never, silentLogger } from "#base";
import { KeySource, type Store } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { createMetrics } from "../http/metrics.ts";
import { followUses } from "../testing/pool-uses.ts";
import { Judgements } from "./judgements.ts";
import { poolStatusController } from "./status.ts";

const ref = { name: "p" };

/** The controller beside an idle pool. Its store shows the pool as it was when `look` was last called. */
async function setUp() {
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  const spec = { subnet: "172.18.0.0/16", ips: ["172.18.30.131-172.18.30.140"] };
  api.apply<SpiderIPPool>(spiderIPPools, { metadata: ref, spec });
  const followed = await followUses(api, { clock, coolDownMs: 0 });
  const { client, uses } = followed;
  let seen: SpiderIPPool | undefined;
  const metrics = createMetrics();
  const { reconcile } = poolStatusController(
    { client, clock, log: silentLogger, events: { record: () => {} }, metrics, settings: decodeSettings("").settings },
    {
      pools: { get: () => seen } as unknown as Store<SpiderIPPool>,
      uses,
      judgements: new Judgements(),
      agents: () => 1,
      epoch: { isComplete: true, source: () => new KeySource() },
      listed: 10,
    },
  );
  const look = () => {
    seen = api.read(spiderIPPools, ref);
  };
  look();
  return {
    look,
    /** A look at the pool after the pause that follows a write. */
    reconcile: async () => {
      await clock.advance(5_000);
      await reconcile("p", { signal: never }).catch(() => {});
    },
    forge: () =>
      client.patch(
        spiderIPPools,
        ref,
        { kind: "merge", body: { status: { allocatedIPCount: 7 } } },
        { signal: never, subresource: "status" },
      ),
    faults: async () => Number(/faults_total{kind="view-differs"[^}]*} (\d+)/.exec(await metrics.text())?.[1]),
    [Symbol.asyncDispose]: () => followed[Symbol.asyncDispose](),
  };
}

describe("a status that somebody else wrote", () => {
  it("is counted as a fault", async () => {
    await using pool = await setUp();
    await pool.reconcile();
    pool.look();
    await pool.reconcile();
    await pool.forge();
    pool.look();
    await pool.reconcile();
    assert.equal(await pool.faults(), 1);
  });

  it("is counted too if it came before the watch showed our own", async () => {
    await using pool = await setUp();
    await pool.reconcile();
    await pool.forge();
    pool.look();
    await pool.reconcile();
    assert.equal(await pool.faults(), 1);
  });

  it("is not what a watch that is late still shows", async () => {
    await using pool = await setUp();
    await pool.reconcile();
    await pool.reconcile();
    pool.look();
    await pool.reconcile();
    assert.equal(await pool.faults(), 0);
  });
});
