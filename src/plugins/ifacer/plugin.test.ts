import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { afterEach, describe, it } from "node:test";
import { codeOf, type FailPoint, type JsonObject, Steps, silentLogger, systemClock, Tasks } from "#base";
import { type Attachment, CniError, emptyResult, encodeResult, supportedVersions } from "#cni";
import { parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { createMacvlanPlugin } from "../sub-interface/plugin.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import { StubIpam } from "../testing/stub-ipam.ts";
import { bytesOverTcp, inside, ping, tcpBytes } from "../testing/traffic.ts";
import { createIfacerPlugin } from "./plugin.ts";

if (isolated(import.meta.url)) {
  const { rtnl } = hostNetns();
  // The one that is there shows the interfaces of the namespace in which it was mounted.
  execFileSync("mount", ["-t", "sysfs", "sys", "/sys"]);
  const lines: unknown[] = [];
  const log = { ...silentLogger, warn: (fields: unknown) => void lines.push(fields) };
  const plugin = createIfacerPlugin({ host: hostNetns(), log });
  const nobody: Attachment = { containerId: "c", ifName: "net1", netns: "/absent", pod: undefined, args: new Map() };
  const decode = (raw: JsonObject, more: object = {}) =>
    plugin.decode({ cniVersion: "1.0.0", name: "n", type: "ifacer", raw, ...more });

  const add = (raw: JsonObject, more: object = {}, failPoint?: FailPoint) =>
    runSteps((steps) => plugin.add(decode(raw, more), nobody, steps), failPoint);

  /** Two interfaces of the node, with their other ends in the namespace "switch". */
  function cards(): void {
    mkdirSync("/run/netns", { recursive: true });
    using netns = createNetns("/run/netns/switch");
    for (const n of [1, 2]) {
      rtnl.createVeth({ name: `eth${n}`, up: n === 1, peer: { name: `port${n}`, netns, up: true } });
    }
  }
  const names = () =>
    rtnl
      .links()
      .map(({ name }) => name)
      .filter((name) => !/^(lo|tunl0|sit0|ip6tnl0|bond0|dummy0|eql|teql0)$/.test(name))
      .sort();
  const bonding = (file: string) => readFileSync(`/sys/class/net/bond1/bonding/${file}`, "utf8").trim();

  afterEach(() => {
    for (const { name, kind } of rtnl.links()) {
      if (kind !== undefined && /^(eth|bond1|other)/.test(name)) rtnl.deleteLink(name, { tolerate: ["ENODEV"] });
    }
    deleteNetns("/run/netns/switch");
    lines.length = 0;
  });

  /** Whether the kernel makes such links. */
  function has(kind: "vlan" | "bond"): boolean {
    try {
      if (kind === "bond") rtnl.createLink({ name: "try0", kind: { kind, mode: 1 } });
      else {
        rtnl.createVeth({ name: "try0", peer: { name: "try1" } });
        rtnl.createLink({ name: "try2", kind: { kind, parent: "try0", id: 1 } });
      }
      return true;
    } catch (error) {
      if (codeOf(error) === "EOPNOTSUPP") return false;
      throw error;
    } finally {
      rtnl.deleteLink("try0", { tolerate: ["ENODEV"] });
    }
  }

  describe("the ifacer plugin", () => {
    it("answers every CNI version with an empty result, or with the one that it was given", async () => {
      for (const cniVersion of supportedVersions) {
        const result = await add({ interfaces: ["absent0"] }, { cniVersion });
        const { cniVersion: given, dns = {}, ...rest } = encodeResult(result, cniVersion);
        assert.deepEqual([given, dns, rest], [cniVersion, {}, {}]);
      }
      const prevResult = { ...emptyResult, interfaces: [{ name: "net0" }] };
      assert.deepEqual(await add({ interfaces: ["absent0"] }, { prevResult }), prevResult);
    });

    it("succeeds at DEL with any configuration, and refuses a wrong one at ADD, CHECK and STATUS", async () => {
      const wrong = { interfaces: "eth1", bond: 7 };
      await plugin.del(decode(wrong), nobody, deadline());
      await assert.rejects(add(wrong), { cniCode: 7 });
      await assert.rejects(plugin.check(decode(wrong), nobody, deadline()), { cniCode: 7 });
      const status = plugin.status?.(decode({ interfaces: ["absent0"], vlanID: 5 }), { ...deadline(), isFirst: true });
      await assert.rejects(status ?? Promise.resolve(), { cniCode: 50 });
    });
  });

  const noVlan = has("vlan") ? false : "this kernel has no vlan: test/uml.test.ts runs it in one that has";
  describe("ifacer's VLAN interfaces", { skip: noVlan }, () => {
    const raw = { interfaces: ["eth2"], vlanID: 100 };

    it("are made once, with their parent up, and carry the tag", async () => {
      cards();
      await assert.rejects(plugin.check(decode(raw), nobody, deadline()), CniError);
      const ten = () => Promise.all(Array.from({ length: 10 }, () => add(raw)));
      await ten();
      const made = rtnl.link("eth2.100");
      assert.deepEqual(
        [made?.kind, made?.vlanId, made?.peerIndex, made?.up],
        ["vlan", 100, rtnl.link("eth2")?.index, true],
      );
      await ten();
      assert.equal(rtnl.link("eth2.100")?.index, made?.index);
      await plugin.check(decode(raw), nobody, deadline());
      await plugin.del(decode(raw), nobody, deadline());
      assert.equal(rtnl.link("eth2.100")?.index, made?.index);
      rtnl.addAddress("eth2.100", parsePrefix("10.0.0.1/24"));
      inside("/run/netns/switch", "ip", "link", "add", "tagged", "link", "port2", "type", "vlan", "id", "100");
      inside("/run/netns/switch", "ip", "addr", "add", "10.0.0.2/24", "dev", "tagged");
      inside("/run/netns/switch", "ip", "link", "set", "tagged", "up");
      ping("/proc/self/ns/net", "10.0.0.2");
    });

    it("are the parents of macvlan behind it in a network, as is a bond's", async () => {
      const tasks = new Tasks(silentLogger);
      const ipam = new StubIpam(["10.10.0.5/24"]);
      const macvlan = createMacvlanPlugin({ host: hostNetns(), ipamFor: () => ipam, tasks });
      const netns = "/run/netns/pod";
      for (const [wanted, master, port] of [
        [raw, "eth2.100", "port2"],
        [
          { interfaces: ["eth1", "eth2"], vlanID: 100, bond: { name: "bond1", mode: 1, options: "primary=eth1" } },
          "bond1.100",
          "port1",
        ],
      ] as const) {
        cards();
        const top = "/run/netns/switch";
        inside(top, "ip", "link", "add", "tagged", "link", port, "type", "vlan", "id", "100");
        inside(top, "ip", "addr", "add", "10.10.0.1/24", "dev", "tagged");
        inside(top, "ip", "link", "set", "tagged", "up");
        createNetns(netns)[Symbol.dispose]();
        const config = { cniVersion: "0.3.1", name: "n", type: "macvlan", raw: { master } };
        // Before ifacer was called there is no parent, which is no reason to be unavailable.
        await macvlan.status?.(macvlan.decode(config), { ...deadline(), isFirst: false });
        const prevResult = await add(wanted);
        const attachment = { ...nobody, netns };
        const steps = new Steps({ clock: systemClock, ...deadline() });
        await macvlan.add(macvlan.decode({ ...config, prevResult }), attachment, steps);
        steps.commit();
        ping(netns, "10.10.0.1");
        assert.equal(await bytesOverTcp(top, netns, "10.10.0.1"), tcpBytes);
        await macvlan.del(macvlan.decode(config), attachment, deadline());
        assert.equal(rtnl.link(master)?.up, true);
        deleteNetns(netns);
        for (const name of ["bond1", "eth1", "eth2"]) if (rtnl.link(name) !== undefined) rtnl.deleteLink(name);
        deleteNetns(top);
      }
      await tasks.stop();
    });

    it("are used where somebody else makes one at the same moment", async () => {
      cards();
      let rivals = 0;
      const createLink: typeof rtnl.createLink = (spec) => {
        rivals += 1;
        rtnl.createLink(spec);
        return rtnl.createLink(spec);
      };
      const racing = new Proxy(rtnl, {
        get: (of, key: keyof typeof rtnl) => (key === "createLink" ? createLink : of[key].bind(of)),
      });
      const slow = createIfacerPlugin({ host: Object.create(hostNetns(), { rtnl: { value: racing } }), log });
      await runSteps((steps) => slow.add(decode(raw), nobody, steps));
      assert.equal(rivals, 1);
      assert.equal(rtnl.link("eth2.100")?.up, true);
    });

    it("are brought up when they are down", async () => {
      cards();
      await add(raw);
      rtnl.setLink("eth2.100", { up: false });
      await add(raw);
      assert.equal(rtnl.link("eth2.100")?.up, true);
    });

    it("are refused where another one on the node has the tag, or has the name", async () => {
      cards();
      rtnl.createLink({ name: "other0", kind: { kind: "vlan", parent: "eth1", id: 100 } });
      await assert.rejects(add(raw), (error) => {
        assert.match(
          CniError.from(error).message,
          /cannot have multiple different vlan interfaces with the same vlanId/,
        );
        assert.match(CniError.from(error).text, /other0/);
        return true;
      });
      assert.deepEqual(names(), ["eth1", "eth2", "other0"]);
      rtnl.deleteLink("other0");
      rtnl.createLink({ name: "eth2.100", kind: { kind: "bridge" } });
      await assert.rejects(add(raw), { code: "IFACER_NAME_TAKEN" });
    });
  });

  const noBond = has("bond") ? false : "this kernel has no bond: test/uml.test.ts runs it in one that has";
  describe("ifacer's bonds", { skip: noBond }, () => {
    const interfaces = ["eth1", "eth2"];
    const bond = { name: "bond1", mode: 1, options: "primary=eth2;miimon=100;active_slave=eth2;use_carrier=0;" };

    it("are made once, with their options and members, and a VLAN interface on them", async () => {
      cards();
      rtnl.addAddress("eth1", parsePrefix("192.0.2.7/24"));
      const raw = { interfaces, bond, vlanID: 30 };
      const ten = () => Promise.all(Array.from({ length: 10 }, () => add(raw)));
      await ten();
      assert.equal(bonding("mode"), "active-backup 1");
      assert.equal(bonding("slaves"), "eth1 eth2");
      assert.match(bonding("primary"), /^eth2/);
      assert.equal(bonding("active_slave"), "eth2");
      assert.equal(bonding("miimon"), "100");
      for (const name of ["bond1", "bond1.30", "eth1", "eth2"]) assert.equal(rtnl.link(name)?.up, true, name);
      assert.deepEqual(lines, [{ interface: "eth1", addresses: ["192.0.2.7/24"], defaultRoutes: [] }]);
      const before = rtnl.link("bond1")?.index;
      await ten();
      assert.equal(rtnl.link("bond1")?.index, before);
      await plugin.check(decode(raw), nobody, deadline());

      rtnl.addAddress("bond1", parsePrefix("10.0.0.1/24"));
      inside("/run/netns/switch", "ip", "addr", "add", "10.0.0.2/24", "dev", "port2");
      ping("/proc/self/ns/net", "10.0.0.2");
    });

    it("have the modes 0 to 6, and options of other kinds than numbers", async () => {
      for (const mode of [0, 1, 2, 3, 4, 5, 6]) {
        cards();
        const options =
          mode === 4
            ? "ad_actor_system=02:00:00:00:00:0A;lacp_rate=fast;xmit_hash_policy=layer3+4"
            : mode === 1
              ? 'arp_interval=100;arp_ip_target=["10.0.0.2","10.0.0.3"]'
              : "";
        await add({ interfaces, bond: { name: "bond1", mode, options } });
        assert.ok(bonding("mode").endsWith(` ${mode}`));
        if (mode === 4)
          assert.match(`${bonding("ad_actor_system")} ${bonding("lacp_rate")}`, /02:00:00:00:00:0a fast 1/i);
        if (mode === 1) assert.equal(bonding("arp_ip_target"), "10.0.0.2 10.0.0.3");
        rtnl.deleteLink("bond1");
        for (const name of interfaces) rtnl.deleteLink(name);
        deleteNetns("/run/netns/switch");
      }
    });

    it("have every option as it is given, each by the kernel's own word for it", async () => {
      for (const [mode, options, expected] of [
        [
          1,
          "miimon=100;updelay=200;downdelay=300;peer_notif_delay=400;num_peer_notif=4;primary=eth1;primary_reselect=better;fail_over_mac=active;resend_igmp=3;all_slaves_active=1;min_links=1",
          {
            miimon: "100",
            updelay: "200",
            downdelay: "300",
            peer_notif_delay: "400",
            num_grat_arp: "4",
            primary: "eth1",
            primary_reselect: "better 1",
            fail_over_mac: "active 1",
            resend_igmp: "3",
            all_slaves_active: "1",
            min_links: "1",
          },
        ],
        [
          1,
          "arp_interval=150;arp_ip_target=10.0.0.2;arp_validate=all;arp_all_targets=all",
          { arp_interval: "150", arp_ip_target: "10.0.0.2", arp_validate: "all 3", arp_all_targets: "all 1" },
        ],
        [0, "packets_per_slave=3", { packets_per_slave: "3" }],
        [2, "xmit_hash_policy=encap2+3", { xmit_hash_policy: "encap2+3 3" }],
        [5, "tlb_dynamic_lb=0;lp_interval=7", { tlb_dynamic_lb: "0", lp_interval: "7" }],
        [
          4,
          "lacp_rate=1;ad_select=count;ad_actor_sys_prio=1000;ad_user_port_key=5;ad_actor_system=02:00:00:00:00:0a",
          {
            lacp_rate: "fast 1",
            ad_select: "count 2",
            ad_actor_sys_prio: "1000",
            ad_user_port_key: "5",
            ad_actor_system: "02:00:00:00:00:0a",
          },
        ],
      ] as const) {
        cards();
        await add({ interfaces, bond: { name: "bond1", mode, options } });
        const found = Object.fromEntries(Object.keys(expected).map((file) => [file, bonding(file)]));
        assert.deepEqual(found, { ...expected });
        for (const name of ["bond1", ...interfaces]) rtnl.deleteLink(name);
        deleteNetns("/run/netns/switch");
      }
    });

    it("warn of a default route that their members take with them, also where these have no address", async () => {
      cards();
      rtnl.addRoute({ dst: parsePrefix("0.0.0.0/0"), dev: "eth1" });
      await add({ interfaces, bond });
      assert.deepEqual(lines, [{ interface: "eth1", addresses: [], defaultRoutes: ["0.0.0.0/0"] }]);
    });

    it("get the members that they lack", async () => {
      cards();
      await add({ interfaces, bond });
      rtnl.setLink("eth1", { master: null });
      await add({ interfaces, bond });
      assert.deepEqual(bonding("slaves").split(" ").sort(), ["eth1", "eth2"]);
    });

    it("are not half made: what fails is taken back, and works when it is mended", async () => {
      cards();
      await assert.rejects(add({ interfaces: [...interfaces, "eth3"], bond }), { code: "IFACER_LINK_UNKNOWN" });
      assert.deepEqual(names(), ["eth1", "eth2"]);
      await assert.rejects(add({ interfaces, bond: { ...bond, options: "miimon=100;arp_interval=5" } }), {
        code: "IFACER_BOND_REFUSED",
      });
      await assert.rejects(add({ interfaces, bond: { ...bond, mode: 4, options: "active_slave=eth1" } }), {
        code: "IFACER_BOND_REFUSED",
      });
      assert.deepEqual(names(), ["eth1", "eth2"]);
      assert.deepEqual(
        interfaces.map((name) => [rtnl.link(name)?.master, rtnl.link(name)?.up]),
        [
          [undefined, true],
          [undefined, false],
        ],
      );
      rtnl.createLink({ name: "bond1", kind: { kind: "bridge" } });
      await assert.rejects(add({ interfaces, bond }), { code: "IFACER_NAME_TAKEN" });
      rtnl.deleteLink("bond1");
      await add({ interfaces, bond });
      assert.equal(bonding("slaves"), "eth1 eth2");
    });

    it("leave alone what belongs to another bond", async () => {
      cards();
      rtnl.createLink({ name: "other0", kind: { kind: "bond", mode: 1 } });
      rtnl.setLink("eth2", { master: "other0" });
      await assert.rejects(add({ interfaces, bond }), { code: "IFACER_LINK_TAKEN" });
      assert.equal(rtnl.link("eth2")?.master, rtnl.link("other0")?.index);
      assert.equal(rtnl.link("bond1"), undefined);
    });
  });
}
