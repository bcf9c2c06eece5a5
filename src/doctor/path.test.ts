import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { parsePrefix } from "#ip";
import { hostNetns } from "#linux";
import { until } from "../base/testing/until.ts";
import { isolated } from "../linux/testing/isolated.ts";
import { podRoute, sh, signal, TestNode } from "./node/testing/test-node.ts";
import { observeRivals } from "./observe/observe.ts";
import { observePaths } from "./path.ts";

if (isolated(import.meta.url)) {
  describe("the way of a Pod's packets", () => {
    let node: TestNode;
    before(async () => {
      node = new TestNode();
      await node.startAgent();
      await node.examineUntil((ids) => ids.length === 0);
    });
    after(() => node[Symbol.asyncDispose]());

    it("leads hop by hop from the Pod to its gateway, and shows the hops that are broken", async () => {
      const look = (answered: boolean) => {
        const [pod] = node.pods();
        assert.ok(pod !== undefined);
        const [path] = observePaths(pod, {
          host: hostNetns(),
          ovs: node.ovs,
          answered: () => answered,
          rival: () => undefined,
        });
        return path;
      };
      const path = look(true);
      assert.deepEqual(
        path?.hops.map(({ name, ok }) => [name, ok]),
        [
          ...["Pod eth0", "10.6.0.9/16", "its node", "node vethpod1", "port of br1", "uplink gw1", "uplink up1"],
          "gateway 10.6.0.1",
        ].map((name) => [name, true]),
      );
      assert.ok(path?.routes.some((one) => one === "10.6.0.0/16 dev eth0 table main"));
      assert.ok(path?.rules.some((one) => one === "1000: from all lookup 500"));
      sh("ip link set vethpod1 down");
      const broken = look(false)?.hops.filter(({ ok }) => !ok);
      sh(`ip link set vethpod1 up && ${podRoute}`);
      assert.deepEqual(
        broken?.map(({ name, detail }) => [name, detail.split(",")[0]]),
        [
          ["its node", "table 500 has no route to 10.6.0.9"],
          ["node vethpod1", "down"],
          ["gateway 10.6.0.1", "silent"],
        ],
      );
    });

    it("shows that the Pod's interface is gone, or has another name by now", () => {
      sh("ip link set eth0 down && ip link set eth0 name eth9");
      const [pod] = node.pods();
      assert.ok(pod !== undefined);
      const sources = { host: hostNetns(), ovs: node.ovs, answered: () => undefined, rival: () => undefined };
      const [path] = observePaths(pod, sources);
      sh("ip link set eth9 name eth0 && ip link set eth0 up && ip route add 10.0.0.0/8 via 10.6.0.1 dev eth0");
      const broken = path?.hops.filter(({ ok }) => ok === false).map(({ name, detail }) => [name, detail]);
      assert.deepEqual(broken, [
        ["Pod eth0", "there is no such interface"],
        ["10.6.0.9/16", "not on eth0"],
      ]);
      assert.equal(
        path?.hops.at(-1)?.detail,
        "not asked",
        "routes went with the interface: that is no fault of its own",
      );
    });

    it("ends at a gateway by which the Pod has no route any more, even if it answers", () => {
      const [pod] = node.pods();
      assert.ok(pod !== undefined);
      const look = () =>
        observePaths(pod, {
          host: hostNetns(),
          ovs: node.ovs,
          answered: () => true,
          rival: () => undefined,
        })[0]?.hops.at(-1);
      assert.deepEqual(look(), { name: "gateway 10.6.0.1", ok: true, detail: "answers" });
      sh("ip route del 10.0.0.0/8 via 10.6.0.1");
      assert.deepEqual(look(), { name: "gateway 10.6.0.1", ok: false, detail: "the Pod has no route by it on eth0" });
      sh("ip route add 10.0.0.0/8 via 10.6.0.1 dev eth0");
    });

    it("shows with each NIC its rules and the tables to which they lead, and with the first one what serves the whole Pod", () => {
      const setUp = [
        "ip link add net1 type veth peer name other1 && ip addr add 10.7.0.9/16 dev net1 && ip link set net1 up",
        "ip link add veth0 type veth peer name other0 && ip link set veth0 up && ip link set other0 up && ip link set other1 up",
        "ip route add 10.96.0.0/12 dev veth0",
        "ip route add default dev veth0 table 100 && ip rule add pref 999 fwmark 1 lookup 100",
        "ip route add default via 10.7.0.1 dev net1 table 101 && ip rule add pref 998 from 10.7.0.9 lookup 101",
      ];
      sh(setUp.join(" && "));
      const [pod] = node.pods();
      const [first] = pod?.nics ?? [];
      assert.ok(pod !== undefined && first !== undefined);
      const address = { address: parsePrefix("10.7.0.9/16"), pool: "", gateway: undefined };
      const second = { ...first, ifName: "net1", addresses: [address], hostLinks: [], bridge: undefined };
      const [eth0, net1] = observePaths(
        { ...pod, nics: [first, second] },
        { host: hostNetns(), ovs: node.ovs, answered: () => true, rival: () => undefined },
      );
      sh("ip rule del pref 999 && ip rule del pref 998 && ip link del net1 && ip link del veth0");
      assert.deepEqual(net1?.rules, ["998: from 10.7.0.9/32 lookup 101"]);
      assert.deepEqual(
        net1.routes.filter((route) => !route.startsWith("fe80:")),
        ["default via 10.7.0.1 dev net1 table 101", "10.7.0.0/16 dev net1 table main"],
      );
      for (const route of ["default dev veth0 table 100", "10.96.0.0/12 dev veth0 table main"]) {
        assert.ok(eth0?.routes.includes(route), eth0?.routes.join("; "));
      }
      assert.ok(eth0?.rules.includes("999: from all fwmark 1 lookup 100"));
      assert.ok(!eth0?.rules.some((rule) => rule.startsWith("998:")));
      assert.ok(!eth0?.routes.some((route) => route.includes("net1")));
    });

    it("names another host that answers for the Pod's address, and says when the fault is beyond the node", async () => {
      const [pod] = node.pods();
      assert.ok(pod !== undefined);
      // The bridge, which is in this namespace, answers for the Pod's address, as a further NIC of the Pod would.
      assert.deepEqual(await observeRivals(pod, signal), new Map());
      sh("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
      sh("ip netns exec gateway ip addr add 10.6.0.9/32 dev gw0");
      const rivals = await observeRivals(pod, signal);
      sh("ip netns exec gateway ip addr del 10.6.0.9/32 dev gw0 && sysctl -qw net.ipv4.conf.all.arp_ignore=0");
      const mac = sh("ip netns exec gateway cat /sys/class/net/gw0/address").trim();
      assert.deepEqual([...rivals], [["10.6.0.9", mac]]);
      const look = (of: ReadonlyMap<string, string>) => {
        const sources = { host: hostNetns(), ovs: node.ovs, answered: () => false, rival: (ip: string) => of.get(ip) };
        const [path] = observePaths(pod, sources);
        return path?.hops.flatMap(({ ok, detail }) => (ok === true ? [] : [detail]));
      };
      assert.deepEqual(look(rivals), [`on eth0, and another host answers for it, too: ${mac}`, "silent"]);
      assert.deepEqual(look(new Map()), [
        "silent: the fault is beyond this node (does the switch pass this network's packets, is the address right?)",
      ]);
    });

    it("shows an uplink that passes neither the Pod's VLAN nor its packets of full size", async () => {
      node.vswitch.vsctl("set", "port", "vethpod1", "tag=30", "vlan_mode=access", "--", "set", "port", "up1", "tag=10");
      sh("ip link set eth0 mtu 9000");
      const [pod] = node.pods();
      assert.ok(pod !== undefined);
      const uplinks = () => {
        const [path] = observePaths(pod, {
          host: hostNetns(),
          ovs: node.ovs,
          answered: () => true,
          rival: () => undefined,
        });
        return path?.hops.flatMap(({ name, ok, detail }) =>
          name.startsWith("uplink") ? [[name, ok, detail.split("; ").slice(1)]] : [],
        );
      };
      const long = "the Pod's MTU is 9000: greater packets vanish";
      await until("other uplinks", uplinks, (found) =>
        isDeepStrictEqual(found, [
          ["uplink gw1", false, [long]],
          ["uplink up1", false, [long, "does not pass VLAN 30"]],
        ]),
      );
      sh("ip link set eth0 mtu 1500");
      node.vswitch.vsctl("clear", "port", "vethpod1", "tag", "vlan_mode", "--", "clear", "port", "up1", "tag");
      await until("healthy uplinks", uplinks, (found) => found?.every(([, ok]) => ok === true) === true);
    });
  });
}
