import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { decodeResult } from "#cni";
import { formatIp, parseIp } from "#ip";
import { createNetns, deleteNetns, hostNetns, openNetns } from "#linux";
import { until } from "../../base/testing/until.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { derivedMac } from "../../plugins/names.ts";
import { createMacvlanPlugin } from "../../plugins/sub-interface/plugin.ts";
import { type TestAgent, TestCluster } from "../testing/agent.ts";
import { holderOfMac } from "./macs.ts";

if (isolated(import.meta.url)) {
  const host = hostNetns();
  const card = "card0";
  const first = "10.6.0.1";
  const mac = derivedMac(parseIp(first));
  const path = (name: string) => `/run/netns/${name}`;
  const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name: "db", uid: "uid-db", controller: true };

  before(() => {
    host.rtnl.createVeth({ name: card, up: true, peer: { name: "far0", up: true } });
    for (const name of ["one", "other"]) createNetns(path(name))[Symbol.dispose]();
  });
  after(() => {
    for (const name of ["one", "other"]) deleteNetns(path(name));
  });

  async function started(cluster: TestCluster): Promise<TestAgent> {
    cluster.pool("p", `${first}-10.6.0.3`);
    cluster.pool("q", "10.6.1.1");
    const agent: TestAgent = await cluster.agent("n1", {
      families: [4],
      plugins: (ipamFor, tasks) => {
        const holderOf = (taken: string, except: string) => holderOfMac(agent.records, taken, except);
        return [createMacvlanPlugin({ host, ipamFor, tasks, holderOf })];
      },
    });
    return agent;
  }

  /** Calls for a sandbox in the namespace: its address, or the error as the Pod's owner reads it. */
  async function called(cluster: TestCluster, agent: TestAgent, verb: string, of: Sandbox): Promise<string> {
    const { pod, sandbox, netns, pool = "p", more = {} } = of;
    const ipam = { type: "spiderpool", default_ipv4_ippool: [pool] };
    const config = { type: "macvlan", master: card, ipam, ...more };
    const { exitCode, stdout } = await cluster.ended(
      agent.call(verb, pod, sandbox, { netns: path(netns), nic: "net1", config }),
    );
    if (exitCode !== 0) return String(stdout);
    if (verb === "DEL") return "";
    return decodeResult(JSON.parse(String(stdout)))
      .ips.map(({ address }) => formatIp(address.ip))
      .join();
  }

  interface Sandbox {
    readonly pod: string;
    readonly sandbox: string;
    readonly netns: string;
    readonly pool?: string;
    readonly more?: Readonly<Record<string, string>>;
  }

  async function emptied(netns: string): Promise<void> {
    using there = openNetns(path(netns));
    await until(
      "only loopback is left",
      () => there.rtnl.links().length,
      (links) => links === 1,
      { everyMs: 2 },
    );
  }

  const taken = /another interface on card0 has the MAC address 0a:58:0a:06:00:01/;

  describe("a MAC address that somebody else on the card has", () => {
    it("costs a Pod one try: the next gets another address, with another MAC address", async () => {
      using cluster = new TestCluster();
      const agent = await started(cluster);
      using other = openNetns(path("other"));
      const parent = host.rtnl.link(card)?.index ?? 0;
      const kind = { kind: "macvlan", mode: "bridge", parent } as const;
      const { index } = other.rtnl.createLink({ name: "net1", kind, mac, parentNetns: host });
      other.rtnl.setLink(index, { up: true });
      cluster.pod({ name: "a" });
      const refused = await called(cluster, agent, "ADD", { pod: "a", sandbox: "s1", netns: "one" });
      assert.match(refused, taken);
      assert.match(refused, /holder an interface in a network namespace of which nothing is on record.*lsns -t net/s);
      await called(cluster, agent, "DEL", { pod: "a", sandbox: "s1", netns: "one" });
      await emptied("one");
      assert.equal(await called(cluster, agent, "ADD", { pod: "a", sandbox: "s2", netns: "one" }), "10.6.0.2");
      await called(cluster, agent, "DEL", { pod: "a", sandbox: "s2", netns: "one" });
      await emptied("one");
      other.rtnl.deleteLink("net1");
    });

    it("is that of a Pod that is named, as long as it runs, to one that keeps its address", async () => {
      using cluster = new TestCluster();
      const agent = await started(cluster);
      for (const name of ["db-0", "b"]) cluster.pod({ name, ...(name === "db-0" && { owner }) });
      const holder = { pod: "b", sandbox: "s-b", netns: "other", pool: "q", more: { mac } };
      assert.equal(await called(cluster, agent, "ADD", { pod: "db-0", sandbox: "s0", netns: "one" }), first);
      await called(cluster, agent, "DEL", { pod: "db-0", sandbox: "s0", netns: "one" });
      await emptied("one");
      assert.equal(await called(cluster, agent, "ADD", holder), "10.6.1.1");
      for (const sandbox of ["s1", "s2"]) {
        const refused = await called(cluster, agent, "ADD", { pod: "db-0", sandbox, netns: "one" });
        assert.match(refused, taken);
        assert.match(refused, /holder Pod default\/b \(container s-b\).*delete or change Pod default\/b/s);
        await called(cluster, agent, "DEL", { pod: "db-0", sandbox, netns: "one" });
        await emptied("one");
      }
      await called(cluster, agent, "DEL", holder);
      await emptied("other");
      assert.equal(await called(cluster, agent, "ADD", { pod: "db-0", sandbox: "s3", netns: "one" }), first);
      await called(cluster, agent, "DEL", { pod: "db-0", sandbox: "s3", netns: "one" });
      await emptied("one");
    });
  });
}
