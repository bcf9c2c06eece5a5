// The agent is killed at each stage of ADD and DEL of interfaces that are made on others of the node. The crash matrix on the lab
// (test/crash.test.ts) has what its kernel has; the others are tried in a user-mode kernel (test/uml.test.ts).
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Stage, silentLogger } from "#base";
import { formatIp } from "#ip";
import { createNetns, deleteNetns, hostNetns, openNetns } from "#linux";
import { isolated } from "../linux/testing/isolated.ts";
import { createIfacerPlugin } from "../plugins/ifacer/plugin.ts";
import { createIpvlanPlugin, createMacvlanPlugin, createVlanPlugin } from "../plugins/sub-interface/plugin.ts";
import { kinds, subInterfacePods } from "../plugins/sub-interface/testing/pods.ts";
import { type TestAgent, TestCluster } from "./testing/agent.ts";

if (isolated(import.meta.url)) {
  const { has } = subInterfacePods();
  const host = hostNetns();
  const card = "card0";
  const names = () => host.rtnl.links().map(({ name }) => name);
  let namespaces = 0;

  before(() => host.rtnl.createVeth({ name: card, up: true, peer: { name: "far0", up: true } }));

  function start(cluster: TestCluster, more: { readonly isSynced?: boolean } = {}): Promise<TestAgent> {
    return cluster.agent("n1", {
      ...more,
      families: [4],
      plugins: (ipamFor, tasks) => {
        const options = { host, ipamFor, tasks, attached: () => [] };
        return [
          createMacvlanPlugin(options),
          createIpvlanPlugin(options),
          createVlanPlugin(options),
          createIfacerPlugin({ host, log: silentLogger }),
        ];
      },
    });
  }

  /** Notes what a call comes to, and ends the agent at the point. */
  function armed(agent: TestAgent, verb: string, point: string | undefined): Set<string> {
    const reached = new Set<string>();
    agent.failPoint = (of, now) => {
      if (of !== verb || reached.has(now)) return;
      reached.add(now);
      if (now === point) agent.crash();
    };
    return reached;
  }

  /** Plays without a crash, then with one at each point that there was. */
  async function atEach(play: (point: string | undefined) => Promise<Set<string>>, stages: readonly Stage[]) {
    const points = await play(undefined);
    for (const stage of stages)
      for (const side of ["before", "after"]) assert.ok(points.has(`${stage}:${side}`), stage);
    for (const point of points) assert.ok((await play(point)).has(point), `${point} was not reached`);
  }

  function namespace(): string {
    const path = `/run/netns/crash${namespaces++}`;
    createNetns(path)[Symbol.dispose]();
    return path;
  }

  function addressesIn(path: string): readonly string[] {
    using netns = openNetns(path);
    // Loopback's own has another scope.
    const usable = netns.rtnl.addresses({ family: 4 }).filter(({ scope }) => scope === 0);
    return usable.map(({ address }) => formatIp(address.ip));
  }

  /**
   * DEL answers when nothing answers for the addresses any more; the link, and its MAC address on the card, goes a little later.
   */
  async function emptied(path: string): Promise<void> {
    assert.deepEqual(addressesIn(path), []);
    using netns = openNetns(path);
    while (netns.rtnl.links().length > 1) await delay(2);
  }

  for (const kind of kinds) {
    const skip = has(kind) ? false : `this kernel has no ${kind}: test/uml.test.ts runs it in one that has`;
    describe(`an agent that is killed while it serves ${kind}`, { skip }, () => {
      const vlan = kind === "vlan" ? { vlanId: 10 } : {};
      const ipam = { type: "spiderpool", default_ipv4_ippool: ["p"] };
      const config = { type: kind, master: card, ipam, ...vlan };

      const cases = ["ADD", "DEL"].flatMap((verb) => [false, true].map((isAway) => ({ verb, isAway })));
      for (const { verb, isAway } of cases) {
        const meanwhile = isAway ? ", with the API server away until the sandbox is taken down," : "";
        it(`at any stage of ${verb}${meanwhile} loses no address, gives none twice and leaves nothing`, async () => {
          const play = async (point: string | undefined) => {
            using cluster = new TestCluster();
            cluster.pool("p", "10.6.0.1-10.6.0.3");
            const clean = names();
            const first = await start(cluster);
            const uid = cluster.pod({ name: "a" });
            const [old, next] = [namespace(), namespace()];
            if (verb === "DEL") await first.add("a", "s1", { netns: old, nic: "net1", config });
            const reached = armed(first, verb, point);
            await cluster.api.drive(first.call(verb, "a", "s1", { netns: old, nic: "net1", config }));
            first.kill();
            if (isAway) cluster.api.fake.faults = () => ({ kind: "hang" });
            const agent = await start(cluster, { isSynced: !isAway });
            // As kubelet: the sandbox whose call failed is taken down, and the Pod, which lives, gets another.
            await agent.del("a", "s1", { netns: old, nic: "net1", config });
            await emptied(old);
            deleteNetns(old);
            cluster.api.fake.faults = () => undefined;
            await cluster.api.drive(agent.ready);
            const ips = await agent.add("a", "s2", { netns: next, nic: "net1", config });
            assert.deepEqual(addressesIn(next), ips, point);
            assert.deepEqual(cluster.claims, { [ips[0] ?? ""]: `${uid}@n1` }, point);
            cluster.erase("a");
            await agent.del("a", "s2", { netns: next, nic: "net1", config });
            await cluster.advance(100_000);
            assert.deepEqual([cluster.claims, agent.records.list()], [{}, []], point);
            await emptied(next);
            assert.deepEqual(names(), clean, point);
            deleteNetns(next);
            return reached;
          };
          await atEach(play, verb === "ADD" ? ["claim", "link", "addresses", "record"] : ["link", "record"]);
        });
      }
    });
  }

  const skip = has("vlan") ? false : "this kernel has no vlan: test/uml.test.ts runs it in one that has";
  describe("an agent that is killed while it makes an interface of the node's", { skip }, () => {
    it("at any stage leaves one that the next ADD completes, and makes once", async () => {
      const config = { type: "ifacer", interfaces: [card], vlanID: 20 };
      const play = async (point: string | undefined) => {
        using cluster = new TestCluster();
        const clean = names();
        const first = await start(cluster);
        cluster.pod({ name: "a" });
        const netns = namespace();
        const reached = armed(first, "ADD", point);
        await cluster.api.drive(first.call("ADD", "a", "s1", { netns, config }));
        first.kill();
        const agent = await start(cluster);
        await agent.del("a", "s1", { netns, config });
        await agent.add("a", "s2", { netns, config });
        const made = names().filter((name) => !clean.includes(name));
        assert.deepEqual(made, [`${card}.20`], point);
        assert.equal(host.rtnl.link(`${card}.20`)?.up, true, point);
        await agent.del("a", "s2", { netns, config });
        assert.deepEqual(agent.records.list(), [], point);
        host.rtnl.deleteLink(`${card}.20`);
        deleteNetns(netns);
        return reached;
      };
      await atEach(play, ["link", "record"]);
    });
  });
}
