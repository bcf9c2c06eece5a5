import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { type JsonObject, silentLogger, systemClock, Tasks } from "#base";
import type { Attachment } from "#cni";
import { createNetns, hostNetns, openNetns, readTxChecksum } from "#linux";
import { createOvs, type Ovs } from "#ovsdb";
import { isolated } from "../../linux/testing/isolated.ts";
import { type OpenVswitch, startOpenVswitch, untilCoresAreCounted } from "../../ovsdb/testing/open-vswitch.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import { StubIpam } from "../testing/stub-ipam.ts";
import { bytesOverTcp, inside, ping, tcpBytes } from "../testing/traffic.ts";
import { createOvsPlugin } from "./plugin.ts";

const skip = existsSync("/sys/module/openvswitch")
  ? false
  : "this kernel has no openvswitch: test/uml.test.ts runs it in one that has";

if (isolated(import.meta.url)) {
  describe("the ovs plugin on the kernel's datapath", { timeout: 240_000, skip }, () => {
    const host = hostNetns();
    const tasks = new Tasks(silentLogger);
    let real: OpenVswitch;
    let ovs: Ovs & AsyncDisposable;
    let pods = 0;

    before(async () => {
      mkdirSync("/run/netns");
      await untilCoresAreCounted();
      real = startOpenVswitch();
      real.vsctl("add-br", "br1");
      ovs = createOvs({ endpoint: real.endpoint, clock: systemClock, log: silentLogger });
    });
    after(async () => {
      await tasks.stop();
      await ovs[Symbol.asyncDispose]();
      real.vsctl("del-br", "br1");
      await real[Symbol.asyncDispose]();
    });

    async function pod(raw: JsonObject, addresses: readonly string[]) {
      const containerId = `c${++pods}`;
      const netns = `/run/netns/${containerId}`;
      createNetns(netns)[Symbol.dispose]();
      const ipam = new StubIpam(addresses);
      const plugin = createOvsPlugin({ host, ovsFor: () => ovs, ipamFor: () => ipam, tasks, flatFiles: [] });
      const attachment: Attachment = { containerId, ifName: "net1", netns, pod: undefined, args: new Map() };
      const config = (more: object = {}) =>
        plugin.decode({ cniVersion: "1.0.0", name: "n", type: "ovs", raw: { bridge: "br1", ...raw }, ...more });
      const prevResult = await runSteps((steps) => plugin.add(config(), attachment, steps));
      return {
        netns,
        check: () => plugin.check(config({ prevResult }), attachment, deadline()),
        del: () => plugin.del(config(), attachment, deadline()),
      };
    }

    it("carries ping, TCP and packets of full size between Pods of a VLAN in both families, and not to another", async () => {
      assert.equal(real.vsctl("get", "bridge", "br1", "datapath_type"), '""');
      const [a, b, other] = await Promise.all([
        pod({ vlan: 10 }, ["10.10.0.5/24", "fd00::5/64"]),
        pod({ vlan: 10 }, ["10.10.0.6/24", "fd00::6/64"]),
        pod({ vlan: 11 }, ["10.10.0.7/24", "fd00::7/64"]),
      ]);
      for (const [address, full] of [
        ["10.10.0.6", "1472"],
        ["fd00::6", "1452"],
      ] as const) {
        ping(a.netns, address);
        inside(a.netns, "ping", "-c", "1", "-i", "0.2", "-w", "60", "-M", "do", "-s", full, address);
        assert.equal(await bytesOverTcp(b.netns, a.netns, address), tcpBytes);
        assert.throws(() => inside(other.netns, "ping", "-c", "1", "-W", "1", address));
      }
      // This datapath completes checksums itself: what the Pod leaves to its interface stays with it.
      using netns = openNetns(a.netns);
      assert.equal(readTxChecksum(netns, "net1"), true);
      for (const each of [a, b, other]) {
        await each.check();
        await each.del();
      }
    });

    it("tags what leaves an access port on a trunk", async () => {
      const [access, trunk] = [
        await pod({ vlan: 20 }, ["10.10.0.5/24"]),
        await pod({ trunk: [{ id: 20 }] }, ["10.10.0.9/16"]),
      ];
      inside(trunk.netns, "ip", "link", "add", "net1.20", "link", "net1", "type", "vlan", "id", "20");
      inside(trunk.netns, "ip", "addr", "add", "10.10.0.6/24", "dev", "net1.20");
      inside(trunk.netns, "ip", "link", "set", "net1.20", "up");
      ping(access.netns, "10.10.0.6");
      assert.equal(await bytesOverTcp(trunk.netns, access.netns, "10.10.0.6"), tcpBytes);
      for (const each of [access, trunk]) await each.del();
    });
  });
}
