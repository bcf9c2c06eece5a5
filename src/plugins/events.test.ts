import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { never, Steps, systemClock } from "#base";
import type { Attachment, CniResult } from "#cni";
import { parseIp, parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns, monitor } from "#linux";
import { libc } from "../linux/libc.ts";
import { isolated } from "../linux/testing/isolated.ts";
import { createCoordinatorPlugin } from "./coordinator/plugin.ts";
import { createOvsPlugin } from "./ovs/plugin.ts";
import { Together } from "./pairs.ts";
import { startOvsNode } from "./testing/ovs-node.ts";
import { StubIpam } from "./testing/stub-ipam.ts";

/** Enough for a mean. */
const podsMax = 10;

/**
 * Each moment in which links of the node's namespace change makes vswitchd go through all of its ports and read every link
 * and route; each change of a route makes it read them once. These counts, not times, are what an ADD costs on a full node.
 */
if (isolated(import.meta.url)) {
  const node = startOvsNode();
  const { real, ovs, tasks } = node;
  const host = hostNetns();
  const counts = { link: 0, route: 0 };

  before(async () => {
    using neighbour = createNetns("/run/netns/neighbour");
    host.rtnl.createVeth({ name: "node0", up: true, peer: { name: "eth0", netns: neighbour, up: true } });
    host.rtnl.addAddress("node0", parsePrefix("172.18.0.3/24"));
    host.rtnl.addRoute({ dst: parsePrefix("0.0.0.0/0"), gw: parseIp("172.18.0.9") });
    await ovs.synced({ signal: AbortSignal.timeout(120_000) });
    const events = monitor(host, { topics: ["links", "routes"], signal: tasks.signal });
    tasks.spawn("count events", async () => {
      for await (const { kind } of events) if (kind === "link" || kind === "route") counts[kind] += 1;
    });
  });
  after(() => node[Symbol.asyncDispose]());

  function pod(at: number) {
    const containerId = `${at}-container-of-the-test`;
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    const attachment: Attachment = { containerId, ifName: "eth0", netns, pod: undefined, args: new Map() };
    const config = { cniVersion: "1.0.0", name: "n" };
    const plugin = createOvsPlugin({
      host,
      ovsFor: () => ovs,
      ipamFor: () => new StubIpam([`10.10.0.${at + 2}/24`]),
      tasks,
      flatFiles: [],
    });
    const main = plugin.decode({ ...config, type: "ovs", raw: { bridge: "br1" } });
    const coordinator = createCoordinatorPlugin({
      host,
      clusterConfig: () => Promise.resolve({ mode: "auto" }),
      tasks,
    });
    const chained = (prevResult: CniResult) =>
      coordinator.decode({ ...config, type: "coordinator", raw: {}, prevResult });
    const none: CniResult = { interfaces: [], ips: [], routes: [] };
    return {
      add: async () => {
        const steps = new Steps({ clock: systemClock, signal: AbortSignal.timeout(120_000) });
        const together = new Together(await coordinator.pairs?.(chained(none), attachment, steps));
        const prevResult = await plugin.add(main, attachment, steps, together);
        await coordinator.add(chained(prevResult), attachment, steps, together);
        await steps.settled();
        steps.commit();
      },
      del: async () => {
        await coordinator.del(chained(none), attachment, { signal: never });
        await plugin.del(main, attachment, { signal: never });
      },
      end: () => deleteNetns(netns),
    };
  }

  /** What `act` has caused by the time that everything is at rest, for each Pod. */
  async function caused(act: () => Promise<unknown>) {
    const before = { ...counts, reconfigures: await real.reconfigures() };
    await act();
    const reconfigures = (await real.reconfigures()) - before.reconfigures;
    const links = counts.link - before.link;
    const routes = counts.route - before.route;
    return { links: links / podsMax, routes: routes / podsMax, reconfigures: reconfigures / podsMax };
  }

  describe("an underlay Pod on Open vSwitch", { timeout: 240_000 }, () => {
    it("changes the node's links and routes as seldom as can be, and so often makes vswitchd go through its ports", async (t) => {
      const pods = Array.from({ length: podsMax }, (_, at) => pod(at));
      const { mock: sends } = t.mock.method(libc, "sendto");
      const { mock: enters } = t.mock.method(libc, "setns");
      // Each of the two ends on the node is made and gets a carrier. Where the kernel looks between the two, it says first that there
      // is none; and an event of the set-up may come late.
      const added = await caused(async () => {
        for (const one of pods) await one.add();
      });
      assert.ok(added.links < 6.5 && added.routes < 2, JSON.stringify(added));
      // One for the port, and one for each moment: the pairs are made, and come up. How many changes of links it sees as one
      // moment is up to the scheduler (3.2 in all, on a machine at rest).
      assert.ok(added.reconfigures <= 1 + added.links, JSON.stringify(added));
      // Messages to the kernel, the announcement with them, and ways into the Pod's namespace and back.
      const calls = { sends: sends.callCount() / podsMax, enters: enters.callCount() / podsMax };
      assert.ok(calls.sends <= 17 && calls.enters <= 8, JSON.stringify(calls));

      const deleted = await caused(() => Promise.all(pods.map((one) => one.del())));
      assert.ok(deleted.links < 7 && deleted.routes < 2, JSON.stringify(deleted));
      // Ports and links of Pods that end at about the same time go together: fewer than one for each port and each link.
      assert.ok(deleted.reconfigures < 3, JSON.stringify(deleted));
      for (const one of pods) one.end();
    });
  });
}
