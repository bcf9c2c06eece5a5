import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode } from "#base";
import { formatIpSet, formatPrefix } from "#ip";
import { type PoolObject, poolView } from "./pool.ts";

function pool(spec: Partial<PoolObject["spec"]>, metadata: PoolObject["metadata"] = {}): PoolObject {
  return { metadata: { name: "p", uid: "u", generation: 3, ...metadata }, spec: { subnet: "10.6.0.0/16", ...spec } };
}

describe("poolView()", () => {
  it("gives what the pool may hand out, and defaults for all that is absent", () => {
    const view = poolView(pool({ ips: ["10.6.1.1-10.6.1.9"], excludeIPs: ["10.6.1.4-10.6.1.5"], gateway: "10.6.1.5" }));
    assert.deepEqual(formatIpSet(view.set), ["10.6.1.1-10.6.1.3", "10.6.1.6-10.6.1.9"]);
    assert.deepEqual(
      [view.family, view.generation, view.default, view.disable, view.terminating, view.auto, view.multusName],
      [4, 3, false, false, false, false, []],
    );
    assert.equal(poolView(pool({})).set.isEmpty, true);
    // The kernel refuses a route with host bits.
    const [route] = poolView(pool({ routes: [{ dst: "10.9.8.7/16", gw: "10.6.0.1" }] })).routes;
    assert.equal(route && formatPrefix(route.dst), "10.9.0.0/16");
  });

  it("knows a pool that is being deleted and one that was made for an application", () => {
    const labels = { "ipam.spidernet.io/owner-application-name": "web" };
    const view = poolView(pool({}, { deletionTimestamp: "2026-01-01T00:00:00Z", labels }));
    assert.deepEqual([view.terminating, view.auto], [true, true]);
  });

  it("refuses a broken pool with object, field and value", () => {
    const broken: readonly [Partial<PoolObject["spec"]>, string, RegExp][] = [
      [{ subnet: "10.6.0.0" }, "spec.subnet", /invalid CIDR format/],
      [{ ipVersion: 6 }, "spec.ipVersion", /is IPv4/],
      [{ ips: ["10.6.0.1", "10.6.0.9-10.6.0.2"] }, "spec.ips[1]", /first address is above its last/],
      [{ ips: ["10.7.0.1"] }, "spec.ips[0]", /not inside spec\.subnet/],
      [{ ips: ["10.6.0.1-10.7.0.1"] }, "spec.ips[0]", /not inside spec\.subnet/],
      [{ ips: ["fd00::1"] }, "spec.ips[0]", /invalid IP format in IPv4/],
      [{ excludeIPs: ["10.6.0.0/24"] }, "spec.excludeIPs[0]", /CIDR is not accepted/],
      [{ gateway: "10.7.0.1" }, "spec.gateway", /not inside spec\.subnet/],
      [{ gateway: "10.6.0.1", ips: ["10.6.0.1-10.6.0.9"] }, "spec.gateway", /add it to spec\.excludeIPs/],
      [{ routes: [{ dst: "10.9.0.0/16", gw: "10.7.0.1" }] }, "spec.routes[0].gw", /not inside spec\.subnet/],
      [{ routes: [{ dst: "fd00::/8", gw: "10.6.0.1" }] }, "spec.routes[0].dst", /invalid CIDR format in IPv4/],
    ];
    for (const [spec, field, message] of broken) {
      assert.throws(
        () => poolView(pool(spec)),
        (error) => {
          assert.ok(hasCode(error, "BROKEN_POOL"));
          const { pool: object, field: path } = error.details;
          assert.deepEqual([object, path], ["p", field]);
          assert.match(error.message, /^SpiderIPPool p cannot be used, spec\./);
          assert.match(error.message, message);
          return true;
        },
      );
    }
  });

  it("decodes a /10 and a /64 at once", () => {
    assert.equal(
      poolView(pool({ subnet: "10.64.0.0/10", ips: ["10.64.0.1-10.127.255.254"], excludeIPs: ["10.65.0.0-10.66.0.0"] }))
        .set.size,
      4194302n - 65537n,
    );
    assert.equal(
      poolView(pool({ subnet: "fd00::/64", ips: ["fd00::1-fd00::ffff:ffff:ffff:ffff"] })).set.size,
      (1n << 64n) - 1n,
    );
  });
});
