import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Family, formatIp, formatIpSet, type Ip, IpSet, ipFromValue, parseIpSet } from "#ip";
import type { Claim } from "../claims/claim.ts";
import { snapshotOf } from "../node/snapshot.ts";
import type { Grants } from "./grants.ts";
import { poolStatus, poolUsage, setAsideOf } from "./views.ts";

const metadata = { name: "p", uid: "u", resourceVersion: "1" };
const pool = { name: "p", uid: "u", generation: 1 };
const setOf = (family: Family, values: readonly number[]) =>
  IpSet.ofIps(
    family,
    values.map((value): Ip => ipFromValue(family, BigInt(value))),
  );
const usageOf = (set: IpSet, used: IpSet, reserved: IpSet, grants: Grants = new Map()) =>
  poolUsage(
    { ...pool, set },
    { used, nodes: [], aside: [] },
    { reserved, cooling: IpSet.empty(4), grants, epoch: 1, now: new Date("2026-01-01T00:00:00Z") },
  );

function claim(value: number, spec: object): Claim {
  const ip = ipFromValue(4, BigInt(0x0a060000 + value));
  const held = { purpose: "Sticky", poolUID: "u", podNamespace: "ns", podUID: `u${value}`, ...spec };
  return { name: formatIp(ip), ip, uid: "", resourceVersion: "", spec: held as unknown as Claim["spec"] };
}

describe("poolStatus()", () => {
  it("records Pods in the order of their addresses' text, a virtual machine by its own name", () => {
    const machine = "kubevirt.io/v1/VirtualMachineInstance/ns/vm";
    const claims = [
      claim(2, { podName: "virt-launcher-vm-x7k2p", owner: machine }),
      claim(10, { podName: "web-0", owner: "apps/v1/StatefulSet/ns/web" }),
      claim(1, { podName: "app", purpose: "Pod" }),
    ];
    assert.equal(
      poolStatus({ ...pool, set: parseIpSet(["10.6.0.1-10.6.0.20"], 4) }, { claims }).allocatedIPs,
      '{"10.6.0.1":{"pod":"ns/app","podUid":"u1"},"10.6.0.10":{"pod":"ns/web-0","podUid":"u10"},"10.6.0.2":{"pod":"ns/vm","podUid":"u2"}}',
    );
  });
});

describe("setAsideOf()", () => {
  it("counts what is held and in quarantine among the allowed addresses, and says which quarantine ends first", () => {
    const quarantine = (until: string) => ({ purpose: "Quarantine", until });
    const claims = [
      claim(1, quarantine("2026-01-01T00:10:00.000Z")),
      claim(2, quarantine("2026-01-01T00:05:00Z")),
      claim(3, { purpose: "Hold", until: "2026-01-01T00:01:00Z" }),
      claim(4, { purpose: "Pod" }),
      claim(30, quarantine("2026-01-01T00:00:00Z")),
    ];
    assert.deepEqual(setAsideOf(claims, parseIpSet(["10.6.0.1-10.6.0.20"], 4)), {
      quarantined: 2,
      quarantinedUntil: "2026-01-01T00:05:00Z",
      held: 1,
    });
  });
});

describe("poolUsage()", () => {
  it("counts exactly, and lists exactly what fits", () => {
    const some = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 300 });
    fc.assert(
      fc.property(some, some, some, (all, taken, kept) => {
        const [set, used, reserved] = [setOf(4, all), setOf(4, taken), setOf(4, kept)];
        const usage = usageOf(set, used, reserved);
        assert.equal(BigInt(usage.free), set.subtract(used).subtract(reserved).size);
        assert.ok(parseIpSet(usage.used ?? [], 4).equals(used));
      }),
    );
  });

  it("tells each node what is granted to it, and what to the others", () => {
    const grants = new Map([
      ["n1", parseIpSet(["10.6.0.1-10.6.0.2", "10.6.0.7"], 4)],
      ["n2", parseIpSet(["10.6.0.3-10.6.0.4"], 4)],
    ]);
    const spec = usageOf(parseIpSet(["10.6.0.0-10.6.0.9"], 4), IpSet.empty(4), IpSet.empty(4), grants);
    const grantedTo = (node: string) => {
      const { own, others } = snapshotOf({ metadata, spec }, 4, node).granted ?? assert.fail("nothing is granted");
      return [formatIpSet(own), formatIpSet(others)];
    };
    assert.deepEqual(grantedTo("n1"), [["10.6.0.1-10.6.0.2", "10.6.0.7"], ["10.6.0.3-10.6.0.4"]]);
    assert.deepEqual(grantedTo("n3"), [[], ["10.6.0.1-10.6.0.4", "10.6.0.7"]]);
  });

  it("of a set in too many pieces lists the largest ones, within 256 KB, and still counts exactly", () => {
    // 30,000 single addresses and one large range at the very end.
    const values = Array.from({ length: 30_000 }, (_, at) => at * 2);
    const large = parseIpSet(["200.0.0.0-200.0.255.255"], 4);
    const used = setOf(4, values).union(large);
    const set = parseIpSet(["0.0.0.0-255.255.255.254"], 4);
    const usage = usageOf(set, used, IpSet.empty(4));
    assert.equal(BigInt(usage.free), set.size - used.size);
    assert.ok(JSON.stringify(usage.used).length <= 256 * 1_024);
    const listed = parseIpSet(usage.used ?? [], 4);
    assert.ok(listed.subtract(used).isEmpty && large.subtract(listed).isEmpty && listed.size < used.size);
  });
});
