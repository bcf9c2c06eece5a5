import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { type FailPoint, silentLogger, Tasks } from "#base";
import { type Attachment, CniError, type CniResult, type JsonObject } from "#cni";
import { parseIp, parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns, openNetns, writeSysctl } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { configureInterface } from "../configure.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import type { ClusterConfig } from "./config.ts";
import { hostVethName } from "./plan.ts";
import { createCoordinatorPlugin } from "./plugin.ts";

const run = promisify(execFile);

const cluster: ClusterConfig = {
  mode: "auto",
  serviceCIDR: ["10.96.0.0/12", "fd00:96::/112"],
  hijackCIDR: ["169.254.0.0/16"],
  hostRuleTable: 500,
  vethMTU: 1400,
};

if (isolated(import.meta.url)) {
  const tasks = new Tasks(silentLogger);
  const host = hostNetns();
  let pods = 0;

  /**
   * The node has an interface of its own, a bridge without addresses that is the underlay, and forwards for a client
   * behind it. The service addresses are on an interface as kube-proxy's.
   */
  before(() => {
    using client = createNetns("/run/netns/client");
    host.rtnl.createLink({ name: "underlay", kind: { kind: "bridge" }, up: true, addrGenModeNone: true });
    host.rtnl.createVeth({ name: "node0", up: true, peer: { name: "eth0", netns: client, up: true } });
    for (const [v4, v6, { rtnl }, dev] of [
      ["172.18.0.3/24", "fc00:f853::3/64", host, "node0"],
      ["172.18.0.9/24", "fc00:f853::9/64", client, "eth0"],
    ] as const) {
      rtnl.addAddress(dev, parsePrefix(v4));
      rtnl.addAddress(dev, parsePrefix(v6), { nodad: true });
    }
    for (const family of [4, 6] as const) {
      const dst = parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0");
      const gw = (v4: string, v6: string) => parseIp(family === 4 ? v4 : v6);
      client.rtnl.addRoute({ dst, gw: gw("172.18.0.3", "fc00:f853::3") });
      host.rtnl.addRoute({ dst, gw: gw("172.18.0.9", "fc00:f853::9") });
    }
    host.rtnl.createVeth({ name: "kube-ipvs0", up: true, peer: { name: "kube-ipvs1", up: true } });
    for (const service of ["10.96.0.1/32", "fd00:96::1/128"])
      host.rtnl.addAddress("kube-ipvs0", parsePrefix(service), { nodad: true });
    writeSysctl(host, "net/ipv4/ip_forward", 1);
    writeSysctl(host, "net/ipv6/conf/all/forwarding", 1);
  });
  after(() => tasks.stop());

  const client = (...argv: readonly string[]) => enter("/run/netns/client", argv);

  function enter(netns: string, argv: readonly string[]): string {
    return execFileSync("nsenter", [`--net=${netns}`, ...argv], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** A Pod whose eth0 is on the underlay, where nobody answers for its gateway. */
  function pod(addresses: readonly string[], raw: JsonObject = {}, config: Partial<ClusterConfig> | Error = {}) {
    const containerId = `container-${String(++pods).padStart(3, "0")}`.slice(4);
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    addNic("eth0", addresses, ["10.6.0.1", "fd06::1"]);
    const plugin = createCoordinatorPlugin({
      host,
      clusterConfig: async () => {
        await Promise.resolve();
        if (config instanceof Error) throw config;
        return { ...cluster, ...config };
      },
      tasks,
    });
    const prevResult: CniResult = { interfaces: [], ips: [], routes: [] };
    const attachmentOf = (ifName: string): Attachment => {
      return { containerId, ifName, netns, pod: undefined, args: new Map() };
    };
    const decode = (object: JsonObject) =>
      plugin.decode({ cniVersion: "1.0.0", name: "n", type: "coordinator", raw: object, prevResult });
    const decoded = decode(raw);

    function addNic(name: string, ips: readonly string[], gateways: readonly string[]): void {
      using here = openNetns(netns);
      const outside = `u${pods}${name}`;
      const { peer } = host.rtnl.createVeth({ name: outside, peer: { name, netns: here } });
      host.rtnl.setLink(outside, { master: "underlay", up: true });
      configureInterface(here, peer, {
        ips: ips.map((text) => ({ address: parsePrefix(text) })),
        routes: ips.map((text) => {
          const { family } = parsePrefix(text).ip;
          const gw = gateways.map((one) => parseIp(one)).find((one) => one.family === family);
          return {
            dst: parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0"),
            ...(gw === undefined ? {} : { gw }),
            priority: name === "eth0" ? 0 : 100,
          };
        }),
      });
    }

    /** As an overlay network would: eth0 leads to the node alone, which has routes to the Pod's addresses. */
    function becomeOverlay(ips: readonly string[]): void {
      using here = openNetns(netns);
      here.rtnl.deleteLink("eth0");
      const outside = `cali${pods}`;
      const { index, mac, peer } = host.rtnl.createVeth({
        name: outside,
        addrGenModeNone: true,
        up: true,
        peer: { name: "eth0", netns: here },
      });
      host.rtnl.addAddress(index, parsePrefix("fe80::1/64"), { nodad: true });
      const gateways = ["169.254.1.1", "fe80::1"].map((text) => parseIp(text));
      configureInterface(here, peer, { ips: ips.map((text) => ({ address: parsePrefix(text) })), routes: [] });
      for (const text of ips) {
        const dst = parsePrefix(text);
        host.rtnl.addRoute({ dst, dev: index });
        const gw = gateways.find(({ family }) => family === dst.ip.family);
        const all = parsePrefix(dst.ip.family === 4 ? "0.0.0.0/0" : "::/0");
        here.rtnl.addRoute({ dst: all, dev: peer.index, onlink: true, ...(gw === undefined ? {} : { gw }) });
      }
      for (const gw of gateways) here.rtnl.setNeighbour(peer.index, gw, mac);
    }

    return {
      containerId,
      netns,
      prevResult,
      becomeOverlay,
      hostName: hostVethName(containerId),
      addNic,
      add: (ifName = "eth0", failPoint?: FailPoint, more: JsonObject = {}) => {
        const config = Object.keys(more).length === 0 ? decoded : decode({ ...raw, ...more });
        return runSteps((steps) => plugin.add(config, attachmentOf(ifName), steps), failPoint);
      },
      check: (ifName = "eth0") => plugin.check(decoded, attachmentOf(ifName), deadline()),
      del: (ifName = "eth0", more: Partial<Attachment> = {}) =>
        plugin.del(decoded, { ...attachmentOf(ifName), ...more }, deadline()),
      inside: (...argv: readonly string[]) => enter(netns, argv),
    };
  }
  type Pod = ReturnType<typeof pod>;

  const ping = (address: string) => ["ping", "-c", "1", "-W", "2", address];
  const onNode = (...argv: readonly string[]) => execFileSync(argv[0] ?? "", argv.slice(1), { encoding: "utf8" });

  /** Neither link nor route nor neighbour of the Pod is left on the node. */
  async function assertNothingLeft({ hostName }: Pod, addresses: readonly string[]): Promise<void> {
    await host.rtnl.deleteLinksLater([hostName]); // Waits for deletions that were queued before.
    assert.equal(host.rtnl.link(hostName), undefined);
    const left = [
      onNode("ip", "route", "show", "table", "all"),
      onNode("ip", "-6", "route", "show", "table", "all"),
      onNode("ip", "neigh", "show", "nud", "permanent"),
    ].join("");
    for (const address of addresses) assert.ok(!left.includes(`${address} `), left);
  }

  async function missingOf(checked: Promise<void>): Promise<readonly string[]> {
    const error: unknown = await checked.then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.ok(error instanceof CniError);
    return error.details["missing"] as readonly string[];
  }

  describe("the coordinator plugin", { timeout: 120_000 }, () => {
    it("lets node and Pod reach each other in both families, and CHECK finds nothing missing", async () => {
      const one = pod(["10.6.0.10/16", "fd06::10/64"]);
      assert.deepEqual(await one.add(), one.prevResult);
      for (const [podAddress, nodeAddress] of [
        ["10.6.0.10", "172.18.0.3"],
        ["fd06::10", "fc00:f853::3"],
      ] as const) {
        onNode(...ping(podAddress));
        one.inside(...ping(nodeAddress));
      }
      const [inside, outside] = [one.inside("ip", "addr", "show", "veth0"), onNode("ip", "addr", "show", one.hostName)];
      for (const shown of [inside, outside]) {
        assert.match(shown, /mtu 1400.*state UP/);
        assert.doesNotMatch(shown, /inet/);
      }
      await one.check();
      await one.del();
      await assertNothingLeft(one, ["10.6.0.10", "fd06::10"]);
    });

    it("keeps the node's end out of IPv6 until an interface of the Pod has it, and then from routes of the Pod", async () => {
      const one = pod(["10.6.0.40/16"]);
      await one.add();
      const setting = (name: string) => onNode("sysctl", "-n", `net.ipv6.conf.${one.hostName}.${name}`).trim();
      assert.equal(setting("disable_ipv6"), "1");
      one.addNic("net1", ["fd06::40/64"], ["fd06::1"]);
      await one.add("net1");
      assert.deepEqual([setting("disable_ipv6"), setting("accept_ra")], ["0", "0"]);
      assert.doesNotMatch(onNode("ip", "addr", "show", one.hostName), /inet6/);
      await one.check("net1");
      await one.check();
      await one.del("net1");
      await one.del();
      await assertNothingLeft(one, ["10.6.0.40", "fd06::40"]);
    });

    it("carries TCP from the node to the Pod and from the Pod to services through the node", async () => {
      const one = pod(["10.6.0.11/16", "fd06::11/64"]);
      await one.add();
      for (const [podAddress, service] of [
        ["10.6.0.11", "10.96.0.1"],
        ["fd06::11", "fd00:96::1"],
      ] as const) {
        assert.equal(await fromPodServer(one, podAddress), "hello");
        assert.equal(await seenByService(one, service), podAddress);
      }
      await one.del();
    });

    it("sends replies to connections that came through the node back through it, though eth0 has the default route", async () => {
      const one = pod(["10.6.0.12/16", "fd06::12/64"]);
      await one.add();
      client(...ping("10.6.0.12"));
      client(...ping("fd06::12"));
      assert.match(one.inside("ip", "route", "get", "172.18.0.9"), /dev eth0/);
      one.inside("ip", "rule", "del", "pref", "1000");
      assert.throws(() => client("ping", "-c", "1", "-W", "1", "10.6.0.12"));
      await one.del();
    });

    it("makes what CHECK finds missing when ADD is repeated, and no more", async () => {
      const one = pod(["10.6.0.13/16"]);
      await one.add();
      one.inside("ip", "route", "del", "10.96.0.0/12");
      assert.deepEqual(await missingOf(one.check()), [
        "pod: route 10.96.0.0/12 via 172.18.0.3 dev veth0 src 10.6.0.13 table 254",
      ]);
      one.inside("ip", "rule", "del", "pref", "1000");
      onNode("ip", "neigh", "del", "10.6.0.13", "dev", one.hostName);
      onNode("ip", "rule", "del", "pref", "1000");
      assert.equal((await missingOf(one.check())).length, 4);
      await one.add();
      await one.check();
      const rules = onNode("ip", "rule").split("\n");
      assert.equal(rules.filter((rule) => rule.startsWith("1000:")).length, 1);
      await one.del();
    });

    it("takes over an address whose earlier holder left a route and a neighbour", async () => {
      host.rtnl.createVeth({ name: "stale0", up: true, peer: { name: "stale1", up: true } });
      host.rtnl.setNeighbour("stale0", parseIp("10.6.0.14"), "02:00:00:00:00:01");
      host.rtnl.addRoute({ dst: parsePrefix("10.6.0.14/32"), dev: "stale0", table: 500 });
      host.rtnl.addRoute({ dst: parsePrefix("fd06::14/128"), dev: "stale0", table: 500 });
      const one = pod(["10.6.0.14/16", "fd06::14/64"]);
      await one.add();
      onNode(...ping("10.6.0.14"));
      onNode(...ping("fd06::14"));
      await one.del();
      await assertNothingLeft(one, ["10.6.0.14", "fd06::14"]);
      await host.rtnl.deleteLinksLater(["stale0"]);
    });

    it("sets what is configured in the Pod: MAC address, queue, rp_filter, the veth's address and policy routes", async () => {
      const one = pod(["10.6.0.15/16"], {
        podMACPrefix: "0a:1b",
        txQueueLen: 333,
        podRPFilter: 2,
        vethLinkAddress: "169.254.200.1",
        policyRoutes: [
          { dst: "192.168.7.9/24", gw: "10.6.0.2" },
          { dst: "fd77::/64", gw: "fd06::2" },
        ],
      });
      await one.add();
      assert.match(one.inside("ip", "link", "show", "eth0"), /qlen 333.*\n.*0a:1b:0a:06:00:0f/);
      assert.match(one.inside("ip", "addr", "show", "veth0"), /inet 169\.254\.200\.1\/32/);
      assert.match(one.inside("ip", "route"), /192\.168\.7\.0\/24 via 10\.6\.0\.2 dev eth0/);
      assert.equal(one.inside("cat", "/proc/sys/net/ipv4/conf/all/rp_filter").trim(), "2");
      await one.check();
      await one.del();
    });

    it("gives a second NIC a table of its own that leads to the node, and takes only its own away", async () => {
      const one = pod(["10.6.0.16/16", "fd06::16/64"]);
      await one.add();
      one.addNic("net1", ["10.7.0.16/16", "fd07::16/64"], ["10.7.0.1", "fd07::1"]);
      await one.add("net1");
      for (const address of ["10.6.0.16", "10.7.0.16", "fd06::16", "fd07::16"]) onNode(...ping(address));
      for (const address of ["10.6.0.16", "fd06::16"]) client(...ping(address));
      assert.match(one.inside("ip", "rule"), /999:\s+from 10\.7\.0\.16 lookup 101/);
      assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", "10.7.0.16"), /via 10\.7\.0\.1 dev net1/);
      assert.doesNotMatch(one.inside("ip", "route"), /default.*net1/);
      await one.check("net1");
      await one.check();
      await one.del("net1");
      await one.del("net1");
      assert.doesNotMatch(onNode("ip", "route", "show", "table", "500"), /10\.7\.0\.16/);
      assert.doesNotMatch(one.inside("ip", "rule"), /10\.7\.0\.16/);
      onNode(...ping("10.6.0.16"));
      await one.del();
      await assertNothingLeft(one, ["10.6.0.16", "10.7.0.16", "fd06::16", "fd07::16"]);
    });

    it("moves the second NIC's next hop of an IPv6 multipath default route, and leaves the first NIC's", async () => {
      const one = pod(["fd06::33/64"]);
      await one.add();
      one.addNic("net1", ["fd07::33/64"], ["fd07::1"]);
      const routes = (...argv: readonly string[]) => one.inside("ip", "-6", "route", ...argv);
      // As plugins do that give it no metric of its own.
      routes("del", "default", "dev", "net1");
      routes("append", "default", "via", "fd07::1", "dev", "net1");
      assert.match(routes("show", "default"), /nexthop via fd06::1 dev eth0.*\n.*nexthop via fd07::1 dev net1/);
      await one.add("net1");
      assert.match(routes("show", "default"), /^default via fd06::1 dev eth0 .*\n$/);
      assert.match(routes("show", "table", "101"), /^default via fd07::1 dev net1/m);
      await Promise.all([one.check(), one.check("net1")]);
      onNode(...ping("fd07::33"));
      await one.del("net1");
      await one.del();
    });

    it("deletes twice, without a namespace, and without the cluster's configuration", async () => {
      const twice = pod(["10.6.0.17/16"]);
      await twice.add();
      await twice.del();
      await twice.del();
      await assertNothingLeft(twice, ["10.6.0.17"]);
      const vanished = pod(["10.6.0.18/16"]);
      await vanished.add();
      deleteNetns(vanished.netns);
      await vanished.del();
      await vanished.del("net1");
      await assertNothingLeft(vanished, ["10.6.0.18"]);
      const away = pod(["10.6.0.19/16"], {}, new Error("not synced"));
      await assert.rejects(away.add(), /not synced/);
      await away.del("eth0", { netns: "" });
      await away.del("net1");
    });

    it("does nothing where it is disabled, by either word", async () => {
      for (const mode of ["disable", "disabled"]) {
        const one = pod(["10.6.0.20/16"], { mode });
        assert.deepEqual(await one.add(), one.prevResult);
        await one.check();
        assert.equal(host.rtnl.link(one.hostName), undefined);
        await one.del();
      }
    });

    it("leaves nothing when it fails, and what an earlier ADD made when a repeated one does", async () => {
      const one = pod(["10.6.0.21/16"], { policyRoutes: [{ dst: "192.168.8.0/24", gw: "192.168.9.1" }] });
      await assert.rejects(one.add(), /add route 192\.168\.8\.0\/24/);
      await assertNothingLeft(one, ["10.6.0.21"]);
      const two = pod(["10.6.0.22/16"]);
      await two.add();
      two.inside("ip", "addr", "flush", "dev", "eth0");
      await assert.rejects(two.add(), /no usable IP addresses/);
      assert.ok(host.rtnl.link(two.hostName)?.up);
      await two.del();
      const three = pod(["10.6.0.27/16"], { policyRoutes: [{ dst: "192.168.8.0/24", gw: "10.6.0.2" }] });
      await three.add();
      three.addNic("net1", ["10.7.0.27/16"], ["10.7.0.1"]);
      await assert.rejects(three.add("net1"), /add route 192\.168\.8\.0\/24/);
      onNode(...ping("10.6.0.27"));
      assert.doesNotMatch(onNode("ip", "route", "show", "table", "500"), /10\.7\.0\.27/);
      await three.del();
    });

    it("leaves nothing when it fails before or after its stage, for the first NIC and for a later one", async () => {
      const one = pod(["10.6.0.28/16"]);
      for (const point of ["coordinator:before", "coordinator:after"]) {
        const fail: FailPoint = (reached) => {
          if (reached === point) throw new Error(`failed at ${point}`);
        };
        await assert.rejects(one.add("eth0", fail), { message: `failed at ${point}` });
        await assertNothingLeft(one, ["10.6.0.28"]);
      }
      await one.add();
      one.addNic("net1", ["10.7.0.28/16"], ["10.7.0.1"]);
      const fail: FailPoint = (reached) => {
        if (reached === "coordinator:after") throw new Error("failed");
      };
      await assert.rejects(one.add("net1", fail), { message: "failed" });
      assert.doesNotMatch(onNode("ip", "route", "show", "table", "500"), /10\.7\.0\.28/);
      onNode(...ping("10.6.0.28"));
      await one.del();
    });

    it("coordinates NICs beside an overlay network's: the node reaches both, both reach Services, by ping and TCP", async () => {
      const [overlayIps, underlayIps] = [
        ["10.244.0.30/32", "fd44::30/128"],
        ["10.7.0.30/16", "fd07::30/64"],
      ] as const;
      const one = pod([]);
      one.becomeOverlay(overlayIps);
      one.addNic("net1", underlayIps, ["10.7.0.1", "fd07::1"]);
      await one.add("net1");
      for (const address of ["10.244.0.30", "fd44::30", "10.7.0.30", "fd07::30"]) {
        onNode(...ping(address));
        assert.equal(await fromPodServer(one, address), "hello");
      }
      // To net1 they come by its own network.
      for (const address of ["10.244.0.30", "fd44::30"]) client(...ping(address));
      for (const address of ["172.18.0.3", "fc00:f853::3"]) one.inside(...ping(address));
      for (const service of ["10.96.0.1", "fd00:96::1"]) assert.ok(await seenByService(one, service));
      assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", "10.7.0.30"), /via 10\.7\.0\.1 dev net1/);
      assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", "10.244.0.30"), /dev eth0/);
      assert.doesNotMatch(one.inside("ip", "link"), /veth0/);
      await one.check("net1");

      one.addNic("net2", ["10.7.1.30/16"], ["10.7.0.1"]);
      await one.add("net2");
      onNode(...ping("10.7.1.30"));
      await Promise.all([one.check("net1"), one.check("net2")]);
      await one.del("net2");
      await one.del("net1");
      await one.del("net1");
      onNode(...ping("10.244.0.30"));
      const left = onNode("ip", "route", "show", "table", "500") + onNode("ip", "-6", "route", "show", "table", "500");
      assert.doesNotMatch(left, /10\.7\.|fd07/);
    });

    it("refuses the modes that do not fit the interfaces that are there", async () => {
      const first = pod(["10.6.0.31/16"], { mode: "overlay" });
      await assert.rejects(first.add(), /must not run on the first interface in overlay mode/);
      await assertNothingLeft(first, ["10.6.0.31"]);
      const [settings, underlay] = [{ mode: "overlay" }, pod(["10.6.0.32/16"])];
      await underlay.add();
      underlay.addNic("net1", ["10.7.0.32/16"], ["10.7.0.1"]);
      await assert.rejects(underlay.add("net1", undefined, settings), /previous interface works in underlay mode/);
      await underlay.del();
    });

    it("refuses a veth0 that is not its own, and a second NIC without the first", async () => {
      const one = pod(["10.6.0.23/16"]);
      one.inside("ip", "link", "add", "veth0", "type", "veth", "peer", "other");
      await assert.rejects(one.add(), /no other end on the node/);
      assert.match(one.inside("ip", "link"), /veth0@other/);
      await assert.rejects(pod(["10.6.0.24/16"], { mode: "underlay", podDefaultCniNic: "net0" }).add(), /not created/);
    });

    it("knows a new address of the node at the next ADD", async () => {
      const before = pod(["10.6.0.25/16"]);
      await before.add();
      host.rtnl.addAddress("node0", parsePrefix("172.18.0.4/24"));
      const after = pod(["10.6.0.26/16"]);
      await until(async () => {
        await after.add();
        return /172\.18\.0\.4 dev veth0/.test(after.inside("ip", "route"));
      });
      after.inside(...ping("172.18.0.4"));
      host.rtnl.deleteAddress("node0", parsePrefix("172.18.0.4/24"));
      await Promise.all([before.del(), after.del()]);
    });
  });

  /** Turns of the event loop until something is so. */
  async function until(look: () => Promise<boolean>): Promise<void> {
    const { signal } = deadline();
    while (!(await look())) {
      signal.throwIfAborted();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** What a server in the Pod sends to the node. */
  async function fromPodServer(one: Pod, address: string): Promise<string> {
    const listen = `require("net").createServer((s) => s.end("hello")).listen(80, "::", () => console.log("listening"))`;
    const argv = ["--pdeathsig", "KILL", "nsenter", `--net=${one.netns}`, process.execPath, "-e", listen];
    const listening = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(listening, "exit");
    try {
      await once(listening.stdout, "data", deadline());
      const socket = connect(80, address);
      const [data] = (await once(socket, "data", deadline())) as [Buffer];
      socket.destroy();
      return data.toString();
    } finally {
      listening.kill();
      await exited;
    }
  }

  /** The client's address that a server on the node sees when the Pod connects to a service. */
  async function seenByService(one: Pod, service: string): Promise<string | undefined> {
    let seen: string | undefined;
    const server = createServer((socket) => {
      seen = socket.remoteAddress;
      socket.end();
    }).listen(80, service);
    await once(server, "listening");
    try {
      const dial = `require("net").connect(80, "${service}").on("end", () => process.exit()).resume()`;
      await run("nsenter", [`--net=${one.netns}`, process.execPath, "-e", dial], { timeout: 20_000 });
      return seen;
    } finally {
      server.close();
    }
  }
}
