import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { after, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { type FailPoint, hasCode, type Signal, silentLogger, systemClock } from "#base";
import { CniError, decodeResult, encodeResult, supportedVersions } from "#cni";
import { parsePrefix } from "#ip";
import { announce, createNetns, deleteNetns, openNetns, readTxChecksum, writeSysctl } from "#linux";
import { createOvs, type Ovs, type PortSpec } from "#ovsdb";
import { isolated } from "../../linux/testing/isolated.ts";
import { changed } from "../../ovsdb/testing/changed.ts";
import { derivedMac } from "../names.ts";
import { startOvsNode } from "../testing/ovs-node.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import { StubIpam } from "../testing/stub-ipam.ts";
import { bytesOverTcp, tcpBytes } from "../testing/traffic.ts";
import { createOvsPlugin } from "./plugin.ts";
import { type OvsPod, ovsPods } from "./testing/pods.ts";

if (isolated(import.meta.url)) {
  const node = startOvsNode();
  const { real, ovs } = node;
  const { host, pod, assertNothingLeft } = ovsPods(node);
  after(() => node[Symbol.asyncDispose]());

  /** What comes to be so within seconds: vswitchd looks at frames when it comes to it. */
  async function until(isSo: () => boolean): Promise<void> {
    const { signal } = deadline();
    while (!isSo()) {
      signal.throwIfAborted();
      await setImmediate();
    }
  }

  describe("the ovs plugin", { timeout: 240_000 }, () => {
    it("gives a Pod an access port, addresses, routes and the derived MAC address", async () => {
      const ipam = new StubIpam(["10.10.0.5/24", "fd00::5/64"]);
      const one = pod({ vlan: 10, mtu: 1400 }, ipam);
      const result = await one.add();
      const { hostName } = one;
      const hostLink = host.rtnl.link(hostName);
      assert.deepEqual(result.interfaces, [
        { name: hostName, mac: hostLink?.mac },
        { name: "net1", mac: "0a:58:0a:0a:00:05", sandbox: one.attachment.netns },
      ]);
      assert.deepEqual(
        result.ips.map((ip) => ip.interface),
        [1, 1],
      );
      assert.equal(real.vsctl("get", "port", hostName, "tag", "vlan_mode"), "10\naccess");
      assert.match(real.vsctl("get", "port", hostName, "external_ids"), /contIface=net1.*contPodUid=uid-c/);
      assert.deepEqual([hostLink?.mtuBytes, hostLink?.up, hostLink?.carrier], [1400, true, true]);
      assert.doesNotMatch(execFileSync("ip", ["addr", "show", hostName], { encoding: "utf8" }), /inet6/);
      const shown = one.inside("ip", "addr", "show", "net1");
      assert.match(shown, /mtu 1400.*state UP/);
      assert.match(shown, /0a:58:0a:0a:00:05/);
      assert.match(shown, /inet 10\.10\.0\.5\/24/);
      assert.match(shown, /inet6 fd00::5\/64/);
      assert.match(one.inside("ip", "route"), /default via 10\.10\.0\.1 dev net1/);
      assert.match(one.inside("ip", "-6", "route"), /default via fd00::1 dev net1/);
      using inside = openNetns(one.attachment.netns);
      assert.equal(readTxChecksum(inside, "net1"), false);

      await one.check(result);
      await one.del();
      assert.equal(ipam.held.size, 0);
      await assertNothingLeft(one);
    });

    it("carries ping and TCP between two Pods of a VLAN, and not to another VLAN", async () => {
      for (const [first, second, third] of [
        ["10.10.0.5/24", "10.10.0.6/24", "10.10.0.7/24"],
        ["fd00::5/64", "fd00::6/64", "fd00::7/64"],
      ] as const) {
        const reach = second.replace(/\/.*/, "");
        const [a, b, other] = [first, second, third].map((address, at) =>
          pod({ vlan: at < 2 ? 10 : 11 }, new StubIpam([address])),
        ) as [OvsPod, OvsPod, OvsPod];
        await Promise.all([a.add(), b.add(), other.add()]);
        // At once: no duplicate address detection is waited for.
        assert.equal(await bytesOverTcp(b.attachment.netns, a.attachment.netns, reach), tcpBytes);
        a.inside("ping", "-c", "1", "-i", "0.2", "-w", "60", reach);
        assert.throws(() => other.inside("ping", "-c", "1", "-W", "1", reach));
        for (const each of [a, b, other]) await each.del();
      }
    });

    it("gives vswitchd the ports of a crowd when their links are there: it would try to open each with every round", async (t) => {
      const pods = Array.from({ length: 6 }, () => pod({}));
      const { tasks } = node;
      const plugin = createOvsPlugin({ host, ovsFor: () => ovs, ipamFor: () => undefined, tasks, flatFiles: [] });
      const config = plugin.decode({ cniVersion: "1.0.0", name: "n", type: "ovs", raw: { bridge: "br1" } });
      const linked: boolean[] = [];
      const attach = ovs.attach.bind(ovs);
      t.mock.method(ovs, "attach", (...args: Parameters<Ovs["attach"]>) => {
        linked.push(host.rtnl.link(args[0].name) !== undefined);
        return attach(...args);
      });
      await Promise.all(pods.map(({ attachment }) => runSteps((steps) => plugin.add(config, attachment, steps))));
      assert.deepEqual(
        linked,
        pods.map(() => true),
      );
      for (const one of pods) await one.del();
    });

    it("has the switch send at once to its port what it has sent elsewhere, in either family", async () => {
      using elsewhere = createNetns("/run/netns/elsewhere");
      // What it says by itself, for IPv6, would have the switch learn its port again.
      writeSysctl(elsewhere, "net/ipv6/conf/default/disable_ipv6", 1);
      for (const address of ["10.10.0.5/24", "fd00::5/64"]) {
        const { ip } = parsePrefix(address);
        const mac = derivedMac(ip);
        // The network knows the address's earlier holder, on another node.
        host.rtnl.createVeth({ name: "uplink", up: true, peer: { name: "eth0", mac, netns: elsewhere, up: true } });
        real.vsctl("add-port", "br1", "uplink");
        await announce(elsewhere, "eth0", [ip]);
        await until(() => real.portOf("br1", mac) === "uplink");
        const one = pod({}, new StubIpam([address]));
        await one.add();
        await until(() => real.portOf("br1", mac) === one.hostName);
        await one.del();
        real.vsctl("del-port", "uplink");
        await host.rtnl.deleteLinksLater(["uplink"]);
      }
      deleteNetns("/run/netns/elsewhere");
    });

    it("makes no IPv6 link-local address where only IPv4 is given, and one from the MAC address without IPAM", async () => {
      const four = pod({}, new StubIpam(["10.10.0.5/24"]));
      await four.add();
      assert.doesNotMatch(four.inside("ip", "addr", "show", "net1"), /inet6/);
      const none = pod({ args: { cni: { mac: "02:00:00:00:00:09" } } });
      const result = await none.add();
      assert.equal(result.interfaces[1]?.mac, "02:00:00:00:00:09");
      assert.match(none.inside("ip", "addr", "show", "net1"), /inet6 fe80::ff:fe00:9\/64/);
      await Promise.all([four.del(), none.del()]);
    });

    it("makes the link while the database takes the port, and after that where vswitchd has many", async (t) => {
      const attach = ovs.attach.bind(ovs);
      const madeMeanwhile: boolean[] = [];
      t.mock.method(ovs, "attach", async (spec: PortSpec, options: Signal) => {
        await attach(spec, options);
        madeMeanwhile.push(host.rtnl.link(spec.name) !== undefined);
      });
      let ports = 63;
      t.mock.getter(ovs, "portCount", () => ports);
      const [few, many] = [5, 6].map((last) => pod({}, new StubIpam([`10.10.0.${last}/24`]))) as [OvsPod, OvsPod];
      await few.add();
      ports = 64;
      await many.add();
      assert.deepEqual(madeMeanwhile, [true, false]);
      await Promise.all([few.del(), many.del()]);
    });

    it("makes trunks of all, one and several VLANs, which CHECK accepts, also beside a vlan", async () => {
      for (const [raw, trunks] of [
        [{}, "[]"],
        [{ trunk: [{ id: 7 }] }, "[7]"],
        [{ vlan: 0, trunk: [{ minID: 3, maxID: 5 }, { id: 4 }] }, "[3, 4, 5]"],
      ] as const) {
        const one = pod(raw);
        const result = await one.add();
        assert.equal(real.vsctl("get", "port", one.hostName, "trunks", "vlan_mode", "tag"), `${trunks}\ntrunk\n[]`);
        await one.check(result);
        await one.del();
      }
    });

    it("asks for the OpenFlow port, the logical port and the MAC address of CNI_ARGS", async () => {
      const one = pod({ ofport_request: 77, args: { cni: { ovnPort: "lsp-1" } } }, new StubIpam(["10.10.0.5/24"]));
      (one.attachment.args as Map<string, string>).set("MAC", "02:00:00:00:00:0B");
      const result = await one.add();
      assert.equal(result.interfaces[1]?.mac, "02:00:00:00:00:0b");
      assert.match(one.inside("ip", "link", "show", "net1"), /02:00:00:00:00:0b/);
      const columns = real.vsctl("get", "interface", one.hostName, "ofport", "external_ids");
      assert.equal(columns, "77\n{iface-id=lsp-1}");
      await one.del();
    });

    it("leaves neither port nor link when IPAM fails or gives nothing", async () => {
      const full = pod({}, new StubIpam([], new CniError(999, "no address is free")));
      await assert.rejects(full.add(), /no address is free/);
      await assertNothingLeft(full);
      const empty = pod({}, new StubIpam([]));
      await assert.rejects(empty.add(), /IPAM plugin returned missing IP config/);
      await assertNothingLeft(empty);
    });

    it("names the bridges that exist when the one asked for does not, and leaves nothing", async () => {
      const ipam = new StubIpam(["10.10.0.5/24"]);
      const one = pod({ bridge: "nope" }, ipam);
      await assert.rejects(one.add(), (error) => {
        assert.ok(hasCode(error, "OVS_BRIDGE_UNKNOWN"));
        assert.match(CniError.from(error).text, /bridge nope, existing \["br1"\]/);
        return true;
      });
      assert.equal(ipam.held.size, 0);
      await assertNothingLeft(one);
      await assert.rejects(async () => one.status(), { cniCode: 50 });
    });

    it("says in vswitchd's words why the port did not come into service, and leaves nothing", async () => {
      const one = pod({ interface_type: "nonsense", link_state_check_retries: 1, link_state_check_interval: 300 });
      await assert.rejects(one.add(), (error) => {
        assert.ok(hasCode(error, "OVS_PORT_NOT_READY"));
        assert.match(CniError.from(error).text, /vswitchd could not open network device .*nonsense|not supported/);
        return true;
      });
      await assertNothingLeft(one);
    });

    it("reads what it is told about a device before it does anything, and takes a Pod down without", async () => {
      const told = "/run/device-info";
      const one = pod({ runtimeConfig: { CNIDeviceInfoFile: told } }, new StubIpam(["10.10.0.5/24"]));
      await assert.rejects(one.add(), (error) => {
        assert.match(CniError.from(error).text, /field runtimeConfig\.CNIDeviceInfoFile, value \/run\/device-info/);
        return true;
      });
      await assertNothingLeft(one);
      writeFileSync(told, "{}");
      await one.add();
      rmSync(told);
      await one.del();
      await assertNothingLeft(one);
    });

    it("refuses an interface name that the Pod already has, and does not touch what is there", async () => {
      const one = pod({}, new StubIpam(["10.10.0.5/24"]));
      const result = await one.add();
      await assert.rejects(one.add(), /already has an interface/);
      await one.check(result);
      await one.del();
    });

    it("replaces the port and the link that an ended agent left behind", async () => {
      const one = pod({ vlan: 5 });
      execFileSync("ip", ["link", "add", one.hostName, "type", "veth", "peer", "name", "left-behind"]);
      const { netns: contNetns, ifName: contIface } = one.attachment;
      const owner = { contPodUid: "earlier", contNetns, contIface };
      await ovs.attach({ bridge: "br1", name: one.hostName, vlan: { mode: "access", tag: 4 }, owner }, deadline());
      const result = await one.add();
      assert.equal(real.vsctl("get", "port", one.hostName, "tag"), "5");
      await one.check(result);
      await one.del();
      await assertNothingLeft(one);
    });

    it("reports what CHECK finds changed", async () => {
      const one = pod({ vlan: 5 }, new StubIpam(["10.10.0.5/24"]));
      const result = await one.add();
      const found = (what: string) => (error: unknown) => error instanceof CniError && error.details["what"] === what;
      real.vsctl("set", "port", one.hostName, "tag=6");
      await changed(ovs, () => JSON.stringify(ovs.ports().get(one.hostName)?.vlan).includes("6"));
      await assert.rejects(one.check(result), found("VLAN of the port"));
      one.inside("ip", "route", "del", "default");
      await assert.rejects(one.check(result), found("route"));
      one.inside("ip", "addr", "del", "10.10.0.5/24", "dev", "net1");
      await assert.rejects(one.check(result), found("address"));
      one.inside("ip", "link", "set", "net1", "address", "02:00:00:00:00:01");
      await assert.rejects(one.check(result), found("MAC address of net1"));
      await one.del();
      await assertNothingLeft(one);
      await assert.rejects(one.check(result), found("interface"));
    });

    it("brings the host's end up again when vswitchd has taken it down while it made the port promiscuous", async () => {
      const racing: Ovs = Object.create(ovs, {
        attach: { value: ovs.attach.bind(ovs) },
        bridges: { value: ovs.bridges.bind(ovs) },
        portCount: { value: 0 },
        ready: {
          value: async (name: string, options: Signal) => {
            const port = await ovs.ready(name, options);
            while (host.rtnl.link(name)?.up !== true) await setImmediate();
            host.rtnl.setLink(name, { up: false });
            return port;
          },
        },
      });
      const one = pod({}, new StubIpam(["10.10.0.5/24"]), racing);
      await one.add();
      assert.equal(host.rtnl.link(one.hostName)?.up, true);
      await pod({}).del(one.attachment);
      await assertNothingLeft(one);
    });

    it("deletes twice, without a namespace, and after the namespace is gone", async () => {
      const twice = pod({});
      await twice.add();
      await twice.del();
      await twice.del();
      const empty = pod({});
      await empty.add();
      await empty.del({ netns: "" });
      await assertNothingLeft(empty);
      const vanished = pod({});
      await vanished.add();
      deleteNetns(vanished.attachment.netns);
      rmSync(vanished.attachment.netns, { force: true });
      await vanished.del();
      assert.equal(real.vsctl("list-ports", "br1"), "");
      await pod({ bridge: "gone" }).del();
    });

    it("deletes what ovs-cni made, whose link has a random name", async () => {
      const one = pod({});
      const { netns: contNetns, ifName: contIface } = one.attachment;
      execFileSync("ip", ["link", "add", "vethrandom", "type", "veth", "peer", contIface, "netns", contNetns]);
      await ovs.attach(
        {
          bridge: "br1",
          name: "vethrandom",
          vlan: { mode: "trunk", ids: [] },
          owner: { contPodUid: "", contNetns, contIface },
        },
        deadline(),
      );
      await one.del();
      await host.rtnl.deleteLinksLater(["vethrandom"]);
      await assertNothingLeft(one);
      assert.equal(real.vsctl("list-ports", "br1"), "");

      execFileSync("ip", ["link", "add", "vethrandom", "type", "veth", "peer", contIface, "netns", contNetns]);
      await one.del();
      await assertNothingLeft(one);
    });

    it("makes the bridge that is missing where it is told to, once for all Pods, and leaves it", async () => {
      const raw = { bridge: "br2", create_bridge: true, datapath_type: "netdev" };
      const [a, b] = [pod(raw, new StubIpam(["10.10.0.5/24"])), pod(raw, new StubIpam(["10.10.0.6/24"]))];
      await a.status();
      const [first, second] = await Promise.all([a.add(), b.add()]);
      assert.equal(real.vsctl("list-br"), "br1\nbr2");
      assert.equal(real.vsctl("get", "bridge", "br2", "datapath_type"), "netdev");
      assert.equal(await bytesOverTcp(b.attachment.netns, a.attachment.netns, "10.10.0.6"), tcpBytes);
      await Promise.all([a.check(first), b.check(second)]);
      await Promise.all([a.del(), b.del()]);
      assert.equal(real.vsctl("list-ports", "br2"), "");
      const later = pod(raw);
      await later.add();
      await later.del();
      real.vsctl("del-br", "br2");
      await changed(ovs, () => !ovs.bridges().has("br2"));
    });

    it("serves every CNI version: ADD, CHECK with the result as it travelled, DEL twice", async () => {
      for (const cniVersion of supportedVersions) {
        const one = pod({ vlan: 10 }, new StubIpam(["10.10.0.5/24", "fd00::5/64"]));
        const travelled = decodeResult(encodeResult(await one.add(), cniVersion), cniVersion);
        await one.check(travelled);
        await one.del();
        await one.del();
        await assertNothingLeft(one);
      }
    });

    it("leaves nothing when it fails before or after any of its stages", async () => {
      const points = (["claim", "link", "port", "addresses", "ofport"] as const).flatMap(
        (stage) => [`${stage}:before`, `${stage}:after`] as const,
      );
      for (const point of points) {
        const ipam = new StubIpam(["10.10.0.5/24"]);
        const one = pod({}, ipam);
        const fail: FailPoint = (reached) => {
          if (reached === point) throw new Error(`failed at ${point}`);
        };
        await assert.rejects(one.add(fail), { message: `failed at ${point}` });
        assert.equal(ipam.held.size, 0);
        await assertNothingLeft(one);
      }
    });

    it("puts back the port that the database lost and the link that was taken down, and nothing else", async () => {
      const [one, two] = [pod({ vlan: 10 }, new StubIpam(["10.10.0.5/24"])), pod({}, new StubIpam(["10.10.0.6/24"]))];
      const [result] = await Promise.all([one.add(), two.add()]);
      assert.deepEqual(await one.restore(result), []);
      real.vsctl("del-port", one.hostName);
      await changed(ovs, () => !ovs.ports().has(one.hostName));
      host.rtnl.setLink(one.hostName, { up: false });
      assert.deepEqual(await one.restore(result), [`port ${one.hostName} of bridge br1`, `link ${one.hostName} up`]);
      await ovs.ready(one.hostName, deadline());
      await one.check(result);
      // What an administrator has changed stays.
      real.vsctl("set", "port", one.hostName, "tag=11");
      await changed(ovs, () => JSON.stringify(ovs.ports().get(one.hostName)?.vlan).includes("11"));
      assert.deepEqual(await one.restore(result), []);
      await Promise.all([one.del(), two.del()]);
      assert.deepEqual(await one.restore(result), []);
      await assertNothingLeft(one);
    });

    it("waits for a vswitchd that restarts, and for a database that is installed after it", async () => {
      await real.stopSwitch();
      const waiting = pod({}, new StubIpam(["10.10.0.5/24"]));
      const adding = waiting.add();
      await changed(ovs, () => ovs.ports().has(waiting.hostName));
      real.startSwitch();
      await waiting.check(await adding);
      await waiting.del();

      await real.stopDatabase();
      await using late = createOvs({ endpoint: real.endpoint, clock: systemClock, log: silentLogger, patienceMs: 300 });
      const one = pod({}, new StubIpam(["10.10.0.5/24"]), late);
      await assert.rejects(one.add(), (error) => {
        assert.match(CniError.from(error).text, /endpoint unix:.*tried .*What to do: see whether Open vSwitch runs/);
        return true;
      });
      await assert.rejects(async () => one.status(), { cniCode: 50 });
      real.startDatabase();
      await changed(late, () => late.state.kind === "connected");
      await one.status();
      await one.check(await one.add());
      await one.del();
      await assertNothingLeft(one);
      await ovs.synced(deadline());
    });

    it("answers that the runtime shall try again while there is no database", async () => {
      await using away = createOvs({
        endpoint: "unix:/run/absent.sock",
        clock: systemClock,
        log: silentLogger,
        patienceMs: 20,
      });
      const ipam = new StubIpam(["10.10.0.5/24"]);
      const one = pod({}, ipam, away);
      await assert.rejects(one.add(), { cniCode: 11 });
      assert.equal(ipam.held.size, 0);
      await assertNothingLeft(one);
      await assert.rejects(one.del(), { cniCode: 11 });
      await assert.rejects(async () => one.status(), { cniCode: 50 });
    });
  });
}
