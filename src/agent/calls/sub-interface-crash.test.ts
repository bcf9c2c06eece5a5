// The agent is killed at each stage of ADD and DEL of interfaces that are made on others of the node. The crash matrix on the lab
// (test/failures/crash.test.ts) has what its kernel has; the others are tried in a user-mode kernel (test/uml.test.ts).
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { type Stage, silentLogger } from "#base";
import { decodeResult, type PluginOutput } from "#cni";
import { formatIp } from "#ip";
import { createNetns, deleteNetns, hostNetns, openNetns } from "#linux";
import { until } from "../../base/testing/until.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { createIfacerPlugin } from "../../plugins/ifacer/plugin.ts";
import { createIpvlanPlugin, createMacvlanPlugin, createVlanPlugin } from "../../plugins/sub-interface/plugin.ts";
import { kinds, subInterfacePods } from "../../plugins/sub-interface/testing/pods.ts";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

if (isolated(import.meta.url)) {
  const { has } = subInterfacePods();
  const host = hostNetns();
  const card = "card0";
  const names = () => host.rtnl.links().map(({ name }) => name);
  let namespaces = 0;

  before(() => host.rtnl.createVeth({ name: card, up: true, peer: { name: "far0", up: true } }));

  function start(
    cluster: TestCluster,
    more: { readonly isSynced?: boolean; readonly addMsMax?: number } = {},
  ): Promise<TestAgent> {
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

  /** These points have a test of their own. */
  const isUndo = (point: string) => /:undo(ne)?$/.test(point);

  /** Notes what a call comes to, and ends the agent at the point. */
  function armed(agent: TestAgent, verb: string, point: string | undefined): Set<string> {
    const reached = new Set<string>();
    agent.failPoint = (of, now) => {
      if (of !== verb || reached.has(now) || isUndo(now)) return;
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

  /** What an ADD answered with, or why it failed. */
  async function added(cluster: TestCluster, call: Promise<PluginOutput>): Promise<readonly string[]> {
    const { exitCode, stdout } = await cluster.ended(call);
    if (exitCode !== 0) throw new Error(String(stdout));
    return decodeResult(JSON.parse(String(stdout))).ips.map(({ address }) => formatIp(address.ip));
  }

  async function succeeded(cluster: TestCluster, call: Promise<PluginOutput>): Promise<void> {
    const { exitCode, stdout } = await cluster.ended(call);
    assert.equal(exitCode, 0, String(stdout));
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
    await until(
      "only loopback is left",
      () => netns.rtnl.links().length,
      (links) => links === 1,
      { everyMs: 2 },
    );
  }

  /** The Pod has these addresses in the ledger, and nobody has others. */
  function holds(cluster: TestCluster, uid: string, ips: readonly string[], point: string | undefined): void {
    assert.deepEqual(cluster.claims, Object.fromEntries(ips.map((ip) => [ip, `${uid}@n1`])), point);
  }

  interface Scene {
    readonly cluster: TestCluster;
    readonly agent: TestAgent;
    readonly netns: string;
    /** The host's links before the Pod. */
    readonly clean: readonly string[];
    readonly point: string | undefined;
  }

  /** The Pod's object goes, and a DEL or a GC ends its sandbox: nothing of it is left, and its namespace goes. */
  async function ended(pod: string, end: () => Promise<PluginOutput>, scene: Scene): Promise<void> {
    const { cluster, agent, netns, clean, point } = scene;
    cluster.erase(pod);
    await succeeded(cluster, end());
    await cluster.advance(100_000);
    assert.deepEqual([cluster.claims, agent.records.list()], [{}, []], point);
    await emptied(netns);
    assert.deepEqual(names(), clean, point);
    deleteNetns(netns);
  }

  /** What a call comes to, where the API server is away or not. */
  const whole = ["claim", "link", "addresses", "record"] as const;
  const outages = [
    { verb: "ADD", away: "never", stages: whole },
    { verb: "ADD", away: "after the call", stages: whole },
    // It gets as far as the request for its address, and has a link by then.
    { verb: "ADD", away: "before the call", stages: ["queue", "pod", "networks", "select"] },
    { verb: "DEL", away: "never", stages: ["link", "record"] },
    { verb: "DEL", away: "after the call", stages: ["link", "record"] },
  ] as const;
  const unreachable = /the Kubernetes API server cannot be reached.*server http/s;

  for (const kind of kinds) {
    const skip = has(kind) ? false : `this kernel has no ${kind}: test/uml.test.ts runs it in one that has`;
    describe(`an agent that is killed while it serves ${kind}`, { skip }, () => {
      const vlan = kind === "vlan" ? { vlanId: 10 } : {};
      const ipam = { type: "spiderpool", default_ipv4_ippool: ["p"] };
      const config = { type: kind, master: card, ipam, ...vlan };

      for (const { verb, away, stages } of outages) {
        const isAway = away !== "never";
        const meanwhile = isAway ? `, with the API server away ${away} until an ADD has failed for it,` : "";
        it(`at any stage of ${verb}${meanwhile} loses no address, gives none twice and leaves nothing`, async () => {
          const play = async (point: string | undefined) => {
            using cluster = new TestCluster();
            cluster.pool("p", "10.6.0.1-10.6.0.3");
            const clean = names();
            const first = await start(cluster, away === "before the call" ? { addMsMax: 1_500 } : {});
            const uid = cluster.pod({ name: "a" });
            const of = { nic: "net1", config };
            const [old, next] = [namespace(), namespace()];
            if (verb === "DEL") await added(cluster, first.call("ADD", "a", "s1", { netns: old, ...of }));
            const reached = armed(first, verb, point);
            const cutOff = () => {
              cluster.api.fake.faults = () => ({ kind: "hang" });
            };
            if (away === "before the call") cutOff();
            const failed = await cluster.ended(first.call(verb, "a", "s1", { netns: old, ...of, uid }));
            if (away === "before the call" && point === undefined) {
              assert.match(String(failed.stdout), unreachable);
              assert.deepEqual(first.records.list(), []);
              await emptied(old);
            }
            first.kill();
            if (isAway) cutOff();
            const agent = await start(cluster, { isSynced: !isAway });
            // As kubelet: the sandbox whose call failed is taken down, and the Pod, which lives, gets another.
            await succeeded(cluster, agent.call("DEL", "a", "s1", { netns: old, ...of }));
            await emptied(old);
            deleteNetns(old);
            if (isAway) {
              const startMs = cluster.api.clock.monotonicMs();
              await assert.rejects(
                added(cluster, agent.call("ADD", "a", "s-away", { netns: next, ...of })),
                unreachable,
                point,
              );
              assert.ok(cluster.api.clock.monotonicMs() - startMs <= 30_000, point);
              await emptied(next);
              assert.deepEqual(agent.records.list(), [], point);
              await succeeded(cluster, agent.call("DEL", "a", "s-away", { netns: next, ...of }));
            }
            cluster.api.fake.faults = () => undefined;
            await cluster.api.drive(agent.ready);
            const ips = await added(cluster, agent.call("ADD", "a", "s2", { netns: next, ...of }));
            assert.deepEqual(addressesIn(next), ips, point);
            holds(cluster, uid, ips, point);
            const end = () => agent.call("DEL", "a", "s2", { netns: next, ...of });
            await ended("a", end, { cluster, agent, netns: next, clean, point });
            return reached;
          };
          await atEach(play, stages);
        });
      }

      it("at any stage of an ADD that its shim says again to the next agent, ends with one that is like new", async () => {
        const play = async (point: string | undefined) => {
          using cluster = new TestCluster();
          cluster.pool("p", "10.6.0.1-10.6.0.3");
          const clean = names();
          const first = await start(cluster);
          const uid = cluster.pod({ name: "a" });
          const netns = namespace();
          const of = { nic: "net1", netns, config };
          const reached = armed(first, "ADD", point);
          await cluster.ended(first.call("ADD", "a", "s1", { ...of, calledMs: 1 }));
          first.kill();
          const agent = await start(cluster);
          const ips = await added(cluster, agent.call("ADD", "a", "s1", { ...of, calledMs: 1 }));
          assert.deepEqual(addressesIn(netns), ips, point);
          await succeeded(cluster, agent.call("CHECK", "a", "s1", of));
          await cluster.advance(100_000);
          holds(cluster, uid, ips, point);
          await ended("a", () => agent.call("DEL", "a", "s1", of), { cluster, agent, netns, clean, point });
          return reached;
        };
        await atEach(play, whole);
      });

      it("at any step of undoing an ADD that failed leaves what its DEL takes down", async () => {
        const play = async (crashAt: number): Promise<number> => {
          using cluster = new TestCluster();
          cluster.pool("p", "10.6.0.1-10.6.0.3");
          const clean = names();
          const first = await start(cluster);
          const uid = cluster.pod({ name: "a" });
          const netns = namespace();
          const of = { nic: "net1", netns, config };
          let undone = 0;
          first.failPoint = (_verb, point) => {
            if (point === "record:before") throw new Error("the disk is full");
            if (!isUndo(point)) return;
            undone += 1;
            if (undone === crashAt) first.crash();
          };
          assert.equal((await cluster.ended(first.call("ADD", "a", "s1", of))).exitCode, 1);
          first.kill();
          const agent = await start(cluster);
          await succeeded(cluster, agent.call("DEL", "a", "s1", of));
          await emptied(netns);
          const ips = await added(cluster, agent.call("ADD", "a", "s2", of));
          await cluster.advance(100_000);
          const point = `undo ${crashAt}`;
          holds(cluster, uid, ips, point);
          await ended("a", () => agent.call("DEL", "a", "s2", of), { cluster, agent, netns, clean, point });
          return undone;
        };
        const steps = await play(0);
        assert.ok(steps >= 6, "there are a record, a link and a claim");
        for (let at = 1; at <= steps; at++) assert.equal(await play(at), at);
      });

      it("at any stage of a GC leaves what the next GC takes down, and nothing of what it is to keep", async () => {
        const play = async (point: string | undefined) => {
          using cluster = new TestCluster();
          cluster.pool("p", "10.6.0.1-10.6.0.3");
          const clean = names();
          const first = await start(cluster);
          const [kept, stale] = [namespace(), namespace()];
          const of = (netns: string) => ({
            nic: "net1",
            netns,
            config: { ...config, vlanId: netns === kept ? 10 : 11 },
          });
          const uid = cluster.pod({ name: "kept" });
          cluster.pod({ name: "stale" });
          const ips = await added(cluster, first.call("ADD", "kept", "s-kept", of(kept)));
          await added(cluster, first.call("ADD", "stale", "s-stale", of(stale)));
          cluster.erase("stale");
          const valid = { "cni.dev/valid-attachments": [{ containerID: "s-kept", ifname: "net1" }] };
          const gc = (agent: TestAgent) =>
            agent.call("GC", "kept", "", { ...of(kept), config: { ...config, ...valid } });
          const reached = armed(first, "DEL", point);
          await cluster.ended(gc(first));
          first.kill();
          const agent = await start(cluster);
          await succeeded(cluster, gc(agent));
          await cluster.advance(100_000);
          await emptied(stale);
          const containers = agent.records.list().map(({ containerId }) => containerId);
          assert.deepEqual([containers, addressesIn(kept)], [["s-kept"], ips], point);
          holds(cluster, uid, ips, point);
          await succeeded(cluster, agent.call("CHECK", "kept", "s-kept", of(kept)));
          const end = () => agent.call("DEL", "kept", "s-kept", of(kept));
          await ended("kept", end, { cluster, agent, netns: kept, clean, point });
          deleteNetns(stale);
          return reached;
        };
        await atEach(play, ["queue", "link", "record", "reply"]);
      });

      for (const ending of ["DEL", "GC"]) {
        it(`at any stage of a second ADD of a running sandbox leaves it as it runs, until its ${ending}`, async () => {
          const play = async (point: string | undefined) => {
            using cluster = new TestCluster();
            cluster.pool("p", "10.6.0.1-10.6.0.3");
            const clean = names();
            const first = await start(cluster);
            const uid = cluster.pod({ name: "a" });
            const netns = namespace();
            const of = { nic: "net1", netns, config };
            const ips = await added(cluster, first.call("ADD", "a", "s1", of));
            const running = first.records.list();
            const reached = armed(first, "ADD", point);
            assert.equal((await cluster.ended(first.call("ADD", "a", "s1", of))).exitCode, 1, point);
            first.kill();
            const agent = await start(cluster);
            const gc = (containerID: string) =>
              agent.call("GC", "a", "", {
                ...of,
                config: { ...config, "cni.dev/valid-attachments": [{ containerID, ifname: "net1" }] },
              });
            await succeeded(cluster, agent.call("CHECK", "a", "s1", of));
            await succeeded(cluster, gc("s1"));
            assert.deepEqual(agent.records.list(), running, point);
            assert.deepEqual(addressesIn(netns), ips, point);
            holds(cluster, uid, ips, point);
            const end = () => (ending === "GC" ? gc("another") : agent.call("DEL", "a", "s1", of));
            await ended("a", end, { cluster, agent, netns, clean, point });
            return reached;
          };
          await atEach(play, ["queue", "pod", "networks"]);
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
        await succeeded(cluster, agent.call("DEL", "a", "s1", { netns, config }));
        await added(cluster, agent.call("ADD", "a", "s2", { netns, config }));
        const made = names().filter((name) => !clean.includes(name));
        assert.deepEqual(made, [`${card}.20`], point);
        assert.equal(host.rtnl.link(`${card}.20`)?.up, true, point);
        await succeeded(cluster, agent.call("DEL", "a", "s2", { netns, config }));
        assert.deepEqual(agent.records.list(), [], point);
        host.rtnl.deleteLink(`${card}.20`);
        deleteNetns(netns);
        return reached;
      };
      await atEach(play, ["link", "record"]);
    });
  });
}
