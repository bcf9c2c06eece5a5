import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never } from "#base";
import { apiRoutes } from "./api.ts";

const candidate = { ip: "10.0.0.1", pool: "p", action: "release", why: "w", evidence: ["e"] } as const;
const counts = { total: 10, free: 6, used: 1, reserved: 2, cooling: 1, quarantined: 1 };

function served({ leads = true } = {}) {
  let rescans = 0;
  const collector = {
    rescan: () => {
      rescans += 1;
    },
    candidates: async () => [candidate],
  };
  const routes = apiRoutes({
    collector: () => (leads ? collector : undefined),
    pools: () => ({ p: counts }),
    identity: "controller-a",
    epoch: () => (leads ? 7 : undefined),
  });
  const call = (path: string, body = "") => routes[path]?.answer(body, { signal: never });
  return { routes, call, rescans: () => rescans };
}

describe("the controller's API", () => {
  it("tells the pools' counts and whether this replica leads, under both paths", async () => {
    for (const path of ["/ipam/status", "/v1/ipam/status"]) {
      const body = { identity: "controller-a", leaderEpoch: 7, pools: { p: counts } };
      assert.deepEqual(await served().call(path), { status: 200, body });
    }
    assert.deepEqual((await served({ leads: false }).call("/v1/ipam/status"))?.body, {
      identity: "controller-a",
      leaderEpoch: null,
      pools: { p: counts },
    });
  });

  it("lists what the collector would do, and makes it look again unless it is a dry run", async () => {
    const { call, rescans } = served();
    const dry = await call("/v1/ipam/gc_ips", '{"dryRun":true}');
    assert.deepEqual([dry, rescans()], [{ status: 200, body: { dryRun: true, candidates: [candidate] } }, 0]);
    assert.equal((await call("/v1/ipam/gc_ips"))?.status, 200);
    assert.equal(rescans(), 1);
  });

  it("refuses what it does not know, where it does not lead, and to claim addresses", async () => {
    const { call, rescans } = served();
    for (const body of ["[]", "null", '{"dryRun":1}', '{"force":true}', "{"]) {
      assert.equal((await call("/v1/ipam/gc_ips", body))?.status, 400, body);
    }
    assert.equal(rescans(), 0);
    assert.equal((await served({ leads: false }).call("/v1/ipam/gc_ips"))?.status, 503);
    assert.deepEqual((await call("/v1/ipam/ip"))?.status, 501);
  });
});
