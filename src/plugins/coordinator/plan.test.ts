import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatIp, ipFromValue, parseIp, parsePrefix } from "#ip";
import { formatOperations } from "./operations.ts";
import { planCoordinator } from "./plan.ts";
import {
  after,
  eth0,
  example,
  firstPod,
  hostVeth,
  ips,
  link,
  lo,
  noHost,
  observed,
  overlay,
  podSide,
  route,
  settings,
  veth0,
} from "./testing/observed.ts";

describe("planCoordinator", () => {
  it("plans the first NIC of an underlay Pod", () => {
    const first = observed(firstPod, {
      lookups: [{ ip: parseIp("10.6.0.10"), src: parseIp("172.18.0.3"), dev: 4, onLink: false }],
    });
    const plan = planCoordinator(first, settings(example));
    const { mac: hostMac = "", pod: { mac: podMac = "" } = {} } = plan.veth ?? {};
    assert.deepEqual(formatOperations(plan), [
      "veth veth0 peer veth0123456789a mtu 1500",
      `pod: neighbour 172.18.0.3 at ${hostMac} dev veth0`,
      "pod: route 172.18.0.3/32 dev veth0 src 10.6.0.10 table 254",
      "pod: route 172.18.0.3/32 dev veth0 src 10.6.0.10 table 101",
      "pod: route 10.96.0.0/12 via 172.18.0.3 dev veth0 src 10.6.0.10 table 254",
      "pod: route 169.254.0.0/16 via 172.18.0.3 dev veth0 src 10.6.0.10 table 254",
      "pod: route 0.0.0.0/0 via 172.18.0.3 dev veth0 src 10.6.0.10 table 100",
      "pod: rule IPv4 from all fwmark 1 lookup 100 pref 1000",
      "pod: reply marks",
      `node: neighbour 10.6.0.10 at ${podMac} dev veth0123456789a`,
      "node: route 10.6.0.10/32 dev veth0123456789a table 500",
      "node: rule IPv4 from all lookup 500 pref 1000",
    ]);
  });

  it("plans the second NIC, whose routes move to table 101", () => {
    const one = observed(firstPod);
    const done = after(one, planCoordinator(one, settings(example)));
    const net1 = link("net1", 40);
    const pod = {
      ...done.pod,
      links: [...done.pod.links, net1],
      addresses: [...done.pod.addresses, { dev: "net1", address: parsePrefix("10.7.0.10/16") }],
      routes: [...done.pod.routes, route("default via 10.7.0.1 dev net1"), route("10.7.0.0/16 dev net1 src 10.7.0.10")],
    };
    const second = { ...done, ifName: "net1", pod };
    const plan = planCoordinator(second, settings(example));
    const podMac = done.pod.links.find(({ name }) => name === "veth0")?.mac;
    assert.deepEqual(formatOperations(plan), [
      "pod: route 10.96.0.0/12 via 172.18.0.3 dev veth0 src 10.6.0.10 table 101",
      "pod: route 169.254.0.0/16 via 172.18.0.3 dev veth0 src 10.6.0.10 table 101",
      "pod: route 10.7.0.0/16 dev net1 src 10.7.0.10 table 101",
      "pod: route 0.0.0.0/0 via 10.7.0.1 dev net1 table 101",
      "pod: no route 0.0.0.0/0 via 10.7.0.1 dev net1 table 254",
      "pod: rule IPv4 from 10.7.0.10/32 lookup 101",
      `node: neighbour 10.7.0.10 at ${podMac} dev veth0123456789a`,
      "node: route 10.7.0.10/32 dev veth0123456789a table 500",
    ]);
    assert.deepEqual(formatOperations(planCoordinator(after(second, plan), settings(example))), []);
  });

  it("is empty once it has been done, whatever addresses and settings there are", () => {
    const ip4 = fc.integer({ min: 0x0a00_0001, max: 0x0aff_fffe }).map((value) => formatIp({ family: 4, value }));
    const ip6 = fc.bigInt({ min: 1n, max: 0xffffn }).map((tail) => formatIp(ipFromValue(6, (0xfd00n << 112n) | tail)));
    const few = (ip: fc.Arbitrary<string>) => fc.uniqueArray(ip, { maxLength: 2 });
    const cluster = fc.record({
      podMACPrefix: fc.constantFrom("", "0a:1b"),
      txQueueLen: fc.constantFrom(0, 1000, 2000),
      podRPFilter: fc.constantFrom(-1, 0, 2),
      vethLinkAddress: fc.constantFrom("", "169.254.1.1"),
      serviceCIDR: fc.subarray(["10.96.0.0/12", "fd96::/112", "10.96.0.0/12"]),
      policyRoutes: fc.subarray([
        { dst: "192.168.0.0/16", gw: "10.6.0.2" },
        { dst: "fd77::/64", gw: "fd06::2" },
      ]),
    });
    fc.assert(
      fc.property(
        few(ip4),
        few(ip6),
        few(ip4),
        few(ip6),
        cluster,
        fc.boolean(),
        (v4, v6, node4, node6, fields, off) => {
          fc.pre(v4.length + v6.length > 0);
          const eth = [...v4.map((ip) => `${ip}/16`), ...v6.map((ip) => `${ip}/64`)];
          const pod = { ...podSide({ addresses: { eth0: eth } }), ipv6Off: off };
          const before = observed(pod, { nodeAddresses: ips(...node4, ...node6) });
          const plan = planCoordinator(before, settings(fields));
          assert.deepEqual(formatOperations(planCoordinator(after(before, plan), settings(fields))), []);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("plans both families, and skips what the interface or the node lacks", () => {
    const cluster = {
      ...example,
      serviceCIDR: ["fd00:96::/112"],
      policyRoutes: [{ dst: "192.168.0.0/16", gw: "10.6.0.2" }],
    };
    const six = podSide({ addresses: { eth0: ["fd06::10/64"] } });
    const lines = formatOperations(planCoordinator(observed(six), settings(cluster)));
    assert.ok(lines.includes("pod: route fd00:96::/112 via fc00:f853::3 dev veth0 table 254"));
    assert.ok(lines.includes("node: rule IPv6 from all lookup 500 pref 1000"));
    assert.ok(!lines.some((line) => /IPv4|192\.168|169\.254|172\.18/.test(line)));
    const alone = planCoordinator(observed(six, { nodeAddresses: ips("172.18.0.3") }), settings(cluster));
    assert.ok(!formatOperations(alone).some((line) => /fd00:96|fwmark/.test(line)));
  });

  it("takes as gateway the address by which the node reaches the Pod, unless it is of an interface for other purposes", () => {
    const gatewayOf = (src: string) => {
      const lookups = [{ ip: parseIp("10.6.0.10"), src: parseIp(src), dev: 4, onLink: true }];
      const nodeAddresses = ips("172.18.0.3", "192.168.0.3");
      const lines = formatOperations(
        planCoordinator(observed(firstPod, { nodeAddresses, lookups }), settings(example)),
      );
      return lines.find((line) => line.includes("10.96.0.0/12"))?.split(" ")[4];
    };
    assert.equal(gatewayOf("192.168.0.3"), "192.168.0.3");
    assert.equal(gatewayOf("172.17.0.1"), "172.18.0.3");
  });

  it("refuses a veth0 whose other end is not the Pod's on the node", () => {
    const pod = podSide({ links: [lo, eth0, veth0], addresses: { eth0: ["10.6.0.10/16"] } });
    assert.throws(() => planCoordinator(observed(pod), settings()), /no other end/);
    const ours = { ...noHost, links: [hostVeth] };
    assert.equal(planCoordinator(observed(pod, { host: ours }), settings()).veth, undefined);
  });
});

describe("planCoordinator for the NICs of an overlay Pod", () => {
  it("leaves the default route on eth0, and answers of both NICs leave by their own", () => {
    const plan = planCoordinator(overlay, settings(example));
    const lines = formatOperations(plan);
    assert.ok(lines.includes("pod: rule IPv4 from 10.7.0.10/32 lookup 101"));
    assert.ok(lines.includes("pod: rule IPv4 from 10.244.1.5/32 lookup 100"));
    assert.ok(lines.includes("pod: route 0.0.0.0/0 via 169.254.1.1 dev eth0 table 100"));
    assert.ok(lines.includes("pod: route 10.7.0.0/16 dev net1 src 10.7.0.10 table 101"));
    assert.ok(lines.includes("pod: route 10.96.0.0/12 via 172.18.0.3 dev eth0 src 10.244.1.5 table 254"));
    assert.ok(lines.includes("pod: route 10.96.0.0/12 via 172.18.0.3 dev eth0 src 10.244.1.5 table 101"));
    assert.ok(lines.includes("node: route 10.7.0.10/32 dev cali1 table 500"));
    assert.equal(plan.replyMarks, false);
    assert.deepEqual(formatOperations(planCoordinator(after(overlay, plan), settings(example))), []);
  });
});
