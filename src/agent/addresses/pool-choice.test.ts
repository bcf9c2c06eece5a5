import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { annotations as keys, spiderIPAddresses } from "#api";
import { parseIp } from "#ip";
import { namespaces } from "#kube";
import { type TestAgent, TestCluster } from "../testing/agent.ts";

let cluster: TestCluster;
let n1: TestAgent;

beforeEach(async () => {
  cluster = new TestCluster();
  n1 = await cluster.agent("n1");
});
afterEach(() => cluster[Symbol.dispose]());

describe("two pools with the same addresses", () => {
  it("give each of them once: pools made at the same moment may both have been admitted", async () => {
    const n2 = await cluster.agent("n2");
    for (const name of ["p", "q"]) cluster.pool(name, "10.6.0.1-10.6.0.4", { default: false });
    await cluster.advance(100);
    const pods = ["a", "b", "c", "d"].map((name, at) => {
      const node = at % 2 === 0 ? "n1" : "n2";
      cluster.pod({ name, node, annotations: { [keys.ippool]: `{"ipv4":["${at < 2 ? "p" : "q"}"]}` } });
      return { name, agent: at % 2 === 0 ? n1 : n2 };
    });
    const ips = (await Promise.all(pods.map(({ name, agent }) => agent.add(name, `s-${name}`)))).flat();
    assert.deepEqual([...ips].sort(), ["10.6.0.1", "10.6.0.2", "10.6.0.3", "10.6.0.4"]);
  });
});

describe("a Namespace that the watch does not show yet", () => {
  it("is asked for: its Pod would have an address of a default pool for all its life", async () => {
    cluster.pool("p", "10.6.0.1");
    cluster.pool("q", "10.6.1.1", { default: false });
    cluster.api.fake.remove(namespaces, { name: "default" });
    await cluster.advance(100);
    cluster.api.fake.deafenWatches();
    const metadata = { name: "default", annotations: { [keys.defaultIpv4Pools]: '["q"]' } };
    cluster.api.fake.apply(namespaces, { metadata });
    cluster.pod({ name: "a" });
    assert.deepEqual(await n1.add("a", "s1"), ["10.6.1.1"]);
  });
});

describe("a network with match_master_subnet", () => {
  it("draws only from pools of a subnet in which its host's interface has an address", async () => {
    cluster.pool("p", "10.6.0.1");
    await cluster.advance(100);
    cluster.pod({ name: "a" });
    const pools = { match_master_subnet: true };
    const said = /filterPoolCandidatesByPfSubnet: .* in the subnet 10\.6\.0\.0\/16 of IPPool p, found no address/;
    await assert.rejects(n1.add("a", "s1", { pools }), said);
    n1.masterAddresses = [parseIp("10.6.9.9")];
    assert.deepEqual(await n1.add("a", "s1", { pools }), ["10.6.0.1"]);
  });
});

describe("a Pod with several NICs", () => {
  const networks = { "k8s.v1.cni.cncf.io/networks": "default/n@storage" };

  it("un-named ippools count by position, whatever the NIC is called", async () => {
    cluster.pool("p", "10.6.0.1-10.6.0.4");
    cluster.pool("q", "10.6.1.1-10.6.1.4");
    await cluster.advance(100);
    cluster.pod({ name: "a", annotations: { ...networks, [keys.ippools]: '[{"ipv4":["p"]},{"ipv4":["q"]}]' } });
    assert.deepEqual(await n1.add("a", "s1"), ["10.6.0.1"]);
    assert.deepEqual(await n1.add("a", "s1", { nic: "storage" }), ["10.6.1.1"]);
  });

  it("is given the pools of each NIC's own network and place, where the node's configuration has networks for all Pods", async () => {
    const nads = ["kube-system/first", "kube-system/every", "default/own", "default/last"];
    const agent = await cluster.agent("n1", { families: [4], nads });
    for (const [at, nad] of nads.entries()) cluster.pool(`p${at}`, `10.6.${at}.1-10.6.${at}.4`, { multusName: [nad] });
    await cluster.advance(100);
    const config = { type: "multus", clusterNetwork: "first", defaultNetworks: ["every"] };
    const wanted = { "k8s.v1.cni.cncf.io/networks": "default/own@storage,default/last" };
    const held = () =>
      Object.fromEntries(cluster.api.fake.all(spiderIPAddresses).map(({ spec }) => [spec.nic, spec.pool]));
    const each = { eth0: "p0", net1: "p1", storage: "p2", net3: "p3" };
    cluster.pod({ name: "a", annotations: wanted });
    await agent.add("a", "s1", { config });
    assert.deepEqual(held(), each);
    cluster.erase("a");
    await agent.del("a", "s1", { config });
    await cluster.advance(1_000);
    const byPlace = JSON.stringify(nads.map((_, at) => ({ ipv4: [`p${at}`] })));
    cluster.pod({ name: "b", annotations: { ...wanted, [keys.ippools]: byPlace } });
    await agent.add("b", "s2", { config });
    assert.deepEqual(held(), each);
  });

  it("two NICs in one pool have two addresses", async () => {
    cluster.pool("p", "10.6.0.1-10.6.0.4");
    await cluster.advance(100);
    cluster.pod({ name: "a", annotations: { ...networks, [keys.ippool]: '{"ipv4":["p"]}' } });
    const ips = [...(await n1.add("a", "s1")), ...(await n1.add("a", "s1", { nic: "storage" }))];
    assert.equal(new Set(ips).size, 2);
  });

  it("one NIC's pool exhausted must not drain the others over repeated retries", async () => {
    cluster.pool("p", "10.6.0.1-10.6.0.3");
    cluster.pool("q", "10.6.1.1", { excludeIPs: ["10.6.1.1"] });
    await cluster.advance(100);
    const named = '[{"interface":"eth0","ipv4":["p"]},{"interface":"storage","ipv4":["q"]}]';
    cluster.pod({ name: "a", annotations: { ...networks, [keys.ippools]: named } });
    for (let retry = 0; retry < 5; retry++) {
      assert.deepEqual(await n1.add("a", `s${retry}`), ["10.6.0.1"]);
      await assert.rejects(n1.add("a", `s${retry}`, { nic: "storage" }), /all IP addresses used out/);
    }
    assert.equal(Object.keys(cluster.claims).length, 1);
  });
});
