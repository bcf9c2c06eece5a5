import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Ipam } from "#cni";
import { formatIp, formatPrefix, parsePrefix } from "#ip";
import { isolated } from "../../linux/testing/isolated.ts";
import { derivedMac } from "../names.ts";
import { startOvsNode } from "../testing/ovs-node.ts";
import { patience, shortPatience } from "../testing/patience.ts";
import { StubIpam } from "../testing/stub-ipam.ts";
import { type OvsPod, ovsPods } from "./testing/pods.ts";

if (isolated(import.meta.url)) {
  const node = startOvsNode();
  const { ovs } = node;
  const { pod, assertNothingLeft } = ovsPods(node);
  after(() => node[Symbol.asyncDispose]());

  describe("the ovs plugin with detection of conflicts and gateways", { timeout: 240_000 }, () => {
    const detection = { ...patience, conflicts: true, gateways: true };
    let rival: OvsPod;
    /** A foreign host of the network, which is also its gateway. */
    before(async () => {
      rival = pod({ vlan: 20, args: { cni: { mac: "0a:58:0a:0a:00:01" } } });
      await rival.add();
      for (const address of ["10.10.0.1/24", "10.10.0.5/24", "fd00::1/64", "fd00::5/64"]) {
        rival.inside("ip", "addr", "add", address, "dev", "net1", ...(address.startsWith("fd") ? ["nodad"] : []));
      }
    });
    after(() => rival.del());

    it("takes the next address where somebody answers for one, in either family, within the same ADD", async () => {
      for (const [taken, next] of [
        [
          ["10.10.0.5/24", "fd00::6/64"],
          ["10.10.0.7/24", "fd00::6/64"],
        ],
        [
          ["10.10.0.6/24", "fd00::5/64"],
          ["10.10.0.6/24", "fd00::7/64"],
        ],
        [
          ["10.10.0.6/24", "fd00::6/64"],
          ["10.10.0.6/24", "fd00::6/64"],
        ],
      ] as const) {
        const ipam = new StubIpam(taken);
        const conflicts: string[] = [];
        const replace: Ipam["replace"] = async (attachment, { ip, mac }, steps) => {
          conflicts.push(`${formatIp(ip)} ${mac}`);
          await ipam.release(attachment);
          return new StubIpam(next).allocate(attachment, steps);
        };
        Object.assign(ipam, { replace });
        const one = pod({ vlan: 20 }, ipam, ovs, detection);
        const result = await one.add();
        const expected = taken.filter((address) => /5\//.test(address)).map((address) => address.replace(/\/.*/, ""));
        assert.deepEqual(
          conflicts,
          expected.map((address) => `${address} 0a:58:0a:0a:00:01`),
        );
        assert.deepEqual(
          result.ips.map(({ address }) => formatPrefix(address)),
          next,
        );
        // As if nobody had asked: one MAC address that follows from the address, one link-local address from that.
        const mac = derivedMac(parsePrefix(next[0]).ip);
        const shown = one.inside("ip", "addr", "show", "net1");
        assert.ok(shown.includes(mac), shown);
        assert.equal(shown.match(/inet6 fe80/g)?.length, 1);
        assert.match(shown, /inet6 fe80::858:aff:fe0a:[67]\/64/);
        one.inside("ping", "-c", "1", "-i", "0.2", "-w", "60", "10.10.0.1");
        one.inside("ping", "-c", "1", "-i", "0.2", "-w", "60", "fd00::1");
        await one.check(result);
        await one.del();
        await assertNothingLeft(one);
      }
    });

    it("says who has the address where there is no other, or where one after the other is taken, and leaves nothing", async () => {
      const text =
        "ip conflict: pod's interface net1 with an conflicting ip 10.10.0.5, 10.10.0.5 is located at 0a:58:0a:0a:00:01";
      for (const more of [0, 4]) {
        const ipam = new StubIpam(["10.10.0.5/24"]);
        let replaced = 0;
        const replace: Ipam["replace"] = (attachment, _conflict, steps) => {
          replaced += 1;
          return ipam.allocate(attachment, steps);
        };
        if (more > 0) Object.assign(ipam, { replace });
        const one = pod({ vlan: 20 }, ipam, ovs, detection);
        await assert.rejects(one.add(), { message: text });
        assert.equal(replaced, more);
        assert.equal(ipam.held.size, 0);
        await assertNothingLeft(one);
      }
    });

    it("says which gateway does not answer, and leaves nothing", async () => {
      const ipam = new StubIpam(["10.10.0.6/24"]);
      const one = pod({ vlan: 21 }, ipam, ovs, { ...shortPatience, conflicts: false, gateways: true });
      await assert.rejects(one.add(), { message: "gateway 10.10.0.1 is unreachable" });
      assert.equal(ipam.held.size, 0);
      await assertNothingLeft(one);
      const six = pod({ vlan: 21 }, new StubIpam(["fd00::6/64"]), ovs, { ...detection, ...shortPatience });
      await assert.rejects(six.add(), { message: "gateway fd00::1 is unreachable" });
      await assertNothingLeft(six);
    });
  });
}
