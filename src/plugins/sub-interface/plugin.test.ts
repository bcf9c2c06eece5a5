import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, afterEach, before, describe, it } from "node:test";
import { codeOf, type FailPoint, hasCode, silentLogger, Tasks } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  decodeResult,
  emptyResult,
  encodeResult,
  type Ipam,
  type JsonObject,
  supportedVersions,
} from "#cni";
import { formatIp, formatPrefix, parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns, type LinkKind, type Netns, openNetns, readNetnsId } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import type { Detection } from "../detection.ts";
import { derivedMac, hostLinkName } from "../names.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import { StubIpam } from "../testing/stub-ipam.ts";
import { bytesOverTcp, inside, ping, tcpBytes } from "../testing/traffic.ts";
import { createIpvlanPlugin, createMacvlanPlugin, createVlanPlugin } from "./plugin.ts";

const creators = { macvlan: createMacvlanPlugin, ipvlan: createIpvlanPlugin, vlan: createVlanPlugin } as const;
type Kind = keyof typeof creators;
const kinds = Object.keys(creators) as readonly Kind[];
const both = ["10.10.0.5/24", "fd00::5/64"] as const;

if (isolated(import.meta.url)) {
  const host = hostNetns();
  const tasks = new Tasks(silentLogger);
  let pods = 0;
  const netnsPaths = new Set<string>();
  mkdirSync("/run/netns");
  after(() => tasks.stop());

  /** A Pod with a namespace of its own and the plugin that serves it. */
  function pod(
    kind: Kind,
    raw: JsonObject,
    {
      ipam,
      detection,
      attached = [],
      with: shared,
    }: {
      ipam?: Ipam;
      detection?: Detection;
      attached?: readonly JsonObject[];
      /** Another Pod, whose plugin serves this one, too. */
      with?: { readonly plugin: ReturnType<(typeof creators)[Kind]> };
    } = {},
  ) {
    const containerId = `c${++pods}`;
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    netnsPaths.add(netns);
    const plugin =
      shared?.plugin ??
      creators[kind]({
        host,
        ipamFor: () => ipam,
        tasks,
        attached: () => attached,
        ...(detection && { detection }),
      });
    const attachment: Attachment = { containerId, ifName: "net1", netns, pod: undefined, args: new Map() };
    const usual = { master: `${kind}0`, ...(kind === "vlan" && { vlanId: 10 }) };
    const decode = (more: object = {}) =>
      plugin.decode({ cniVersion: "1.0.0", name: "n", type: kind, raw: { ...usual, ...raw }, ...more });
    return {
      attachment,
      netns,
      plugin,
      add: (failPoint?: FailPoint, more: object = {}) =>
        runSteps((steps) => plugin.add(decode(more), attachment, steps), failPoint),
      check: (prevResult: CniResult) => plugin.check(decode({ prevResult }), attachment, deadline()),
      del: (more: Partial<Attachment> = {}) => plugin.del(decode(), { ...attachment, ...more }, deadline()),
      status: (isFirst = true) => plugin.status?.(decode(), { ...deadline(), isFirst }),
      inside: (...argv: readonly [string, ...string[]]) => inside(netns, ...argv),
    };
  }
  type Pod = ReturnType<typeof pod>;

  /** Only loopback is left in the Pod, when what goes on after answers has ended. */
  async function assertNothingLeft({ netns }: Pod): Promise<void> {
    await tasks.idle();
    using netnsOfPod = openNetns(netns);
    assert.deepEqual(
      netnsOfPod.rtnl.links().map(({ name }) => name),
      ["lo"],
    );
  }

  /** Whether the kernel makes such links; a module is loaded by the attempt. */
  function has(kind: Kind): boolean {
    const link: LinkKind = {
      macvlan: { kind, parent: "try0", mode: "bridge" } as const,
      ipvlan: { kind, parent: "try0", mode: "l2" } as const,
      vlan: { kind, parent: "try0", id: 1 } as const,
    }[kind] as LinkKind;
    host.rtnl.createVeth({ name: "try0", peer: { name: "try1" } });
    try {
      host.rtnl.createLink({ name: "try2", kind: link });
      return true;
    } catch (error) {
      if (codeOf(error) === "EOPNOTSUPP") return false;
      throw error;
    } finally {
      host.rtnl.deleteLink("try0");
    }
  }

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

      it("gives a Pod addresses, routes, MTU and a MAC address, and takes all back", async () => {
        const ipam = new StubIpam(both);
        const one = pod(kind, { mtu: 1400 }, { ipam });
        const result = await one.add();
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
            one.inside("ping", "-c", "1", "-W", "2", "-M", "do", "-s", full, peer);
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

      it("serves every CNI version: ADD, CHECK with the result as it travelled, DEL twice, DEL without a namespace", async () => {
        for (const cniVersion of supportedVersions) {
          const ipam = new StubIpam(both);
          const one = pod(kind, {}, { ipam });
          const travelled = decodeResult(encodeResult(await one.add(), cniVersion), cniVersion);
          await one.check(travelled);
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
        }
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

      it("replaces the link that an ADD which was cut off left in the Pod, and DEL takes it, too", async () => {
        for (const again of [true, false]) {
          const one = pod(kind, {}, { ipam: new StubIpam(both) });
          const name = hostLinkName("sub", one.attachment.containerId, "net1");
          using netns = openNetns(one.netns);
          const left = {
            macvlan: { kind: "macvlan", parent, mode: "bridge" },
            ipvlan: { kind: "ipvlan", parent, mode: "l2" },
            vlan: { kind: "vlan", parent, id: 10 },
          } as const satisfies Record<Kind, LinkKind>;
          host.rtnl.createLink({ name, kind: left[kind], netns });
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
        const one = pod(kind, {}, { ipam, detection: { conflicts: true, gateways: true } });
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
        const one = pod(kind, {}, { ipam, detection: { conflicts: false, gateways: true } });
        await assert.rejects(one.add(), { message: "gateway 10.10.0.1 is unreachable" });
        assert.equal(ipam.held.size, 0);
        await assertNothingLeft(one);
        gateway.netns?.rtnl.setLink(uplink, { up: true });
        gateway.netns?.rtnl.addAddress(uplink, parsePrefix("fd00::1/64"), { nodad: true, tolerate: ["EEXIST"] });
      });

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
            assert.match(
              CniError.from(error).text,
              /field mode, value l3, allowed l2, which Pods on this `master` have/,
            );
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
    });
  }
}
