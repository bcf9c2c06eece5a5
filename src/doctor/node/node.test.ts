import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { silentLogger, systemClock } from "#base";
import { formatShimSettings } from "#cni";
import { parsePrefix } from "#ip";
import { hostNetns } from "#linux";
import { createOvs, type Ovs, portOwnerTag } from "#ovsdb";
import { until } from "../../base/testing/until.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { type OpenVswitch, startOpenVswitch } from "../../ovsdb/testing/open-vswitch.ts";
import { type Finding, runChecks } from "../check.ts";
import { nodePaths, observeNode, observeRivals } from "../observe/observe.ts";
import { observePaths } from "../path.ts";
import { nodeChecks } from "./checks.ts";
import type { NetworkFacts, PodFacts } from "./facts.ts";

const signal = AbortSignal.timeout(120_000);
const sh = (command: string, path = process.env["PATH"]) =>
  execFileSync("sh", ["-ec", command], { encoding: "utf8", env: { ...process.env, PATH: path }, stdio: "pipe" });

/** What the coordinator makes on the node. */
const podRoute = "ip route add 10.6.0.9/32 dev vethpod1 table 500";

/** A healthy node: real kernel and Open vSwitch in namespaces of this file, and a folder in place of its files. */
class TestNode {
  readonly folder = mkdtempSync(join(tmpdir(), "doctor-"));
  readonly vswitch: OpenVswitch = startOpenVswitch();
  readonly ovs: Ovs & AsyncDisposable;
  networks: readonly NetworkFacts[] = [{ name: "kube-system/br1", bridge: "br1", vlans: [0, 30] }];
  /** Named for this node. */
  bridges: readonly string[] = ["br1"];
  readonly #stubs: string;
  #agent: Server | undefined;

  constructor() {
    this.ovs = createOvs({ endpoint: this.vswitch.endpoint, clock: systemClock, log: silentLogger });
    this.#stubs = this.path("stubs");
    for (const name of ["etc", "run", "usr", "net.d", "bin", "state"]) mkdirSync(this.path(name));
    this.write("net.d/00-multus.conf", "{}");
    this.write("net.d/10-calico.conflist", "{}");
    const program = "the shim";
    this.write("bin/.spiderpool-shim", program);
    linkSync(this.path("bin/.spiderpool-shim"), this.path("bin/ovs"));
    this.write("bin/.spiderpool-socket", formatShimSettings({ socketPath: this.path("cni.sock") }));
    const sha256 = createHash("sha256").update(program).digest("hex");
    const files = ["ovs", ".spiderpool-shim"].map((name) => ({ path: this.path(`bin/${name}`), sha256 }));
    this.write("state/installed.json", JSON.stringify({ format: 1, files }));
    this.token(3_600);
    this.write("apparmor", "unconfined\n");
    this.write("etc/containerd/config.toml", this.containerd(this.path("net.d"), this.path("bin")));
    // Commands of a fix that would reach beyond this test; each notes that it was called.
    this.stub("systemctl", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("spiderpoolctl", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("helm", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("kubectl", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("ovs-vsctl", `exec ${sh("command -v ovs-vsctl").trim()} --db=${this.vswitch.endpoint} "$@"`);
    sh("ip link add up1 type veth peer name far1 && ip link set up1 up && ip link set far1 up");
    sh("ip link add vethpod1 type veth peer name eth0 && ip link set vethpod1 up && ip link set eth0 up");
    sh(
      "ip addr add 10.6.0.9/16 dev eth0 && ip rule add pref 1000 lookup 500 && sysctl -qw net.ipv4.conf.all.rp_filter=0",
    );
    sh(podRoute);
    // The gateway of the Pod's network: another namespace's, behind the same bridge.
    sh("ip link add gw1 type veth peer name gw0 && ip netns add gateway && ip link set gw0 netns gateway");
    sh("ip link set gw1 up && ip netns exec gateway ip addr add 10.6.0.1/16 dev gw0");
    sh("ip netns exec gateway ip link set gw0 up");
    this.vswitch.addBridge("br1");
    this.vswitch.vsctl("add-port", "br1", "up1");
    this.vswitch.vsctl("add-port", "br1", "gw1");
    this.ownPort("vethpod1");
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
  }

  token(leftS: number): void {
    const now = Math.floor(Date.now() / 1000);
    const payload = Buffer.from(JSON.stringify({ iat: now + leftS - 3_600, exp: now + leftS })).toString("base64url");
    this.write("token", `e30.${payload}.sig`);
  }

  containerd(confDir: string, binDir: string): string {
    return `[plugins."io.containerd.cri.v1.runtime".cni]\n  conf_dir = "${confDir}"\n  bin_dir = "${binDir}"\n`;
  }

  ownPort(name: string): void {
    const ids = ["contNetns=/n", "contIface=eth0", `owner=${portOwnerTag}`].map((one) => `external_ids:${one}`);
    this.vswitch.vsctl("--no-wait", "add-port", "br1", name, "--", "set", "port", name, ...ids);
  }

  stub(name: string, text: string): void {
    this.write(`stubs/${name}`, `#!/bin/sh\nLOG=${this.path("called")}\n${text}\n`);
    chmodSync(this.path(`stubs/${name}`), 0o755);
  }

  /** What commands beyond this test were called for. */
  get called(): string {
    return existsSync(this.path("called")) ? readFileSync(this.path("called"), "utf8") : "";
  }

  async startAgent(): Promise<void> {
    this.#agent = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => this.#agent?.listen(this.path("cni.sock"), resolve));
  }

  async stopAgent(): Promise<void> {
    await new Promise((resolve) => this.#agent?.close(resolve));
  }

  pods(): readonly PodFacts[] {
    const addresses = [{ address: parsePrefix("10.6.0.9/16"), gateway: "10.6.0.1", pool: "pool1" }];
    const nic = { ifName: "eth0", network: "kube-system/br1", addresses, hostLinks: ["vethpod1"] };
    const nics = [{ ...nic, bridge: "br1", hostRuleTable: 500 }];
    // The Pod's end stays in this namespace, so that the node's own path does for the Pod's.
    return [{ pod: "default/web-0", netnsPath: hostNetns().path, nics }];
  }

  async examine(): Promise<readonly Finding[]> {
    const local = (name: string) => this.path(name);
    const paths = {
      ...nodePaths,
      ...{ etc: local("etc"), run: local("run"), usrLib: local("usr"), confDir: local("net.d"), binDir: local("bin") },
      ...{ stateDir: local("state"), token: local("token"), appArmor: local("apparmor") },
    };
    const facts = await observeNode({
      ...{ node: "node1", namespace: "kube-system", paths, host: hostNetns(), ovs: this.ovs },
      ...{
        endpoint: this.vswitch.endpoint,
        networks: this.networks,
        bridges: this.bridges,
        pods: this.pods(),
        isAgent: true,
      },
      ...{ now: new Date(), signal },
    });
    return runChecks(nodeChecks, facts, "node1");
  }

  /** Until the picture of Open vSwitch has what was just written: a look at the clock decides nothing. */
  async examineUntil(isSo: (ids: readonly string[]) => boolean): Promise<readonly Finding[]> {
    return until(
      "other findings",
      () => this.examine(),
      (found) => isSo(found.map(({ id }) => id)),
    );
  }

  fix({ fix }: Finding, uplink: string): void {
    sh(fix.join("\n").replaceAll("INTERFACE", uplink), `${this.#stubs}:${process.env["PATH"]}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent();
    await this.ovs[Symbol.asyncDispose]();
    await this.vswitch[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }
}

/** A fault: how it comes about, and what somebody beyond this test does when a fix tells it to. */
interface Case {
  readonly id: string;
  readonly inject: (node: TestNode) => void | Promise<void>;
  readonly found: RegExp;
  /** Where several interfaces could be meant, a person chooses this one. */
  readonly uplink?: string;
  /** The part of the fix that is not on this node. */
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
      assert.match(called, /-n kube-system delete pod -l \S+=spiderpool-agent --field-selector spec\.nodeName=node1/);
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
      assert.match(called, /patch daemonset spiderpool-agent .*"appArmorProfile":\{"type":"Unconfined"\}/);
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
    // Both ways out of the Pod's bridge: that its gateway is silent, too, goes without saying.
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

    it("shows the way of a packet from the Pod to its gateway, and where it ends", async () => {
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

    it("tells who else answers for the Pod's address, and where to look when all of the node is in order", async () => {
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

    for (const { id, inject, found, uplink = "", elsewhere } of cases) {
      it(`finds ${id}, and nothing else, and its fix mends it (${found.source})`, async () => {
        await inject(node);
        // Not at once: the switch needs a moment to notice, and meanwhile its Pods may suffer.
        const [finding] = await node.examineUntil((ids) => ids.length === 1 && ids[0] === id);
        assert.ok(finding !== undefined);
        assert.match(finding.found, found);
        rmSync(node.path("called"), { force: true });
        node.fix(finding, uplink);
        await elsewhere?.(node, node.called);
        await node.examineUntil((ids) => ids.length === 0);
      });
    }

    it("has a case for each check", () => {
      assert.deepEqual(new Set(cases.map(({ id }) => id)), new Set(nodeChecks.map(({ id }) => id)));
    });
  });
}
