import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type JsonObject, silentLogger } from "#base";
import { type PluginConfig, supportedVersions } from "#cni";
import { parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns } from "#linux";
import { createCoordinatorPlugin, createOvsPlugin, type Plugin } from "#plugins";
import { ForeignIpam } from "../../src/agent/addresses/foreign-ipam.ts";
import { ipamTypeOf } from "../../src/agent/sandboxes/foreign.ts";
import { type TestCall, TestRuntime } from "../../src/agent/testing/runtime.ts";
import { isolated } from "../../src/linux/testing/isolated.ts";
import { startOvsNode } from "../../src/plugins/testing/ovs-node.ts";

const hostLocal = { type: "host-local", dataDir: "/run/host-local", ranges: [[{ subnet: "10.1.0.0/16" }]] };
const gateway = { ...hostLocal, routes: [{ dst: "0.0.0.0/0" }] };
const ovsConfig = { name: "main", type: "ovs", bridge: "br1" };
const cluster = { mode: "underlay", overlayPodCIDR: ["10.233.64.0/18"], serviceCIDR: ["10.233.0.0/18"] };

/** What the CNI specification (0.3.0 to 1.1.0) demands of plugins, tested with our executables as a runtime runs them. */
if (isolated(import.meta.url)) {
  const netns = "/run/netns/pod";
  const node = startOvsNode();
  const { real, ovs, tasks } = node;
  let runtime: TestRuntime;
  const logged: string[] = [];
  const logger = {
    ...silentLogger,
    debug: (_fields: object, message: string) => void logged.push(message),
    info: (fields: object, message: string) => void logged.push(`${message}: ${JSON.stringify(fields)}`),
  };

  before(async () => {
    const host = hostNetns();
    const ipamFor = (config: PluginConfig) => {
      const type = ipamTypeOf(config.raw);
      // The ledger needs a cluster; here another executable stands behind ours.
      if (type === "spiderpool")
        return new ForeignIpam("host-local", { ...config, raw: { ...config.raw, ipam: hostLocal } });
      return type === undefined ? undefined : new ForeignIpam(type, config);
    };
    const plugins = [
      createOvsPlugin({ host, ovsFor: () => ovs, ipamFor, tasks, flatFiles: [] }),
      createCoordinatorPlugin({ host, tasks, clusterConfig: async () => ({ ...cluster, mode: "underlay" as const }) }),
    ] as unknown as readonly Plugin<never>[];
    runtime = await TestRuntime.start({ plugins, ipamFor, more: { log: logger } });
    network("main", { type: "ovs", bridge: "br1", ipam: gateway });
  });
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
  });

  const network = (name: string, ...plugins: readonly JsonObject[]) =>
    runtime.nads.set(`kube-system/${name}`, { cniVersion: "1.0.0", name, plugins });
  const conf = (more: JsonObject = {}) => ({
    cniVersion: "1.0.0",
    name: "multus-cni-network",
    type: "multus",
    clusterNetwork: "main",
    ...more,
  });

  const succeed = (verb: string, call: TestCall = {}) => runtime.succeed(verb, call);
  async function fail(verb: string, call: TestCall = {}): Promise<{ code: number; msg: string; details?: string }> {
    const answer = await runtime.call(verb, call);
    assert.equal(answer.code, 1, `${answer.code} ${answer.stdout}`);
    assert.equal(answer.json.cniVersion !== undefined, true, "an error says its version");
    return answer.json;
  }
  /** A namespace for the time of a test, and the certainty that nothing of it is left. */
  async function inNetns(act: (path: string) => Promise<void>, path = netns): Promise<void> {
    createNetns(path)[Symbol.dispose]();
    try {
      await act(path);
    } finally {
      deleteNetns(path);
    }
  }
  const state = () => ({
    ports: real.vsctl("list-ports", "br1"),
    records: runtime.records.list().length,
    leases: existsSync("/run/host-local/main")
      ? readdirSync("/run/host-local/main").filter((name) => /^\d/.test(name)).length
      : 0,
  });
  const nothing = { ports: "", records: 0, leases: 0 };
  const inPod = (...argv: readonly [string, ...string[]]) =>
    execFileSync("nsenter", [`--net=${netns}`, ...argv], { encoding: "utf8" });
  const sh = (script: string) => execFileSync("sh", ["-c", script], { encoding: "utf8" });

  describe("conformance with CNI", { timeout: 240_000 }, () => {
    it("1. VERSION with stdin closed or empty exits 0 with valid JSON", async () => {
      const closed = await succeed("VERSION", { wrapper: ["sh", "-c", 'exec "$0" <&-'] });
      const empty = await succeed("VERSION", { config: "" });
      for (const { json } of [closed, empty]) assert.deepEqual(json.supportedVersions, [...supportedVersions]);
    });

    it("2. no CNI_COMMAND: text on stderr, nothing on stdout, exit 0", async () => {
      const { stdout, stderr } = await succeed("", { env: { CNI_COMMAND: undefined } });
      assert.equal(stdout, "");
      assert.match(stderr, /CNI protocol versions supported/);
    });

    it("3. ADD that lacks a required variable is error 4 naming it; of all that are missing, one error", async () => {
      for (const name of ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]) {
        for (const value of [undefined, ""]) {
          const { code, msg } = await fail("ADD", { env: { [name]: value } });
          assert.deepEqual([code, msg], [4, `required env variables [${name}] missing`]);
        }
      }
      const all = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined, CNI_PATH: undefined };
      assert.equal(
        (await fail("ADD", { env: all })).msg,
        "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing",
      );
    });

    it("4. a bad interface name or container ID is error 4", async () => {
      for (const ifName of ["sixteen-bytes-123", "a/b", "a:b", "a b", "..", "."]) {
        assert.equal((await fail("ADD", { ifName })).code, 4, ifName);
      }
      for (const container of ["../c", "-c", "c d", "c/d"])
        assert.equal((await fail("ADD", { container })).code, 4, container);
    });

    it("5. invalid JSON is error 6; no name, and a bad one, error 7", async () => {
      for (const config of ["", "{", "[]", "null", '{"a":'.repeat(100)])
        assert.equal((await fail("ADD", { config })).code, 6, config);
      assert.deepEqual((await fail("ADD", { config: { cniVersion: "1.0.0" } })).msg, "missing network name");
      assert.equal((await fail("ADD", { config: conf({ name: "-x" }) })).code, 7);
    });

    it("6. an unknown cniVersion is error 1 with details; an absent one counts as 0.1.0", async () => {
      const { code, msg, details } = await fail("ADD", { config: conf({ cniVersion: "9.9.9" }) });
      assert.deepEqual([code, msg], [1, "incompatible CNI versions"]);
      assert.match(details ?? "", /config is "9\.9\.9", plugin supports \["0\.3\.0"/);
      const { code: absent, details: why } = await fail("ADD", { config: '{"name":"n","type":"multus"}' });
      assert.deepEqual([absent, /config is "0\.1\.0"/.test(why ?? "")], [1, true]);
    });

    it("7. CHECK with 0.3.1 and GC and STATUS with 1.0.0 are error 1; with 1.1.0 they work", async () => {
      const none = { env: { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined } };
      assert.match((await fail("CHECK", { config: conf({ cniVersion: "0.3.1" }) })).msg, /does not allow CHECK/);
      for (const verb of ["GC", "STATUS"]) {
        const { code, msg } = await fail(verb, { ...none, config: conf() });
        assert.deepEqual([code, msg], [1, `config version does not allow ${verb}`]);
        assert.equal((await succeed(verb, { ...none, config: conf({ cniVersion: "1.1.0" }) })).stdout, "");
      }
    });

    it("8. the result is printed in the configuration's version, and accepted as prevResult of the same version", () =>
      inNetns(async () => {
        for (const cniVersion of supportedVersions) {
          const { json } = await succeed("ADD", { config: conf({ cniVersion }) });
          assert.equal(json.cniVersion, cniVersion);
          const old = cniVersion.startsWith("0.");
          assert.deepEqual([json.ips[0].version, json.dns], old ? ["4", {}] : [undefined, undefined]);
          assert.deepEqual(
            [json.interfaces[1].name, json.interfaces[1].sandbox, json.ips[0].interface],
            ["eth0", netns, 1],
          );
          const chained = { cniVersion, name: "n", type: "coordinator", mode: "disabled", prevResult: json };
          await succeed("ADD", { executable: "coordinator", config: chained });
          await succeed("DEL", { executable: "coordinator", config: chained });
          await succeed("DEL", { config: conf({ cniVersion }) });
        }
        assert.deepEqual(state(), nothing);
      }));

    it("9. a chained plugin with nothing to do prints the result that it was given", () =>
      inNetns(async () => {
        for (const cniVersion of supportedVersions) {
          const old = cniVersion.startsWith("0.");
          const prevResult = {
            cniVersion,
            interfaces: [{ name: "veth1" }, { name: "eth0", mac: "02:00:00:00:00:01", sandbox: netns }],
            ips: [
              { ...(old && { version: "4" }), interface: 1, address: "10.1.0.5/16", gateway: "10.1.0.1" },
              { ...(old && { version: "6" }), address: "fd00::5/64" },
            ],
            routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1", priority: 7 }, { dst: "fd01::/64" }],
            dns: { nameservers: ["10.1.0.2"], domain: "x", search: ["y"], options: ["z"] },
          };
          const config = { cniVersion, name: "n", type: "coordinator", mode: "disabled", prevResult };
          const { json } = await succeed("ADD", { executable: "coordinator", config });
          assert.deepEqual(json, prevResult);
          await succeed("DEL", { executable: "coordinator", config });
          const { prevResult: _none, ...without } = config;
          assert.equal((await fail("ADD", { executable: "coordinator", config: without })).code, 7);
        }
      }));

    it("10. DEL twice, without a namespace, with one that is gone, without prevResult and without ADD exits 0 and prints nothing", async () => {
      for (const executable of ["multus", "ovs", "coordinator", "spiderpool"]) {
        const type = executable === "spiderpool" ? "somebody-elses" : executable;
        const config =
          executable === "multus"
            ? conf()
            : { cniVersion: "1.0.0", name: "main", type, bridge: "br1", ipam: { type: "spiderpool" } };
        for (const where of [netns, "", "/run/netns/gone"]) {
          for (let times = 0; times < 2; times++) {
            assert.equal((await succeed("DEL", { executable, config, netns: where, container: "never" })).stdout, "");
          }
        }
      }
      assert.deepEqual(state(), nothing);
    });

    it("11. CNI_ARGS in any order, repeated, unknown with and without IgnoreUnknown, and empty", () =>
      inNetns(async () => {
        for (const args of [
          "Z=1;K8S_POD_NAME=other;IgnoreUnknown=false;K8S_POD_UID=uid-a;K8S_POD_NAME=a;K8S_POD_NAMESPACE=default",
          "UNKNOWN=1",
          "",
        ]) {
          await succeed("ADD", { env: { CNI_ARGS: args } });
          await succeed("DEL", { env: { CNI_ARGS: args } });
        }
        for (const args of ["A", "A=1=2", ";"]) {
          assert.match((await fail("ADD", { env: { CNI_ARGS: args } })).msg, /ARGS: invalid pair/);
        }
      }));

    it("12. an IPAM plugin gets stdin and environment unchanged, DEL after a later failure, and a clear error where it is missing", () =>
      inNetns(async () => {
        const script = (name: string, ...lines: readonly string[]) => {
          writeFileSync(join(runtime.scripts, name), ["#!/bin/sh", ...lines, ""].join("\n"));
          chmodSync(join(runtime.scripts, name), 0o755);
        };
        const seen = join(runtime.folder, "seen");
        script(
          "notes",
          "[ $CNI_COMMAND = VERSION ] && exit 1",
          "echo what it does >&2",
          `echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $OUTER" >>${seen}`,
          `cat >${seen}-$CNI_COMMAND`,
          `[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.9.9/16"}]}'; exit 0`,
        );
        script("refuses", "[ $CNI_COMMAND = ADD ] && exit 1; exit 0");
        const plugin = { type: "ovs", bridge: "br1", ipam: { type: "notes", key: { of: "its own" } }, mine: [1] };
        network("noted", plugin, { type: "refuses" });
        await fail("ADD", { config: conf({ clusterNetwork: "noted" }), env: { OUTER: "kept" } });
        const environment = `c1 ${netns} eth0 kept`;
        assert.equal(readFileSync(seen, "utf8"), `ADD ${environment}\nDEL ${environment}\n`);
        for (const verb of ["ADD", "DEL"]) {
          const stdin = JSON.parse(readFileSync(`${seen}-${verb}`, "utf8"));
          assert.deepEqual(stdin, { ...plugin, name: "noted", cniVersion: "1.0.0" });
        }
        assert.ok(logged.some((line) => /^a plugin said: .*"plugin":"notes","stderr":"what it does"/.test(line)));
        network("missing", { type: "ovs", bridge: "br1", ipam: { type: "no-such-ipam" } });
        const { code, msg } = await fail("ADD", { config: conf({ clusterNetwork: "missing" }) });
        assert.deepEqual([code, /failed to find plugin "no-such-ipam" in path \[/.test(msg)], [7, true]);
        assert.deepEqual(state(), nothing);
      }));

    it("13. an ADD that fails leaves no link, rule, route, neighbour or address", () =>
      inNetns(async () => {
        network("late", { type: "ovs", bridge: "br1", ipam: gateway }, { type: "coordinator" }, { type: "refuses" });
        const before = sh("ip -o link | grep -v -- '-veth'; ip rule; ip route show table all; ip neigh");
        await fail("ADD", { config: conf({ clusterNetwork: "late" }) });
        // The rule that all Pods of the node share may stay.
        const rules = (text: string) =>
          text
            .split("\n")
            .filter((line) => !/lookup 500/.test(line))
            .join("\n");
        assert.equal(
          rules(sh("ip -o link | grep -v -- '-veth'; ip rule; ip route show table all; ip neigh")),
          rules(before),
        );
        assert.match(inPod("ip", "-br", "link"), /^lo [^\n]*\n?$/);
        assert.deepEqual(state(), nothing);
        // The runtime's DEL comes all the same.
        assert.equal((await succeed("DEL", { config: conf({ clusterNetwork: "late" }) })).stdout, "");
        assert.deepEqual(state(), nothing);
      }));

    it("14. the runtime's own namespace is error 8, unless it is permitted", async () => {
      const own = { netns: "/proc/self/ns/net" };
      const { code, msg } = await fail("ADD", own);
      assert.deepEqual([code, msg], [8, "plugin's netns and netns from CNI_NETNS should not be the same"]);
      assert.equal((await fail("ADD", { netns: "/run/netns/none" })).code, 8);
      const config = { cniVersion: "1.0.0", name: "main", type: "somebody-elses", ipam: { type: "spiderpool" } };
      // A DEL there would take down an interface of the node's that has the name of a Pod's.
      hostNetns().rtnl.createVeth({ name: "eth0", up: true, peer: { name: "eth0-peer" } });
      hostNetns().rtnl.addAddress("eth0", parsePrefix("10.99.0.1/16"));
      const del = await fail("DEL", { ...own, executable: "ovs", config: { ...ovsConfig, cniVersion: "1.0.0" } });
      assert.deepEqual([del.code, del.msg], [8, msg]);
      assert.match(sh("ip addr show eth0"), /10\.99\.0\.1/);
      hostNetns().rtnl.deleteLink("eth0");
      const permitted = { ...own, executable: "spiderpool", config, env: { CNI_NETNS_OVERRIDE: "true" } };
      await succeed("ADD", permitted);
      await succeed("DEL", permitted);
    });

    it("15. with debug logging stdout has the answer alone, and every error exits 1", async () => {
      await inNetns(async () => {
        logged.length = 0;
        const { stdout } = await succeed("ADD");
        assert.equal(stdout, JSON.stringify(JSON.parse(stdout), undefined, 4));
        const { stderr } = await succeed("DEL");
        assert.equal(stderr, "");
      });
      assert.ok(logged.includes("CNI call"));
      assert.doesNotMatch(
        JSON.stringify(await fail("ADD", { config: conf({ clusterNetwork: "none" }) })),
        /\bat .*\.ts:\d+/,
      );
    });

    it("16. 50 ADDs at once: each gets an address of its own", async () => {
      const pods = Array.from({ length: 50 }, (_, at) => ({ container: `many${at}`, netns: `/run/netns/many${at}` }));
      for (const one of pods) createNetns(one.netns)[Symbol.dispose]();
      const answers = await Promise.all(pods.map((one) => succeed("ADD", one)));
      assert.equal(new Set(answers.map(({ json }) => json.ips[0].address)).size, 50);
      assert.equal(state().leases, 50);
      await Promise.all(pods.map((one) => succeed("DEL", one)));
      for (const one of pods) deleteNetns(one.netns);
      assert.deepEqual(state(), nothing);
    });

    it("17. a closed stdout, 1 MiB of stdin and an environment that is no UTF-8 are borne", () =>
      inNetns(async () => {
        await succeed("ADD", { config: conf({ padding: "x".repeat(1 << 20) }) });
        assert.equal((await runtime.call("CHECK", { wrapper: ["sh", "-c", 'exec "$0" >&-'] })).code, 0);
        await succeed("DEL", { wrapper: ["sh", "-c", `CNI_ARGS=$(printf 'A=\\377\\376') exec "$0"`] });
        // The reader is gone before the answer comes.
        const piped = await runtime.call("ADD", { wrapper: ["sh", "-c", '"$0" | :'] });
        assert.equal(piped.code, 0);
        await succeed("DEL");
        assert.deepEqual(state(), nothing);
      }));

    it("18. GC removes what is stale, keeps what is valid and other networks', and works without any record", async () => {
      const of = (name: string) => ({ container: name, netns: `/run/netns/${name}` });
      const config = conf({ cniVersion: "1.1.0" });
      for (const name of ["kept", "stale", "other"]) createNetns(of(name).netns)[Symbol.dispose]();
      await succeed("ADD", { ...of("kept"), config });
      await succeed("ADD", { ...of("stale"), config });
      await succeed("ADD", { ...of("other"), config: { ...config, name: "another-runtime" } });
      const valid = (...names: readonly string[]) => ({
        config: {
          ...config,
          "cni.dev/valid-attachments": names.map((containerID) => ({ containerID, ifname: "eth0" })),
        },
        env: { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined },
      });
      assert.equal((await succeed("GC", valid("kept"))).stdout, "");
      assert.deepEqual(
        runtime.records
          .list()
          .map(({ containerId }) => containerId)
          .sort(),
        ["kept", "other"],
      );
      assert.equal(state().leases, 2);
      await succeed("DEL", { ...of("kept"), config });
      await succeed("DEL", { ...of("other"), config: { ...config, name: "another-runtime" } });
      await succeed("GC", valid("kept"));
      await succeed("GC", valid());
      for (const name of ["kept", "stale", "other"]) deleteNetns(of(name).netns);
      assert.deepEqual(state(), nothing);
    });

    it("19. STATUS: 0 while the agent and its bridge are there, else 50", async () => {
      const config = conf({ cniVersion: "1.1.0" });
      await succeed("STATUS", { config });
      network("bridgeless", { type: "ovs", bridge: "br9" });
      const { code, msg } = await fail("STATUS", { config: { ...config, clusterNetwork: "bridgeless" } });
      assert.deepEqual([code, /no such Open vSwitch bridge/.test(msg)], [50, true]);
      await using other = await TestRuntime.start();
      await other.stop();
      const down = await other.call("STATUS", { config });
      assert.deepEqual(
        [down.code, down.json.code, /spiderpool-agent is not reachable/.test(down.json.msg)],
        [1, 50, true],
      );
    });

    const containerd = {
      config: {
        capabilities: { portMappings: true },
        cniVersion: "0.3.1",
        name: "multus-cni-network",
        type: "multus",
        clusterNetwork: "main",
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }] },
      },
      container: "0123456789abcdef".repeat(4),
    };
    const matrix: readonly (readonly [string, TestCall & { readonly cniVersion?: string; readonly gone?: boolean }])[] =
      [
        ["a normal stop with prevResult", { cniVersion: "1.0.0" }],
        ["a normal stop of 0.3.1 without it", {}],
        ["a node that was booted: the path does not exist", { gone: true }],
        ["a sandbox that was lost: no path", { gone: true, netns: "" }],
        ["a repetition", {}],
      ];
    for (const [what, { cniVersion = "0.3.1", gone = false, ...call }] of matrix) {
      it(`20. containerd's ADD shows an address on eth0, and DEL succeeds after ${what}`, async () => {
        createNetns(netns)[Symbol.dispose]();
        const config = { ...containerd.config, cniVersion };
        const { json } = await succeed("ADD", { ...containerd, config });
        const eth0 = json.interfaces.findIndex((one: JsonObject) => one["name"] === "eth0" && one["sandbox"] === netns);
        assert.ok(json.ips.some((ip: JsonObject) => ip["interface"] === eth0));
        if (gone) deleteNetns(netns);
        const prevResult = cniVersion === "1.0.0" ? { prevResult: json } : {};
        const del = { ...containerd, ...call, config: { ...config, ...prevResult } };
        for (let times = 0; times < 2; times++) assert.equal((await succeed("DEL", del)).stdout, "");
        if (!gone) deleteNetns(netns);
        assert.deepEqual(state(), nothing);
      });
    }

    it("21. CRI-O's calls, as its documentation describes them: start, Pod, status, stop twice, collection", () =>
      inNetns(async () => {
        const container = "fedcba9876543210".repeat(4);
        const of = (name: string, id: string) =>
          `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_INFRA_CONTAINER_ID=${id};K8S_POD_UID=uid-${name}`;
        const env = { CNI_ARGS: of("a", container) };
        const none = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined, CNI_ARGS: undefined };
        const config = conf({ cniVersion: "1.1.0", capabilities: { portMappings: true, aliases: true } });
        const runtimeConfig = {
          portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }],
          aliases: { "multus-cni-network": ["web"] },
        };
        const valid = (...attachments: readonly JsonObject[]) => ({
          config: { ...config, "cni.dev/valid-attachments": attachments },
          env: none,
        });
        // It reads a configuration: does the plugin know its version? It starts: what does the network still have of before?
        const { json: versions } = await succeed("VERSION", { config: { cniVersion: "1.1.0" }, env: none });
        assert.ok(versions.supportedVersions.includes("1.1.0"));
        await succeed("STATUS", { config, env: none });
        await succeed("GC", valid());
        // It brings lo up itself, in a namespace of its own making.
        inPod("ip", "link", "set", "lo", "up");
        const made = { ...config, runtimeConfig };
        const { json: result } = await succeed("ADD", { container, env, config: made });
        assert.equal(result.cniVersion, "1.1.0");
        assert.ok(result.ips.length > 0);
        // Each time that a Pod's status is asked for, with what it has in its cache.
        for (let times = 0; times < 3; times++)
          await succeed("CHECK", { container, env, config: { ...made, prevResult: result } });
        await succeed("GC", valid({ containerID: container, ifname: "eth0" }));
        inPod("ip", "link", "show", "eth0");
        // Stop and remove each end with a DEL, by the configuration and the result of the ADD.
        for (let times = 0; times < 2; times++)
          assert.equal((await succeed("DEL", { container, env, config: { ...made, prevResult: result } })).stdout, "");
        assert.deepEqual(state(), nothing);
        inPod("ip", "link", "show", "lo");
        // A sandbox that was lost, and of which the runtime knows nothing any more: the next collection ends it.
        const lost = "/run/netns/lost";
        createNetns(lost)[Symbol.dispose]();
        await succeed("ADD", { container, netns: lost, env, config: made });
        deleteNetns(lost);
        await succeed("GC", valid());
        assert.deepEqual(state(), nothing);
      }));

    it("a second ADD of a container fails, and takes nothing from the first", () =>
      inNetns(async () => {
        await succeed("ADD");
        const before = state();
        assert.match((await fail("ADD")).msg, /the container already has an interface of this name/);
        assert.deepEqual(state(), before);
        await succeed("CHECK");
        inPod("ip", "link", "show", "eth0");
        await succeed("DEL");
        assert.deepEqual(state(), nothing);
      }));

    it("CHECK accepts the MAC address that the coordinator's podMACPrefix gave an interface of ovs", () =>
      inNetns(async () => {
        network(
          "prefixed",
          { type: "ovs", bridge: "br1", ipam: gateway },
          { type: "coordinator", podMACPrefix: "0a:1b" },
        );
        const config = conf({ clusterNetwork: "prefixed" });
        const { json } = await succeed("ADD", { config });
        const shown = json.interfaces.find((one: JsonObject) => one["name"] === "eth0").mac;
        assert.match(shown, /^0a:1b:/);
        assert.ok(inPod("ip", "link", "show", "eth0").includes(shown));
        await succeed("CHECK", { config });
        inPod("ip", "link", "set", "eth0", "address", "02:00:00:00:00:01");
        assert.match((await fail("CHECK", { config })).msg, /not as it was made/);
        await succeed("DEL", { config });
      }));
  });
}
