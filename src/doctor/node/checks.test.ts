import assert from "node:assert/strict";
import { rmSync, unlinkSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { isolated } from "../../linux/testing/isolated.ts";
import { nodeChecks } from "./checks.ts";
import { sh, TestNode } from "./testing/test-node.ts";

/** A fault of the node that one check must find. */
interface Case {
  /** The check. */
  readonly id: string;
  /** Makes the fault. */
  readonly inject: (node: TestNode) => void | Promise<void>;
  /** Of the finding's text. */
  readonly found: RegExp;
  /** The interface that the administrator puts where the fix says INTERFACE. */
  readonly uplink?: string;
  /** Checks what the fix told other programs to do, and does it in their place. */
  readonly elsewhere?: (node: TestNode, called: string) => void | Promise<void>;
}

const cases: readonly Case[] = [
  {
    id: "config-outranked",
    inject: (node) => node.write("net.d/00-a.conflist", "{}"),
    found: /00-a\.conflist sorts before 00-multus\.conf/,
  },
  {
    id: "runtime-directory",
    inject: (node) => node.write("etc/containerd/config.toml", node.containerd(node.path("net.d"), "/usr/libexec/cni")),
    found: /config\.toml: the runtime reads plugins from \/usr\/libexec\/cni, ours are in /,
  },
  {
    id: "runtime-directory",
    inject: (node) => node.write("etc/containerd/config.toml", node.containerd("/etc/other.d/", node.path("bin"))),
    found: /the runtime reads configurations from \/etc\/other\.d, ours are in /,
  },
  {
    id: "runtime-directory",
    inject: (node) => node.write("etc/containerd/config.toml", `[cni]\n  conf_dir = "${node.path("net.d")}"\n`),
    found: /the runtime reads plugins from \/opt\/cni\/bin \(its default\), ours are in /,
    elsewhere: (node, called) => {
      assert.match(called, /^upgrade spiderpool .* -n kube-system .*--set global\.cniBinHostPath=\/opt\/cni\/bin$/m);
      node.write("etc/containerd/config.toml", node.containerd(node.path("net.d"), node.path("bin")));
    },
  },
  {
    id: "agent-socket",
    inject: (node) => node.stopAgent(),
    found: /cni\.sock: there is no such socket/,
    elsewhere: async (node, called) => {
      assert.match(called, /-n kube-system delete pod -l \S+=agent --field-selector spec\.nodeName=node1/);
      await node.startAgent();
    },
  },
  {
    id: "token-expiry",
    inject: (node) => node.token(60),
    found: /token expires at .*: the kubelet did not renew it/,
    elsewhere: (node, called) => {
      assert.match(called, /delete pod/);
      node.token(3_600);
    },
  },
  {
    id: "old-plugin-file",
    inject: (node) => {
      unlinkSync(node.path("bin/ovs"));
      node.write("bin/ovs", "another program");
    },
    found: /bin\/ovs is not the plugin that this release installed/,
  },
  {
    id: "apparmor",
    inject: (node) => node.write("apparmor", "cri-containerd.apparmor.d (enforce)\n"),
    found: /confined by AppArmor's profile cri-containerd\.apparmor\.d$/,
    elsewhere: (node, called) => {
      assert.match(called, /get daemonset -l \S+=agent -o name\n.* patch .*"appArmorProfile":\{"type":"Unconfined"\}/);
      node.write("apparmor", "unconfined\n");
    },
  },
  {
    id: "networkmanager",
    inject: (node) => node.write("run/NetworkManager/devices/2", ""),
    found: /NetworkManager manages veth interfaces/,
    elsewhere: (_node, called) => assert.match(called, /^reload NetworkManager$/m),
  },
  {
    id: "networkd",
    inject: (node) => {
      node.write("run/systemd/netif/state", "");
      node.write("etc/systemd/networkd.conf", "[Network]\n#ManageForeignRoutes=yes\n");
    },
    found: /systemd-networkd manages foreign rules and routes/,
    elsewhere: (_node, called) => assert.match(called, /^restart systemd-networkd$/m),
  },
  {
    id: "ovs-socket",
    inject: (node) => node.vswitch.stopDatabase(),
    found: /Open vSwitch's database unix:\S+ does not answer/,
    elsewhere: (node, called) => {
      assert.match(called, /^start openvswitch-switch$/m);
      node.vswitch.startDatabase();
    },
  },
  {
    id: "bridge-missing",
    inject: (node) => {
      sh("ip link add up3 type veth peer name far3");
      node.bridges = ["br1", "br3"];
    },
    found: /^there is no bridge br3; there are: br1$/,
    uplink: "up3",
  },
  {
    id: "bridge-without-uplink",
    inject: (node) => {
      sh("ip link add up2 type veth peer name far2");
      node.vswitch.addBridge("br2");
      node.networks = [...node.networks, { name: "kube-system/br2", bridge: "br2", vlans: undefined }];
    },
    found: /bridge br2 has no uplink/,
    uplink: "up2",
  },
  {
    id: "bridge-without-uplink",
    // Both uplinks of the Pod's bridge are down. A silent gateway is then no finding of its own.
    inject: () => void sh("ip link set up1 down && ip link set gw1 down"),
    found: /bridge br1 has no uplink that is up: gw1, up1 is down/,
  },
  {
    id: "uplink-address",
    inject: () => void sh("ip addr add 192.0.2.5/24 dev up1 && ip route add default via 192.0.2.1 dev up1"),
    found: /uplink up1 of bridge br1 has 192\.0\.2\.5\/24/,
    elsewhere: () => {
      assert.match(sh("ip route show default"), /default via 192\.0\.2\.1 dev br1/);
      sh("ip addr flush dev br1");
    },
  },
  {
    id: "stale-port",
    inject: (node) => node.ownPort("vethgone"),
    found: /port vethgone of bridge br1 has no network device any more/,
  },
  {
    id: "mtu",
    inject: () => void sh("ip link set vethpod1 mtu 9000 && ip link set gw1 mtu 9000"),
    found: /uplink up1 of bridge br1 has an MTU of 1500, a Pod's port 9000 \(vethpod1\)/,
  },
  {
    id: "vlan-mismatch",
    inject: (node) => void node.vswitch.vsctl("set", "port", "up1", "trunks=0,10,20"),
    found: /network kube-system\/br1 uses VLAN 30, its uplink up1 passes only 0, 10, 20/,
  },
  {
    id: "vlan-mismatch",
    inject: (node) => void node.vswitch.vsctl("clear", "port", "up1", "trunks", "--", "set", "port", "up1", "tag=10"),
    found: /network kube-system\/br1 uses VLAN 0, 30, its uplink up1 is an access port of VLAN 10/,
  },
  {
    id: "rp-filter",
    inject: () => void sh("sysctl -qw net.ipv4.conf.all.rp_filter=1"),
    found: /net\.ipv4\.conf\.all\.rp_filter is 1/,
  },
  {
    id: "host-rule",
    inject: () => void sh("ip rule del pref 1000"),
    found: /the node has no IPv4 rule 1000 that looks up table 500/,
  },
  {
    id: "nic-gone",
    inject: () => void sh("ip link set eth0 name eth9"),
    found: /^Pod default\/web-0 runs, and has no eth0 any more$/,
    elsewhere: (_node, called) => {
      assert.match(called, /^-n default delete pod web-0$/m);
      sh("ip link set eth9 name eth0");
    },
  },
  {
    id: "silent-gateway",
    inject: () => void sh("ip netns exec gateway ip link set gw0 down"),
    found: /gateway 10\.6\.0\.1 of pool pool1 does not answer Pod default\/web-0 on eth0$/,
    elsewhere: (_node, called) => {
      assert.match(called, /^net show default\/web-0 --draw\nedit spiderippool pool1$/m);
      sh("ip netns exec gateway ip link set gw0 up");
    },
  },
];

if (isolated(import.meta.url)) {
  describe("the doctor on a node", () => {
    let node: TestNode;
    before(async () => {
      node = new TestNode();
      await node.startAgent();
    });
    after(() => node[Symbol.asyncDispose]());

    it("finds nothing on a healthy node", async () => {
      assert.deepEqual(await node.examineUntil((ids) => ids.length === 0), []);
    });

    for (const { id, inject, found, uplink = "", elsewhere } of cases) {
      it(`finds ${id} and nothing else, and the fix mends it (${found.source})`, async () => {
        await inject(node);
        // Not at once: Open vSwitch needs a moment to notice, and until then the fault may show in its Pods alone.
        const [finding] = await node.examineUntil((ids) => ids.length === 1 && ids[0] === id);
        assert.ok(finding !== undefined);
        assert.match(finding.found, found);
        rmSync(node.path("called"), { force: true });
        node.fix(finding, uplink);
        await elsewhere?.(node, node.called);
        await node.examineUntil((ids) => ids.length === 0);
      });
    }

    it("takes less than 5 s where neither Open vSwitch, the agent's socket nor the gateway answers", async () => {
      await node.stopAgent();
      await node.vswitch.stopDatabase();
      sh("ip netns exec gateway ip link set gw0 down");
      const isAll = (ids: readonly string[]) => ["agent-socket", "ovs-socket"].every((id) => ids.includes(id));
      await node.examineUntil(isAll);
      // The fastest of three: a machine may be busy otherwise.
      const tookMs: number[] = [];
      for (const _ of [1, 2, 3]) {
        const beginMs = performance.now();
        assert.ok(isAll((await node.examine()).map(({ id }) => id)));
        tookMs.push(performance.now() - beginMs);
      }
      sh("ip netns exec gateway ip link set gw0 up");
      await node.vswitch.startDatabase();
      await node.startAgent();
      assert.ok(Math.min(...tookMs) < 5_000, `${tookMs.map(Math.round).join(", ")} ms`);
      await node.examineUntil((ids) => ids.length === 0);
    });

    it("has a case for each check", () => {
      assert.deepEqual(new Set(cases.map(({ id }) => id)), new Set(nodeChecks.map(({ id }) => id)));
    });
  });
}
