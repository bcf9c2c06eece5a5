import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, afterEach, before, describe, it } from "node:test";
import { type FailPoint, hasCode } from "#base";
import { CniError, decodeResult, encodeResult, type Ipam } from "#cni";
import { formatIp, formatPrefix, parsePrefix } from "#ip";
import { createNetns, deleteNetns, type LinkKind, type Netns, openNetns, readNetnsId } from "#linux";
import { libc } from "../../linux/libc.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { derivedMac, hostLinkName } from "../names.ts";
import { patience, shortPatience } from "../testing/patience.ts";
import { StubIpam } from "../testing/stub-ipam.ts";
import { bytesOverTcp, inside, ping, tcpBytes } from "../testing/traffic.ts";
import { testsOfKind } from "./testing/of-kind.ts";
import { both, type Kind, kinds, subInterfacePods } from "./testing/pods.ts";

if (isolated(import.meta.url)) {
  const made = subInterfacePods();
  const { host, tasks, netnsPaths, pod, assertNothingLeft, has } = made;
  after(() => tasks.stop());

  for (const kind of kinds) {
    const skip = has(kind) ? false : `this kernel has no ${kind}: test/uml.test.ts runs it in one that has`;
    describe(`the ${kind} plugin`, { timeout: 240_000, skip }, () => {
      const parent = `${kind}0`;
      const gatewayNetns = `/run/netns/gateway-${kind}`;
      const gateway: { netns?: Netns } = {};
      /** The gateway's interface on the segment of the Pods. */
      const uplink = kind === "vlan" ? "up.10" : "up";

      before(() => {
        const netns = createNetns(gatewayNetns);
        gateway.netns = netns;
        host.rtnl.createVeth({ name: parent, up: true, peer: { name: "up", netns, up: true } });
        if (kind === "vlan") netns.rtnl.createLink({ name: uplink, kind: { kind, parent: "up", id: 10 }, up: true });
        netns.rtnl.addAddress(uplink, parsePrefix("10.10.0.1/24"));
        netns.rtnl.addAddress(uplink, parsePrefix("fd00::1/64"), { nodad: true });
      });
      // A Pod that a failed test leaves would keep its MAC address from those of the next.
      afterEach(async () => {
        for (const path of netnsPaths) {
          if (readNetnsId(path) === undefined) continue;
          using left = openNetns(path);
          await left.rtnl.deleteLinksLater(["net1"]);
          deleteNetns(path);
        }
        netnsPaths.clear();
      });
      after(() => {
        gateway.netns?.[Symbol.dispose]();
        deleteNetns(gatewayNetns);
      });

      it("gives a Pod addresses, routes, MTU and a MAC address, and takes all back", async (t) => {
        const ipam = new StubIpam(both);
        const one = pod(kind, { mtu: 1400 }, { ipam });
        const { mock: sends } = t.mock.method(libc, "sendto");
        const result = await one.add();
        // Messages to the kernel, two announcements with them.
        assert.ok(sends.callCount() <= 10, String(sends.callCount()));
        const mac = kind === "macvlan" ? "0a:58:0a:0a:00:05" : host.rtnl.link(parent)?.mac;
        assert.deepEqual(result.interfaces, [{ name: "net1", mac, sandbox: one.netns }]);
        assert.deepEqual(
          result.ips.map((ip) => ip.interface),
          [0, 0],
        );
        const shown = one.inside("ip", "addr", "show", "net1");
        assert.match(shown, /[<,]UP[,>].* mtu 1400 /);
        assert.ok(shown.includes(`link/ether ${mac}`), shown);
        assert.match(shown, /inet 10\.10\.0\.5\/24/);
        assert.match(shown, /inet6 fd00::5\/64/);
        assert.match(one.inside("ip", "route"), /default via 10\.10\.0\.1 dev net1/);
        assert.match(one.inside("ip", "-6", "route"), /default via fd00::1 dev net1/);
        assert.equal(one.inside("sysctl", "-n", "net.ipv4.conf.net1.arp_notify").trim(), "1");
        assert.equal(one.inside("sysctl", "-n", "net.ipv6.conf.net1.ndisc_notify").trim(), "1");
        await one.check(result);
        await one.del();
        assert.equal(ipam.held.size, 0);
        await assertNothingLeft(one);
      });

      for (const [family, addresses] of [
        ["IPv4", ["10.10.0.5/24"]],
        ["IPv6", ["fd00::5/64"]],
        ["both families", both],
      ] as const) {
        it(`carries ping, TCP and packets of full size between a Pod and the gateway with ${family}`, async () => {
          const one = pod(kind, {}, { ipam: new StubIpam(addresses) });
          await one.add();
          for (const address of addresses) {
            const [own, peer] = [address.replace(/\/.*/, ""), address.includes(":") ? "fd00::1" : "10.10.0.1"];
            ping(one.netns, peer);
            const full = address.includes(":") ? "1452" : "1472";
            one.inside("ping", "-c", "1", "-i", "0.2", "-w", "60", "-M", "do", "-s", full, peer);
            assert.equal(await bytesOverTcp(gatewayNetns, one.netns, peer), tcpBytes);
            assert.equal(await bytesOverTcp(one.netns, gatewayNetns, own), tcpBytes);
          }
          await one.del();
          await assertNothingLeft(one);
        });
      }

      it("tells the segment at once where the addresses are", async () => {
        const one = pod(kind, {}, { ipam: new StubIpam(both) });
        // The gateway knows other neighbours by these addresses.
        for (const address of ["10.10.0.5", "fd00::5"]) {
          inside(
            gatewayNetns,
            ...("ip neigh replace".split(" ") as [string]),
            address,
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            uplink,
            "nud",
            "stale",
          );
        }
        const result = await one.add();
        const mac = result.interfaces[0]?.mac ?? "";
        const known = inside(gatewayNetns, "ip", "neigh", "show", "dev", uplink);
        assert.match(known, new RegExp(`10\\.10\\.0\\.5 lladdr ${mac}`));
        assert.match(known, new RegExp(`fd00::5 lladdr ${mac}`));
        await one.del();
      });

      it("accepts its result as it travelled in the oldest version, and deletes twice, without a namespace and after it", async () => {
        const ipam = new StubIpam(both);
        const one = pod(kind, {}, { ipam });
        await one.check(decodeResult(encodeResult(await one.add(), "0.3.0"), "0.3.0"));
        await one.del();
        await one.del();
        await assertNothingLeft(one);
        ipam.held.add(one.attachment.containerId);
        await one.del({ netns: "" });
        assert.equal(ipam.held.size, 0);
        deleteNetns(one.netns);
        await one.del();
        mkdirSync(one.netns.replace("netns", "lost"), { recursive: true });
        await one.del({ netns: one.netns.replace("netns", "lost") });
      });

      it("leaves nothing when it fails before or after any of its stages", async () => {
        for (const stage of ["claim", "link", "addresses"] as const) {
          for (const when of ["before", "after"] as const) {
            const ipam = new StubIpam(["10.10.0.5/24"]);
            const one = pod(kind, {}, { ipam });
            let passed = 0;
            // The first stage "link" only looks: the second makes the link.
            const fail: FailPoint = (reached) => {
              if (reached === `${stage}:${when}` && ++passed === (stage === "link" ? 2 : 1)) throw new Error("as told");
            };
            await assert.rejects(one.add(fail), { message: "as told" });
            assert.equal(ipam.held.size, 0);
            await assertNothingLeft(one);
          }
        }
      });

      it("leaves nothing when IPAM fails or gives nothing", async () => {
        const full = pod(kind, {}, { ipam: new StubIpam([], new CniError(999, "no address is free")) });
        await assert.rejects(full.add(), /no address is free/);
        await assertNothingLeft(full);
        const empty = pod(kind, {}, { ipam: new StubIpam([]) });
        await assert.rejects(empty.add(), /IPAM plugin returned missing IP config/);
        await assertNothingLeft(empty);
      });

      it("names the parent that is missing or down, and the MTU that it does not have", async () => {
        host.rtnl.createLink({ name: "down0", kind: { kind: "bridge" } });
        for (const [raw, code, text] of [
          [{ master: "nope0" }, "PARENT_UNKNOWN", new RegExp(`master nope0, existing \\[.*"${parent}".*\\]`)],
          [{ master: "down0" }, "PARENT_DOWN", /What to do: ip link set down0 up/],
          [{ mtu: 9000 }, "CNI_INVALID_CONFIG", new RegExp(`mtu, value 9000, allowed 0 to 1500, the MTU of ${parent}`)],
        ] as const) {
          const ipam = new StubIpam(both);
          const one = pod(kind, raw, { ipam });
          await assert.rejects(one.add(), (error) => {
            assert.ok(hasCode(error, code));
            assert.match(CniError.from(error).text, text);
            return true;
          });
          assert.equal(ipam.held.size, 0);
          await assertNothingLeft(one);
          if (code !== "CNI_INVALID_CONFIG") await assert.rejects(async () => one.status(), { cniCode: 50 });
        }
        host.rtnl.deleteLink("down0");
        await pod(kind, {}).status();
        // A plugin before this one may make the parent.
        await pod(kind, { master: "nope0" }).status(false);
      });

      it("refuses an interface name that the Pod already has, and does not touch what is there", async () => {
        const one = pod(kind, {}, { ipam: new StubIpam(both) });
        const result = await one.add();
        await assert.rejects(one.add(), /already has an interface/);
        await one.check(result);
        await one.del();
        await assertNothingLeft(one);
      });

      it("takes the interface of the default route where no master is given", async () => {
        host.rtnl.addAddress(parent, parsePrefix("192.0.2.2/24"));
        host.rtnl.addRoute({ dst: parsePrefix("0.0.0.0/0"), dev: parent, metric: 7 });
        const one = pod(kind, { master: "" }, { ipam: new StubIpam(both) });
        const result = await one.add();
        ping(one.netns, "10.10.0.1");
        host.rtnl.deleteAddress(parent, parsePrefix("192.0.2.2/24"));
        assert.deepEqual(host.rtnl.routes({ family: 4 }), []);
        await one.check(result);
        await one.del();
        await assertNothingLeft(one);
        await assert.rejects(pod(kind, { master: "" }, { ipam: new StubIpam(both) }).add(), {
          code: "PARENT_UNKNOWN",
        });
      });

      it("is made in the Pod although the node has an interface of the same name", async () => {
        host.rtnl.createLink({ name: "net1", kind: { kind: "bridge" } });
        const one = pod(kind, {}, { ipam: new StubIpam(both) });
        await one.check(await one.add());
        await one.del();
        await assertNothingLeft(one);
        host.rtnl.deleteLink("net1");
      });

      it("takes the link that an ADD which was cut off left in the Pod under another name", async () => {
        for (const again of [true, false]) {
          const one = pod(kind, {}, { ipam: new StubIpam(both) });
          const name = hostLinkName("sub", one.attachment.containerId, "net1");
          using netns = openNetns(one.netns);
          const left = {
            macvlan: { kind: "macvlan", parent, mode: "bridge" },
            ipvlan: { kind: "ipvlan", parent, mode: "l2" },
            vlan: { kind: "vlan", parent, id: 10 },
          } as const satisfies Record<Kind, LinkKind>;
          netns.rtnl.createLink({ name, kind: left[kind], parentNetns: host });
          if (again) await one.check(await one.add());
          await one.del();
          await assertNothingLeft(one);
        }
      });

      it("makes it on an interface of the container where linkInContainer says so", async () => {
        const one = pod(kind, { master: "eth0", linkInContainer: true }, { ipam: new StubIpam(["10.10.0.5/24"]) });
        await assert.rejects(one.add(), { code: "PARENT_UNKNOWN" });
        using netns = openNetns(one.netns);
        host.rtnl.createVeth({ name: "far0", up: true, peer: { name: "eth0", netns, up: true } });
        const result = await one.add();
        assert.equal(netns.rtnl.link("net1")?.peerIndex, netns.rtnl.link("eth0")?.index);
        await one.check(result);
        await one.status();
        await one.del();
        host.rtnl.deleteLink("far0");
        await assertNothingLeft(one);
      });

      it("reports what CHECK finds changed", async () => {
        const one = pod(kind, { mtu: 1400 }, { ipam: new StubIpam(["10.10.0.5/24"]) });
        const result = await one.add();
        const found = (what: string) => (error: unknown) => error instanceof CniError && error.details["what"] === what;
        one.inside("ip", "link", "set", "net1", "mtu", "1300");
        await assert.rejects(one.check(result), found("MTU of net1"));
        one.inside("ip", "link", "set", "net1", "mtu", "1400");
        await assert.rejects(one.check({ ...result, interfaces: [] }), found("prevResult"));
        one.inside("ip", "route", "del", "default");
        await assert.rejects(one.check(result), found("route"));
        one.inside("ip", "addr", "del", "10.10.0.5/24", "dev", "net1");
        await assert.rejects(one.check(result), found("address"));
        const [inside = { name: "net1" }] = result.interfaces;
        await assert.rejects(
          one.check({ ...result, interfaces: [{ ...inside, mac: "02:00:00:00:00:01" }] }),
          found("MAC address of net1"),
        );
        await one.del();
        await assertNothingLeft(one);
        await assert.rejects(one.check(result), found("interface"));
      });

      it("takes other addresses where somebody on the segment has the first", async () => {
        gateway.netns?.rtnl.addAddress(uplink, parsePrefix("10.10.0.5/24"));
        const ipam = new StubIpam(both);
        const conflicts: string[] = [];
        const replace: Ipam["replace"] = async (attachment, { ip }, steps) => {
          conflicts.push(formatIp(ip));
          await ipam.release(attachment);
          return new StubIpam(["10.10.0.6/24", "fd00::6/64"]).allocate(attachment, steps);
        };
        Object.assign(ipam, { replace });
        const one = pod(kind, {}, { ipam, detection: { ...patience, conflicts: true, gateways: true } });
        const result = await one.add();
        assert.deepEqual(conflicts, ["10.10.0.5"]);
        assert.deepEqual(
          result.ips.map(({ address }) => formatPrefix(address)),
          ["10.10.0.6/24", "fd00::6/64"],
        );
        const shown = one.inside("ip", "addr", "show", "net1");
        if (kind === "macvlan") assert.ok(shown.includes(derivedMac(parsePrefix("10.10.0.6/24").ip)), shown);
        assert.equal(shown.match(/inet6 fe80/g)?.length, 1);
        ping(one.netns, "10.10.0.1");
        ping(one.netns, "fd00::1");
        await one.check(result);
        await one.del();
        await assertNothingLeft(one);
        gateway.netns?.rtnl.deleteAddress(uplink, parsePrefix("10.10.0.5/24"));
      });

      it("says which gateway does not answer, and leaves nothing", async () => {
        gateway.netns?.rtnl.setLink(uplink, { up: false });
        const ipam = new StubIpam(["10.10.0.6/24"]);
        const one = pod(kind, {}, { ipam, detection: { ...shortPatience, conflicts: false, gateways: true } });
        await assert.rejects(one.add(), { message: "gateway 10.10.0.1 is unreachable" });
        assert.equal(ipam.held.size, 0);
        await assertNothingLeft(one);
        gateway.netns?.rtnl.setLink(uplink, { up: true });
        gateway.netns?.rtnl.addAddress(uplink, parsePrefix("fd00::1/64"), { nodad: true, tolerate: ["EEXIST"] });
      });

      testsOfKind(kind, { parent, gatewayNetns }, made);
    });
  }
}
