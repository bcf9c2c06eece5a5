import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { parse } from "yaml";
import type { JsonObject, Steps } from "#base";
import { type Attachment, type CniResult, emptyResult, type Ipam, type PluginConfig } from "#cni";
import { parseIp, parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns } from "#linux";
import { createOvsPlugin, type Plugin } from "#plugins";
import { ForeignIpam } from "../../src/agent/addresses/foreign-ipam.ts";
import { ipamTypeOf } from "../../src/agent/sandboxes/foreign.ts";
import { type Answer, debianPlugins, inPod, podNetns, TestRuntime, works } from "../../src/agent/testing/runtime.ts";
import { isolated } from "../../src/linux/testing/isolated.ts";
import { startOvsNode } from "../../src/plugins/testing/ovs-node.ts";

/** Gives every attachment the same address, and counts who holds it. */
class OneAddress implements Ipam {
  readonly held = new Set<string>();

  allocate({ containerId, ifName }: Attachment, steps: Steps): Promise<CniResult> {
    const key = `${containerId}/${ifName}`;
    const give = () => {
      this.held.add(key);
      return { ...emptyResult, ips: [{ address: parsePrefix("10.9.0.9/24"), gateway: parseIp("10.9.0.1") }] };
    };
    return steps.run("claim", give, { undo: () => void this.held.delete(key) });
  }

  async release({ containerId, ifName }: Attachment): Promise<void> {
    this.held.delete(`${containerId}/${ifName}`);
  }

  async check(): Promise<void> {}
}

if (isolated(import.meta.url)) {
  const hostLocal = { type: "host-local", dataDir: "/run/host-local", ranges: [[{ subnet: "10.1.0.0/24" }]] };
  const sh = (script: string) => execFileSync("sh", ["-c", script], { encoding: "utf8" });
  const leases = () =>
    (existsSync("/run/host-local/n") ? readdirSync("/run/host-local/n") : []).filter((name) => /^\d/.test(name));

  const node = startOvsNode();
  const { real, ovs, tasks } = node;
  let runtime: TestRuntime;
  let ours: OneAddress;

  after(() => node[Symbol.asyncDispose]());
  beforeEach(async () => {
    createNetns(podNetns)[Symbol.dispose]();
    ours = new OneAddress();
    const ipamFor = (config: PluginConfig) => {
      const type = ipamTypeOf(config.raw);
      return type === undefined || type === "spiderpool" ? type && ours : new ForeignIpam(type, config);
    };
    const host = hostNetns();
    const plugins = [createOvsPlugin({ host, ovsFor: () => ovs, ipamFor, tasks, flatFiles: [] })];
    runtime = await TestRuntime.start({ plugins: plugins as unknown as readonly Plugin<never>[], ipamFor });
  });
  afterEach(async () => {
    await runtime[Symbol.asyncDispose]();
    deleteNetns(podNetns);
  });

  const main = (...plugins: readonly JsonObject[]) =>
    runtime.nads.set("kube-system/main", { cniVersion: "1.0.0", name: "n", plugins });
  const second = (name: string, ...plugins: readonly JsonObject[]) =>
    runtime.nads.set(`default/${name}`, { cniVersion: "1.0.0", name, plugins });

  const succeed = (verb: string, more: Parameters<TestRuntime["call"]>[1] = {}) => runtime.succeed(verb, more);
  async function fail(verb: string, more: Parameters<TestRuntime["call"]>[1] = {}): Promise<Answer> {
    const answer = await runtime.call(verb, more);
    assert.equal(answer.code, 1, answer.stdout);
    return answer;
  }

  describe("Debian's plugins through the shim", { timeout: 240_000 }, () => {
    it("chains of bridge, tuning and bandwidth, and of bridge, portmap and sbr, come, are checked and go", async () => {
      main(
        { type: "bridge", bridge: "cni0", isGateway: true, ipam: { ...hostLocal, routes: [{ dst: "0.0.0.0/0" }] } },
        { type: "tuning", mac: "02:00:00:00:00:11", mtu: 1400 },
        { type: "bandwidth", ingressRate: 1e6, ingressBurst: 1e6, egressRate: 1e6, egressBurst: 1e6 },
      );
      // Behind sbr the CHECK of the bridge plugin misses a route, and that of portmap looks for rules of IPv6.
      const chain = [
        { type: "bridge", bridge: "cni0", ipam: { ...hostLocal, dataDir: "/run/others" } },
        { type: "portmap", capabilities: { portMappings: true } },
        { type: "sbr" },
      ];
      runtime.nads.set("default/routed", { cniVersion: "1.0.0", name: "routed", disableCheck: true, plugins: chain });
      runtime.networks = "routed";
      const config = {
        cniVersion: "0.3.1",
        name: "multus-cni-network",
        type: "multus",
        clusterNetwork: "main",
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
      };
      const { json } = await succeed("ADD", { config });
      assert.equal(json.cniVersion, "0.3.1");
      assert.deepEqual(
        json.ips.map((ip: JsonObject) => [ip["version"], ip["address"]]),
        [["4", "10.1.0.2/24"]],
      );
      const [, , eth0] = json.interfaces;
      assert.deepEqual([eth0.name, eth0.mac, eth0.sandbox], ["eth0", "02:00:00:00:00:11", podNetns]);
      assert.match(inPod("ip", "link", "show", "eth0"), /mtu 1400[\s\S]*02:00:00:00:00:11/);
      assert.match(inPod("ip", "rule"), /from 10\.1\.0\.\d lookup 100/);
      assert.match(sh("tc qdisc"), /tbf/);
      assert.match(sh("iptables-save -t nat"), /--dport 8080/);
      inPod("ping", "-c", "1", "-i", "0.2", "-w", "60", "10.1.0.1");
      assert.deepEqual(leases(), ["10.1.0.2"]);

      await succeed("CHECK");
      inPod("ip", "link", "set", "eth0", "mtu", "1300");
      assert.match((await fail("CHECK")).json.msg, /plugin type="tuning" name="n" failed \(check\)/);

      await succeed("DEL");
      assert.deepEqual(leases(), []);
      assert.doesNotMatch(sh("iptables-save -t nat"), /--dport 8080/);
      assert.throws(() => inPod("ip", "link", "show", "eth0"));
      await succeed("DEL");
    });

    it("the guide's network is a further one of a Pod: it comes, is checked and goes", async () => {
      const guide = readFileSync(new URL("../../docs/guides/foreign-plugins.md", import.meta.url), "utf8");
      const [, manifest = ""] = /```yaml\n([\s\S]*?)```/.exec(guide) ?? [];
      const { metadata, spec } = parse(manifest) as { metadata: { name: string }; spec: { config: string } };
      main({ type: "ovs", bridge: "br1", ipam: { type: "spiderpool" } });
      runtime.nads.set(`default/${metadata.name}`, JSON.parse(spec.config));
      runtime.networks = metadata.name;
      await succeed("ADD");
      assert.match(inPod("ip", "addr", "show", "net1"), /mtu 1400[\s\S]*inet 10\.1\.0\.\d+\/24/);
      await succeed("CHECK");
      await succeed("DEL");
      assert.throws(() => inPod("ip", "link", "show", "net1"));
      sh("ip link del cni0");
    });

    it("ptp with static, macvlan, host-device and loopback are a Pod's networks beside each other", async () => {
      sh("ip link add up0 type veth peer name up1; ip link add given type veth peer name rest; ip link set up0 up");
      main({ type: "ptp", ipam: { type: "static", addresses: [{ address: "10.2.0.2/24", gateway: "10.2.0.1" }] } });
      second("mv", {
        type: "macvlan",
        master: "up0",
        ipam: { type: "static", addresses: [{ address: "10.3.0.2/24" }] },
      });
      second("dev", { type: "host-device", device: "given" });
      second("lo", { type: "loopback" });
      runtime.networks = "mv, dev@data0, lo@lo";
      const { json } = await succeed("ADD");
      assert.equal(json.ips[0].address, "10.2.0.2/24");
      assert.match(
        inPod("ip", "-br", "addr"),
        /lo +UNKNOWN +127\.0\.0\.1\/8[\s\S]*10\.2\.0\.2\/24[\s\S]*net1@[\s\S]*data0/,
      );
      await succeed("CHECK");
      await succeed("DEL");
      assert.match(sh("ip -br link show given"), /given@rest/);
      assert.doesNotMatch(inPod("ip", "-br", "link"), /eth0|net1|data0/);
      sh("ip link del up0; ip link del given");
    });

    it("host-local and static serve the ovs plugin, and a foreign plugin behind it gets its result", async () => {
      second("one", { type: "ovs", bridge: "br1", vlan: 5, ipam: hostLocal }, { type: "tuning", mtu: 1350 });
      second("two", {
        type: "ovs",
        bridge: "br1",
        vlan: 5,
        ipam: {
          type: "static",
          addresses: [{ address: "10.1.0.77/24" }],
          routes: [{ dst: "10.8.0.0/16", gw: "10.1.0.1" }],
        },
      });
      runtime.nads.set("kube-system/main", runtime.nads.get("default/one") as JsonObject);
      runtime.networks = "two";
      const { json } = await succeed("ADD");
      assert.equal(json.ips[0].address, "10.1.0.2/24");
      assert.match(inPod("ip", "addr"), /eth0.*mtu 1350[\s\S]*10\.1\.0\.2\/24[\s\S]*net1[\s\S]*10\.1\.0\.77\/24/);
      assert.match(inPod("ip", "route"), /10\.8\.0\.0\/16 via 10\.1\.0\.1 dev net1/);
      assert.equal(real.vsctl("list-ports", "br1").split("\n").length, 2);
      await succeed("CHECK");
      await succeed("DEL");
      assert.deepEqual(
        [readdirSync("/run/host-local/one").filter((name) => /^\d/.test(name)), real.vsctl("list-ports", "br1")],
        [[], ""],
      );
    });

    it("what is chained behind ours fails: port, link and address are gone before the answer", async () => {
      runtime.script("broken", `[ "$CNI_COMMAND" = ADD ] && { echo '{"code":100,"msg":"no luck"}'; exit 1; }; exit 0`);
      main({ type: "ovs", bridge: "br1", ipam: hostLocal }, { type: "broken" });
      const { json } = await fail("ADD");
      assert.deepEqual(
        [json.code, json.msg],
        [
          100,
          '[default/a/uid-a:kube-system/main]: error adding container to network "kube-system/main": plugin type="broken" name="n" failed (add): no luck',
        ],
      );
      assert.deepEqual([leases(), real.vsctl("list-ports", "br1"), runtime.records.list()], [[], "", []]);
      assert.equal((runtime.stdin("ADD", "broken")["prevResult"] as { ips: unknown[] }).ips.length, 1);
      assert.deepEqual(runtime.noted(), ["ADD broken eth0", "DEL broken eth0"]);
    });

    it("a Pod without annotations has the node's former network while the default one is empty, and keeps it after that", async () => {
      const former = {
        cniVersion: "0.3.1",
        name: "former",
        plugins: [{ type: "bridge", bridge: "cni2", ipam: hostLocal }],
      };
      writeFileSync("/run/10-former.conflist", JSON.stringify(former));
      runtime.nads.set("kube-system/main", {});
      const config = { cniVersion: "1.0.0", name: "multus-cni-network", type: "multus", clusterNetwork: "main" };
      const call = { config: { ...config, fallbackNetwork: "/run/10-former.conflist" } };
      const { json } = await succeed("ADD", call);
      assert.match(json.ips[0].address, /^10\.1\.0\./);
      assert.match(inPod("ip", "-br", "link"), /eth0/);
      main({ type: "ovs", bridge: "br1", ipam: hostLocal });
      await succeed("CHECK", call);
      await succeed("DEL", call);
      assert.doesNotMatch(inPod("ip", "-br", "link"), /eth0/);
      assert.deepEqual(
        readdirSync("/run/host-local/former").filter((name) => /^\d/.test(name)),
        [],
      );
    });

    it("a bridge that gets its addresses from our IPAM executable calls the agent in the middle of the agent's own call", async () => {
      main({ type: "bridge", bridge: "cni1", ipam: { type: "spiderpool" } });
      const { json } = await succeed("ADD");
      assert.deepEqual([json.ips[0].address, [...ours.held]], ["10.9.0.9/24", ["c1/eth0"]]);
      await succeed("CHECK");
      await succeed("DEL");
      assert.deepEqual([[...ours.held], runtime.records.list()], [[], []]);
    });
  });

  describe("foreign plugins and networks", { timeout: 240_000 }, () => {
    it("a failure of the third network: DEL comes to the third, the second and the first", async () => {
      for (const name of ["first", "second"]) runtime.script(name, works);
      runtime.script("third", '[ "$CNI_COMMAND" = ADD ] && exit 1');
      main({ type: "first" });
      second("b", { type: "second" });
      second("c", { type: "third" });
      runtime.networks = "b,c";
      assert.match(
        (await fail("ADD")).json.msg,
        /error adding container to network "default\/c": .*netplugin failed with no error message: exit status 1/,
      );
      assert.deepEqual(runtime.noted(), [
        ...["ADD first eth0", "ADD second net1", "ADD third net2"],
        ...["DEL third net2", "DEL second net1", "DEL first eth0"],
      ]);
    });

    it("DEL uses ADD's configuration and result, whatever the network has become", async () => {
      runtime.script("first", works);
      main({ type: "first", key: "then" });
      await succeed("ADD");
      main({ type: "first", key: "now" });
      await succeed("DEL", { netns: "" });
      const { key, prevResult } = runtime.stdin("DEL", "first");
      assert.deepEqual([key, (prevResult as { interfaces: unknown[] }).interfaces.length], ["then", 1]);
    });

    it("a configuration before 0.4.0 gets no result at DEL and no CHECK", async () => {
      runtime.script("first", works);
      runtime.nads.set("kube-system/main", { cniVersion: "0.3.1", name: "n", type: "first" });
      await succeed("ADD");
      await succeed("CHECK");
      await succeed("DEL");
      assert.deepEqual(
        [runtime.noted(), runtime.stdin("DEL", "first")["prevResult"]],
        [["ADD first eth0", "DEL first eth0"], undefined],
      );
    });

    it("a plugin that hangs is ended at the call's deadline, and what came before it is undone", async () => {
      await runtime[Symbol.asyncDispose]();
      runtime = await TestRuntime.start({ more: { addMsMax: 300 } });
      runtime.script("first", works);
      runtime.script("hangs", '[ "$CNI_COMMAND" = ADD ] && sleep 600');
      main({ type: "first" }, { type: "hangs" });
      const { json } = await fail("ADD");
      assert.deepEqual(
        [json.code, /was ended unfinished \(add\)/.test(json.msg), /not done within 0\.3 s/.test(json.details)],
        [11, true, true],
      );
      assert.deepEqual(runtime.noted(), ["ADD first eth0", "ADD hangs eth0", "DEL hangs eth0", "DEL first eth0"]);
    });

    it("a runtime that gives up in the middle: the record is kept, and its DEL takes everything down", async () => {
      runtime.script("first", works);
      runtime.script("hangs", `[ "$CNI_COMMAND" = ADD ] && kill -9 $PPID && sleep 600; exit 0`);
      main({ type: "first" }, { type: "hangs" });
      assert.equal((await runtime.call("ADD")).code, null);
      await succeed("DEL");
      assert.deepEqual([runtime.noted().slice(2), runtime.records.list()], [["DEL hangs eth0", "DEL first eth0"], []]);
    });

    it("a plugin that only the runtime's mount namespace has reads its /run and writes its /var/lib", async () => {
      const wrapper = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        `mount -t tmpfs a /opt && mount -t tmpfs b /var/lib && mkdir /opt/there &&
        printf '#!/bin/sh\\ncat /run/seen >/var/lib/written; [ $CNI_COMMAND = ADD ] && cat /var/lib/written >&3; echo {}' >/opt/there/hidden &&
        chmod 755 /opt/there/hidden && exec "$0" 3>${runtime.folder}/proof`,
      ];
      writeFileSync("/run/seen", "read and written");
      main({ type: "hidden" });
      assert.match((await fail("ADD")).json.msg, /failed to find plugin "hidden" in path \[/);
      await succeed("ADD", { wrapper, env: { CNI_PATH: "/opt/there" } });
      assert.equal(readFileSync(join(runtime.folder, "proof"), "utf8"), "read and written");
      assert.ok(!existsSync("/var/lib/written"));
    });

    it("GC and STATUS of 1.1.0 reach the plugins of the default network, with what is still on record", async () => {
      runtime.script("first", works);
      const network = { cniVersion: "1.1.0", name: "n", plugins: [{ type: "first" }] };
      runtime.nads.set("kube-system/main", network);
      await succeed("ADD");
      const config = { cniVersion: "1.1.0", name: "multus-cni-network", type: "multus", clusterNetwork: "main" };
      await succeed("STATUS", { config });
      await succeed("GC", {
        config: { ...config, "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] },
      });
      assert.deepEqual(runtime.noted().slice(1), ["STATUS first ", "GC first"]);
      assert.deepEqual(runtime.stdin("GC", "first")["cni.dev/valid-attachments"], [
        { containerID: "c1", ifname: "eth0" },
      ]);
      runtime.nads.set("kube-system/main", { ...network, disableGC: true });
      await succeed("GC", {
        config: { ...config, "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] },
      });
      assert.deepEqual([runtime.noted().slice(3), runtime.records.list()], [["DEL first eth0"], []]);
      runtime.script("first", `echo '{"code":50,"msg":"out of order"}'; exit 1`);
      const { json } = await fail("STATUS", { config });
      assert.deepEqual([json.code, json.msg], [50, 'plugin type="first" name="n" failed (status): out of order']);
    });

    it("the network that asks for the default route has it, the others have none, and the answer says so", async () => {
      const ptp = (address: string) => ({
        type: "ptp",
        ipam: {
          type: "static",
          addresses: [{ address, gateway: address.replace(/2\/24$/, "1") }],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      });
      main(ptp("10.2.0.2/24"));
      second("other", ptp("10.3.0.2/24"));
      runtime.networks = '[{"name":"other","default-route":["10.3.0.1"]}]';
      const { json } = await succeed("ADD");
      assert.deepEqual(
        [inPod("ip", "route", "show", "default").trim(), json.routes ?? []],
        ["default via 10.3.0.1 dev net1", []],
      );
      await succeed("DEL");
      runtime.networks = '[{"name":"other","default-route":["10.99.0.1"]}]';
      const failed = await fail("ADD");
      assert.match(failed.json.details, /default-route, found 10\.99\.0\.1/);
      assert.deepEqual(runtime.records.list(), []);
    });
  });

  it("Debian's plugins are there", () => assert.ok(existsSync(join(debianPlugins, "bridge"))));
}
