import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { JsonObject } from "#base";
import { supportedVersions } from "#cni";
import { parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns } from "#linux";
import { inPod, multusConfig, podNetns, type TestCall, TestRuntime } from "../../src/agent/testing/runtime.ts";
import { isolated } from "../../src/linux/testing/isolated.ts";
import { CniNode, ipam, nothing, withPod } from "./node.ts";

/** What the CNI specification (0.3.0 to 1.1.0) demands of plugins, tested with our executables as a runtime runs them. */
if (isolated(import.meta.url)) {
  let node: CniNode;
  let runtime: TestRuntime;

  before(async () => {
    node = await CniNode.start();
    runtime = node.runtime;
  });
  after(() => node[Symbol.asyncDispose]());

  const network = (name: string, ...plugins: readonly JsonObject[]) =>
    runtime.network(`kube-system/${name}`, ...plugins);
  const succeed = (verb: string, call: TestCall = {}) => runtime.succeed(verb, call);
  const fail = (verb: string, call: TestCall = {}) => node.fail(verb, call);
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
      assert.equal((await fail("ADD", { config: multusConfig({ name: "-x" }) })).code, 7);
    });

    it("6. an unknown cniVersion is error 1 with details; an absent one counts as 0.1.0", async () => {
      const { code, msg, details } = await fail("ADD", { config: multusConfig({ cniVersion: "9.9.9" }) });
      assert.deepEqual([code, msg], [1, "incompatible CNI versions"]);
      assert.match(details ?? "", /config is "9\.9\.9", plugin supports \["0\.3\.0"/);
      const { code: absent, details: why } = await fail("ADD", { config: '{"name":"n","type":"multus"}' });
      assert.deepEqual([absent, /config is "0\.1\.0"/.test(why ?? "")], [1, true]);
    });

    it("7. CHECK with 0.3.1 and GC and STATUS with 1.0.0 are error 1; with 1.1.0 they work", async () => {
      const none = { env: { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined } };
      assert.match(
        (await fail("CHECK", { config: multusConfig({ cniVersion: "0.3.1" }) })).msg,
        /does not allow CHECK/,
      );
      for (const verb of ["GC", "STATUS"]) {
        const { code, msg } = await fail(verb, { ...none, config: multusConfig() });
        assert.deepEqual([code, msg], [1, `config version does not allow ${verb}`]);
        assert.equal((await succeed(verb, { ...none, config: multusConfig({ cniVersion: "1.1.0" }) })).stdout, "");
      }
    });

    it("8. the result is printed in the configuration's version, and accepted as prevResult of the same version", () =>
      withPod(async () => {
        for (const cniVersion of supportedVersions) {
          const { json } = await succeed("ADD", { config: multusConfig({ cniVersion }) });
          assert.equal(json.cniVersion, cniVersion);
          const old = cniVersion.startsWith("0.");
          assert.deepEqual([json.ips[0].version, json.dns], old ? ["4", {}] : [undefined, undefined]);
          assert.deepEqual(
            [json.interfaces[1].name, json.interfaces[1].sandbox, json.ips[0].interface],
            ["eth0", podNetns, 1],
          );
          const chained = { cniVersion, name: "n", type: "coordinator", mode: "disabled", prevResult: json };
          await succeed("ADD", { executable: "coordinator", config: chained });
          await succeed("DEL", { executable: "coordinator", config: chained });
          await succeed("DEL", { config: multusConfig({ cniVersion }) });
        }
        assert.deepEqual(node.state(), nothing);
      }));

    it("9. a chained plugin with nothing to do prints the result that it was given", () =>
      withPod(async () => {
        for (const cniVersion of supportedVersions) {
          const old = cniVersion.startsWith("0.");
          const prevResult = {
            cniVersion,
            interfaces: [{ name: "veth1" }, { name: "eth0", mac: "02:00:00:00:00:01", sandbox: podNetns }],
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
            ? multusConfig()
            : { cniVersion: "1.0.0", name: "main", type, bridge: "br1", ipam: { type: "spiderpool" } };
        for (const where of [podNetns, "", "/run/netns/gone"]) {
          for (let times = 0; times < 2; times++) {
            assert.equal((await succeed("DEL", { executable, config, netns: where, container: "never" })).stdout, "");
          }
        }
      }
      assert.deepEqual(node.state(), nothing);
    });

    it("11. CNI_ARGS in any order, repeated, unknown with and without IgnoreUnknown, and empty", () =>
      withPod(async () => {
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
      withPod(async () => {
        const seen = join(runtime.folder, "seen");
        const notes = [
          "#!/bin/sh",
          "[ $CNI_COMMAND = VERSION ] && exit 1",
          "echo what it does >&2",
          `echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $OUTER" >>${seen}`,
          `cat >${seen}-$CNI_COMMAND`,
          `[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.9.9/16"}]}'; exit 0`,
        ];
        writeFileSync(join(runtime.scripts, "notes"), `${notes.join("\n")}\n`, { mode: 0o755 });
        runtime.script("refuses", "[ $CNI_COMMAND = ADD ] && exit 1; exit 0");
        const plugin = { type: "ovs", bridge: "br1", ipam: { type: "notes", key: { of: "its own" } }, mine: [1] };
        network("noted", plugin, { type: "refuses" });
        await fail("ADD", { config: multusConfig({ clusterNetwork: "noted" }), env: { OUTER: "kept" } });
        const environment = `c1 ${podNetns} eth0 kept`;
        assert.equal(readFileSync(seen, "utf8"), `ADD ${environment}\nDEL ${environment}\n`);
        for (const verb of ["ADD", "DEL"]) {
          const stdin = JSON.parse(readFileSync(`${seen}-${verb}`, "utf8"));
          assert.deepEqual(stdin, { ...plugin, name: "noted", cniVersion: "1.0.0" });
        }
        assert.ok(node.logged.some((line) => /^a plugin said: .*"plugin":"notes","stderr":"what it does"/.test(line)));
        network("missing", { type: "ovs", bridge: "br1", ipam: { type: "no-such-ipam" } });
        const { code, msg } = await fail("ADD", { config: multusConfig({ clusterNetwork: "missing" }) });
        assert.deepEqual([code, /failed to find plugin "no-such-ipam" in path \[/.test(msg)], [7, true]);
        assert.deepEqual(node.state(), nothing);
      }));

    it("13. an ADD that fails leaves no link, rule, route, neighbour or address", () =>
      withPod(async () => {
        network("late", { type: "ovs", bridge: "br1", ipam: ipam }, { type: "coordinator" }, { type: "refuses" });
        const before = sh("ip -o link | grep -v -- '-veth'; ip rule; ip route show table all; ip neigh");
        await fail("ADD", { config: multusConfig({ clusterNetwork: "late" }) });
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
        assert.deepEqual(node.state(), nothing);
        // The runtime's DEL comes all the same.
        assert.equal((await succeed("DEL", { config: multusConfig({ clusterNetwork: "late" }) })).stdout, "");
        assert.deepEqual(node.state(), nothing);
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
      const del = await fail("DEL", {
        ...own,
        executable: "ovs",
        config: { cniVersion: "1.0.0", name: "main", type: "ovs", bridge: "br1" },
      });
      assert.deepEqual([del.code, del.msg], [8, msg]);
      assert.match(sh("ip addr show eth0"), /10\.99\.0\.1/);
      hostNetns().rtnl.deleteLink("eth0");
      const permitted = { ...own, executable: "spiderpool", config, env: { CNI_NETNS_OVERRIDE: "true" } };
      await succeed("ADD", permitted);
      await succeed("DEL", permitted);
    });

    it("15. with debug logging stdout has the answer alone, and every error exits 1", async () => {
      const before = node.logged.length;
      await withPod(async () => {
        const { stdout } = await succeed("ADD");
        assert.equal(stdout, JSON.stringify(JSON.parse(stdout), undefined, 4));
        const { stderr } = await succeed("DEL");
        assert.equal(stderr, "");
      });
      assert.ok(node.logged.slice(before).includes("CNI call"));
      assert.doesNotMatch(
        JSON.stringify(await fail("ADD", { config: multusConfig({ clusterNetwork: "none" }) })),
        /\bat .*\.ts:\d+/,
      );
    });

    it("16. 50 ADDs at once: each gets an address of its own", async () => {
      const pods = Array.from({ length: 50 }, (_, at) => ({ container: `many${at}`, netns: `/run/netns/many${at}` }));
      for (const one of pods) createNetns(one.netns)[Symbol.dispose]();
      const answers = await Promise.all(pods.map((one) => succeed("ADD", one)));
      assert.equal(new Set(answers.map(({ json }) => json.ips[0].address)).size, 50);
      assert.equal(node.state().leases, 50);
      await Promise.all(pods.map((one) => succeed("DEL", one)));
      for (const one of pods) deleteNetns(one.netns);
      assert.deepEqual(node.state(), nothing);
    });

    it("17. a closed stdout, 1 MiB of stdin and an environment that is no UTF-8 are borne", () =>
      withPod(async () => {
        await succeed("ADD", { config: multusConfig({ padding: "x".repeat(1 << 20) }) });
        assert.equal((await runtime.call("CHECK", { wrapper: ["sh", "-c", 'exec "$0" >&-'] })).code, 0);
        await succeed("DEL", { wrapper: ["sh", "-c", `CNI_ARGS=$(printf 'A=\\377\\376') exec "$0"`] });
        // The reader is gone before the answer comes.
        const piped = await runtime.call("ADD", { wrapper: ["sh", "-c", '"$0" | :'] });
        assert.equal(piped.code, 0);
        await succeed("DEL");
        assert.deepEqual(node.state(), nothing);
      }));

    it("18. GC removes what is stale, keeps what is valid and other networks', and works without any record", async () => {
      const of = (name: string) => ({ container: name, netns: `/run/netns/${name}` });
      const config = multusConfig({ cniVersion: "1.1.0" });
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
      assert.equal(node.state().leases, 2);
      await succeed("DEL", { ...of("kept"), config });
      await succeed("DEL", { ...of("other"), config: { ...config, name: "another-runtime" } });
      await succeed("GC", valid("kept"));
      await succeed("GC", valid());
      for (const name of ["kept", "stale", "other"]) deleteNetns(of(name).netns);
      assert.deepEqual(node.state(), nothing);
    });

    it("19. STATUS: 0 while the agent and its bridge are there, else 50", async () => {
      const config = multusConfig({ cniVersion: "1.1.0" });
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

    it("a second ADD of a container fails, and takes nothing from the first", () =>
      withPod(async () => {
        await succeed("ADD");
        const before = node.state();
        assert.match((await fail("ADD")).msg, /the container already has an interface of this name/);
        assert.deepEqual(node.state(), before);
        await succeed("CHECK");
        inPod("ip", "link", "show", "eth0");
        await succeed("DEL");
        assert.deepEqual(node.state(), nothing);
      }));

    it("CHECK accepts the MAC address that the coordinator's podMACPrefix gave an interface of ovs", () =>
      withPod(async () => {
        network("prefixed", { type: "ovs", bridge: "br1", ipam: ipam }, { type: "coordinator", podMACPrefix: "0a:1b" });
        const config = multusConfig({ clusterNetwork: "prefixed" });
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
