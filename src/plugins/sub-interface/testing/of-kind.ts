import assert from "node:assert/strict";
import { it } from "node:test";
import type { SpiderError } from "#base";
import { CniError, type CniResult, emptyResult, type Ipam } from "#cni";
import { parsePrefix } from "#ip";
import { StubIpam } from "../../testing/stub-ipam.ts";
import { bytesOverTcp, inside, ping, tcpBytes } from "../../testing/traffic.ts";
import { both, type Kind, type SubInterfacePods } from "./pods.ts";

interface Segment {
  /** The parent on the node. */
  readonly parent: string;
  /** The namespace of the gateway, 10.10.0.1 and fd00::1. */
  readonly gatewayNetns: string;
}

/** The tests that one kind, or two, have beside those of all. To be called within the suite of the kind. */
export function testsOfKind(kind: Kind, { parent, gatewayNetns }: Segment, pods: SubInterfacePods): void {
  const { host, pod, assertNothingLeft } = pods;
  if (kind !== "vlan") {
    it("carries ping and TCP between two Pods of one parent", async () => {
      const [a, b] = [
        pod(kind, {}, { ipam: new StubIpam(both) }),
        pod(kind, {}, { ipam: new StubIpam(["10.10.0.6/24", "fd00::6/64"]) }),
      ];
      await Promise.all([a.add(), b.add()]);
      for (const address of ["10.10.0.6", "fd00::6"]) {
        ping(a.netns, address);
        assert.equal(await bytesOverTcp(b.netns, a.netns, address), tcpBytes);
      }
      await Promise.all([a.del(), b.del()]);
    });
  }

  if (kind === "macvlan") {
    it("says that another Pod on the parent has the MAC address, and leaves nothing", async () => {
      const one = pod(kind, {}, { ipam: new StubIpam(both) });
      const same = pod(kind, {}, { with: one });
      await one.add();
      await assert.rejects(same.add(), { code: "MAC_TAKEN" });
      await assertNothingLeft(same);
      await one.del();
      // Nobody answers for the address any more, and the link that the kernel is still deleting is waited for.
      assert.doesNotMatch(one.inside("ip", "addr", "show"), /10\.10\.0\.5|fd00::5/);
      await same.add();
      ping(same.netns, "10.10.0.1");
      await same.del();
      await assertNothingLeft(one);
    });

    it("names the interface of the node that has the MAC address, also where it is the parent", async () => {
      const mac = host.rtnl.link(parent)?.mac ?? "";
      const one = pod(kind, { mac }, { ipam: new StubIpam(both) });
      await assert.rejects(one.add(), ({ code, details }: SpiderError) => {
        assert.deepEqual([code, details["holder"]], ["MAC_TAKEN", `the interface ${parent}`]);
        return true;
      });
      await assertNothingLeft(one);
    });

    it("has the mode, and the MAC address by arguments before configuration, that are asked for", async () => {
      for (const mode of ["bridge", "private", "vepa", "passthru"]) {
        const one = pod(kind, { mode, mac: "02:00:00:00:00:0A" }, { ipam: new StubIpam(both) });
        if (mode === "private") (one.attachment.args as Map<string, string>).set("MAC", "02:00:00:00:00:0B");
        const result = await one.add();
        assert.equal(result.interfaces[0]?.mac, mode === "private" ? "02:00:00:00:00:0b" : "02:00:00:00:00:0a");
        assert.match(one.inside("ip", "-d", "link", "show", "net1"), new RegExp(`macvlan mode ${mode}`));
        ping(one.netns, "10.10.0.1");
        await one.check(result);
        await one.del();
        await assertNothingLeft(one);
      }
    });

    it("keeps Pods in private mode apart", async () => {
      const [a, b] = [
        pod(kind, { mode: "private" }, { ipam: new StubIpam(both) }),
        pod(kind, { mode: "private" }, { ipam: new StubIpam(["10.10.0.6/24"]) }),
      ];
      await Promise.all([a.add(), b.add()]);
      assert.throws(() => a.inside("ping", "-c", "1", "-W", "1", "10.10.0.6"));
      await Promise.all([a.del(), b.del()]);
    });

    it("works without addresses, and says what uses a parent that it cannot have", async () => {
      const one = pod(kind, {});
      const result = await one.add();
      assert.deepEqual(result.ips, []);
      assert.match(one.inside("ip", "addr", "show", "net1"), /[<,]UP[,>]/);
      await one.check(result);
      const passing = pod(kind, { mode: "passthru" });
      await assert.rejects(passing.add(), { code: "PARENT_BUSY" });
      await one.del();
      await assertNothingLeft(one);

      host.rtnl.createLink({ name: "bridge0", kind: { kind: "bridge" }, up: true });
      host.rtnl.createVeth({ name: "port0", up: true, peer: { name: "port1" } });
      host.rtnl.setLink("port0", { master: "bridge0" });
      const busy = pod(kind, { master: "port0" });
      await assert.rejects(busy.add(), (error) => {
        assert.match(CniError.from(error).text, /used by bridge0, whose port it is/);
        return true;
      });
      await assertNothingLeft(busy);
      for (const name of ["bridge0", "port0"]) host.rtnl.deleteLink(name);
    });
  }

  if (kind === "ipvlan") {
    it("routes in the modes l3 and l3s, and CHECK knows the mode", async () => {
      for (const mode of ["l3", "l3s"]) {
        const ipam = new StubIpam(["10.12.0.5/32"]);
        const allocate: Ipam["allocate"] = async (attachment, steps) => {
          const result = await StubIpam.prototype.allocate.call(ipam, attachment, steps);
          return { ...result, ips: result.ips.map(({ address }) => ({ address })), routes: [] };
        };
        const detection = { conflicts: true, gateways: true };
        const one = pod(
          kind,
          { mode },
          { ipam: { allocate, release: () => Promise.resolve(), check: () => Promise.resolve() }, detection },
        );
        const result = await one.add();
        assert.match(one.inside("ip", "-d", "link", "show", "net1"), new RegExp(`ipvlan +mode ${mode} `));
        one.inside("ip", "route", "add", "10.10.0.0/24", "dev", "net1");
        inside(gatewayNetns, "ip", "route", "add", "10.12.0.5/32", "via", "10.10.0.9");
        host.rtnl.addAddress(parent, parsePrefix("10.10.0.9/24"));
        ping(one.netns, "10.10.0.1");
        await one.check(result);
        await one.del();
        await assertNothingLeft(one);
        host.rtnl.deleteAddress(parent, parsePrefix("10.10.0.9/24"));
        inside(gatewayNetns, "ip", "route", "del", "10.12.0.5/32");
      }
    });

    it("refuses another mode than Pods on the same parent have", async () => {
      const attached = [
        { type: "ipvlan", master: "ipvlan0", mode: "l2" },
        { type: "macvlan", master: "ipvlan0" },
      ];
      const one = pod(kind, { mode: "l3" }, { ipam: new StubIpam(both), attached });
      await assert.rejects(one.add(), (error) => {
        assert.match(CniError.from(error).text, /field mode, value l3, allowed l2, which Pods on this `master` have/);
        return true;
      });
      await assertNothingLeft(one);
      const same = pod(kind, {}, { ipam: new StubIpam(both), attached: [{ type: "ipvlan", master: "ipvlan0" }] });
      await same.add();
      await same.del();
    });

    it("takes addresses over from a plugin before it, and refuses to be without any or with a MAC address", async () => {
      const given: CniResult = {
        ...emptyResult,
        interfaces: [{ name: "other" }],
        ips: [{ address: parsePrefix("10.10.0.7/24") }],
      };
      const one = pod(kind, {});
      const result = await one.add(undefined, { prevResult: given });
      assert.deepEqual(result.interfaces[0], { name: "other" });
      assert.equal(result.ips[0]?.interface, 1);
      ping(one.netns, "10.10.0.1");
      await one.check(result);
      await one.del();
      await assertNothingLeft(one);
      await assert.rejects(one.add(), { cniCode: 7 });
      await assert.rejects(one.add(undefined, { prevResult: emptyResult }), { cniCode: 7 });
      await assertNothingLeft(one);
      assert.throws(() => pod(kind, { mac: "02:00:00:00:00:01" }).check(result), { cniCode: 2 });
    });
  }

  if (kind === "vlan") {
    it("keeps VLANs apart and makes one interface for each", async () => {
      const other = pod(kind, { vlanId: 11 }, { ipam: new StubIpam(["10.10.0.6/24"]) });
      const one = pod(kind, { mac: "02:00:00:00:00:0A" }, { ipam: new StubIpam(both) });
      const [result] = await Promise.all([one.add(), other.add()]);
      assert.equal(result.interfaces[0]?.mac, "02:00:00:00:00:0a");
      ping(one.netns, "10.10.0.1");
      assert.throws(() => other.inside("ping", "-c", "1", "-W", "1", "10.10.0.1"));
      const third = pod(kind, {}, { ipam: new StubIpam(["10.10.0.7/24"]) });
      await assert.rejects(third.add(), { code: "VLAN_TAKEN", message: /VLAN 10 of vlan0 .* another Pod/ });
      await assertNothingLeft(third);
      await Promise.all([one.del(), other.del()]);
      // It is free at once: DEL has waited for the deletion.
      await third.add();
      await third.del();
      host.rtnl.createLink({ name: "vlan0.10", kind: { kind: "vlan", parent, id: 10 } });
      await assert.rejects(third.add(), { code: "VLAN_TAKEN", message: /the interface vlan0\.10/ });
      host.rtnl.deleteLink("vlan0.10");
    });
  }
}
