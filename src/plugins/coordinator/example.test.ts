import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { silentLogger, Tasks } from "#base";
import { type CniResult, decodeResult, encodeResult, supportedVersions } from "#cni";
import { formatPrefix, networkOf, parseIp, parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns, type Netns } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { configureInterface } from "../configure.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import { createCoordinatorPlugin } from "./plugin.ts";

const page = readFileSync(new URL("../../../docs/reference/coordinator.md", import.meta.url), "utf8");
const cluster = { mode: "auto", overlayPodCIDR: [], serviceCIDR: ["10.96.0.0/12"], hijackCIDR: ["169.254.0.0/16"] };

/** A command of the page, where it is run, and what it prints. */
interface Shown {
  readonly place: "pod" | "node";
  readonly argv: readonly string[];
  readonly prints: readonly string[];
}

/** The commands in the block of code that follows a line of the page. */
function shownAfter(line: string): readonly Shown[] {
  const [, block = ""] = page.slice(page.indexOf(`\n${line}\n`)).split("```");
  return block
    .split(/^(?=(?:pod|node)# )/m)
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const [command = "", ...prints] = part.trim().split("\n");
      const [place = "", ...argv] = command.split(/#? /);
      return { place: place as Shown["place"], argv, prints };
    });
}

/** What a person compares: without the kernel's notes on where a route comes from, and with any MAC address. */
function lines(text: string): readonly string[] {
  return text
    .trim()
    .split("\n")
    .map((line) =>
      line
        .replace(/([0-9a-f]{2}:){5}[0-9a-f]{2}/, "MAC")
        .replace(/ (proto \w+|scope \w+|metric \d+)/g, "")
        .replaceAll(/\s+/g, " ")
        .trim(),
    )
    .sort();
}

if (isolated(import.meta.url)) {
  const host = hostNetns();
  const tasks = new Tasks(silentLogger);
  const plugin = createCoordinatorPlugin({ host, tasks, clusterConfig: async () => cluster });

  before(() => {
    host.rtnl.createVeth({ name: "eth0", up: true, peer: { name: "switch", up: true } });
    host.rtnl.createLink({ name: "docker0", kind: { kind: "bridge" }, up: true });
    for (const [dev, address] of [
      ["eth0", "172.18.0.3/16"],
      ["eth0", "fc00:f853::3/64"],
      ["docker0", "172.17.0.1/16"],
    ] as const) {
      host.rtnl.addAddress(dev, parsePrefix(address), { nodad: true });
    }
    host.rtnl.addRoute({ dst: parsePrefix("0.0.0.0/0"), gw: parseIp("172.18.0.1") });
    host.rtnl.createLink({ name: "underlay", kind: { kind: "bridge" }, up: true, addrGenModeNone: true });
  });
  after(() => tasks.stop());

  /** As the plugin before the coordinator: an interface with an address, and a default route by the network's first one. */
  function addNic(pod: Netns, name: string, address: string): CniResult {
    const outside = `u-${name}`;
    const { peer } = host.rtnl.createVeth({ name: outside, addrGenModeNone: true, peer: { name, netns: pod } });
    host.rtnl.setLink(outside, { master: "underlay", up: true });
    const prefix = parsePrefix(address);
    const gateway = parseIp(formatPrefix(networkOf(prefix)).replace(/0\/\d+$/, "1"));
    const ips = [{ address: prefix, gateway, interface: 0 }];
    configureInterface(pod, peer, { ips, routes: [{ dst: parsePrefix("0.0.0.0/0") }] });
    return { interfaces: [{ name, mac: peer.mac, sandbox: pod.path }], ips, routes: [] };
  }

  function call(pod: Netns, ifName: string, prevResult: CniResult, cniVersion = "1.0.0") {
    const containerId = "0123456789abcdef";
    const attachment = { containerId, ifName, netns: pod.path, pod: undefined, args: new Map<string, string>() };
    const config = plugin.decode({ cniVersion, name: "n", type: "coordinator", raw: {}, prevResult });
    return {
      add: () => runSteps((steps) => plugin.add(config, attachment, steps)),
      check: () => plugin.check(config, attachment, deadline()),
      del: () => plugin.del(config, attachment, deadline()),
    };
  }

  describe("the coordinator's worked example", { timeout: 240_000 }, () => {
    it("is what a kernel has after the first NIC and after the second, and is gone after both DELs", async () => {
      const pod = createNetns("/run/netns/pod");
      const where = { pod: pod.path, node: "/proc/self/ns/net" } as const;
      const compare = (line: string) => {
        const shown = shownAfter(line);
        assert.ok(shown.length > 4, `the page shows ${shown.length} commands after "${line}"`);
        for (const { place, argv, prints } of shown) {
          const found = execFileSync("nsenter", [`--net=${where[place]}`, ...argv], { encoding: "utf8" });
          assert.deepEqual(lines(found), [...prints].sort(), `${place}# ${argv.join(" ")}`);
        }
      };
      const first = call(pod, "eth0", addNic(pod, "eth0", "10.6.0.10/16"));
      await first.add();
      compare("After the first NIC:");
      const second = call(pod, "net1", addNic(pod, "net1", "10.7.0.10/16"));
      await second.add();
      compare("After the second:");
      for (const each of [first, second]) await each.check();
      for (const each of [second, first]) await each.del();
      await host.rtnl.deleteLinksLater(["u-eth0", "u-net1"]);
      assert.deepEqual(host.rtnl.routes({ family: 4, table: 500 }), []);
      assert.deepEqual(
        host.rtnl.neighbours({ family: 4 }).filter(({ permanent }) => permanent),
        [],
      );
      pod[Symbol.dispose]();
      deleteNetns("/run/netns/pod");
    });

    it("returns what it was given in every CNI version; CHECK takes it as it travelled, and DEL comes twice", async () => {
      for (const cniVersion of supportedVersions) {
        const pod = createNetns("/run/netns/version");
        const given = addNic(pod, "eth0", "10.6.0.11/16");
        const { add } = call(pod, "eth0", given, cniVersion);
        const result = await add();
        assert.deepEqual(result, given);
        const travelled = decodeResult(encodeResult(result, cniVersion), cniVersion);
        const { check, del } = call(pod, "eth0", travelled, cniVersion);
        await check();
        await del();
        await del();
        await host.rtnl.deleteLinksLater(["u-eth0"]);
        pod[Symbol.dispose]();
        deleteNetns("/run/netns/version");
      }
    });
  });
}
