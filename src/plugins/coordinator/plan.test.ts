import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatIp, type Ip, ipFromValue, parseIp, parsePrefix } from "#ip";
import { type ClusterConfig, decodeCoordinatorConfig, settingsOf } from "./config.ts";
import { isNodeInterface } from "./node-addresses.ts";
import { formatOperations, type Operations } from "./operations.ts";
import { planCoordinator } from "./plan.ts";
import { resolveRole } from "./role.ts";
import type { LinkState, NeighbourState, Observed, RouteState, Side } from "./state.ts";

const usualFlags = 0x1 | 0x2 | 0x1000;
const containerId = "0123456789abcdef";

function settings(cluster: ClusterConfig = {}) {
  const raw = {};
  return settingsOf(decodeCoordinatorConfig({ cniVersion: "1.0.0", name: "n", type: "coordinator", raw }), cluster);
}

function link(name: string, index: number, more: Partial<LinkState> = {}): LinkState {
  const mac = `02:00:00:00:00:0${index}`;
  return { index, name, mac, up: true, flags: usualFlags, txQueueLen: 1000, peerIndex: undefined, ...more };
}

const lo = link("lo", 1, { mac: undefined, flags: 0x1 | 0x8 });
const eth0 = link("eth0", 2);
const veth0 = link("veth0", 3, { peerIndex: 9 });
const hostVeth = link("veth0123456789a", 9);

/** `10.6.0.0/16 via 10.6.0.1 dev eth0 src 10.6.0.10 table 101`, as the ip command has it; `default` needs a gateway. */
function route(text: string): RouteState {
  const [first = "", ...words] = text.split(" ");
  const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined);
  const ip = (word: string): Ip | undefined => {
    const found = after(word);
    return found === undefined ? undefined : parseIp(found);
  };
  const gw = ip("via");
  const dst = first === "default" ? (gw?.family === 6 ? "::/0" : "0.0.0.0/0") : first;
  return { dst: parsePrefix(dst), dev: after("dev") ?? "", gw, src: ip("src"), table: Number(after("table") ?? 254) };
}

interface PodOptions {
  readonly links?: readonly LinkState[];
  readonly addresses: Readonly<Record<string, readonly string[]>>;
  readonly routes?: readonly string[];
  readonly rules?: Side["rules"];
  readonly neighbours?: readonly NeighbourState[];
}

function podSide({
  links = [lo, eth0],
  addresses,
  routes = [],
  rules = [],
  neighbours = [],
}: PodOptions): Observed["pod"] {
  return {
    links,
    addresses: Object.entries(addresses).flatMap(([dev, texts]) =>
      texts.map((text) => ({ dev, address: parsePrefix(text) })),
    ),
    routes: routes.map(route),
    rules,
    neighbours,
    rpFilters: new Map([["all", 0]]),
    ipv6Off: false,
    replyMarks: false,
  };
}

const noHost: Side = { links: [], addresses: [], routes: [], rules: [], neighbours: [] };
const ips = (...texts: readonly string[]) => texts.map((text) => parseIp(text));

function observed(pod: Observed["pod"], more: Partial<Observed> = {}): Observed {
  return {
    containerId,
    ifName: "eth0",
    pod,
    host: noHost,
    nodeAddresses: ips("172.18.0.3", "fc00:f853::3"),
    lookups: [],
    ...more,
  };
}

/** What a kernel would show after the operations: only what the plan looks at. */
function after(before: Observed, operations: Operations): Observed {
  const { veth } = operations;
  const withVeth = veth !== undefined;
  const inside = link("veth0", 30, { mac: veth?.podMac, peerIndex: 31, up: false });
  const outside = link(veth?.hostName ?? "", 31, { mac: veth?.hostMac, up: false });
  const pod = changed({ ...before.pod, links: [...before.pod.links, ...(withVeth ? [inside] : [])] }, operations.pod);
  const host = changed({ ...before.host, links: withVeth ? [outside] : before.host.links }, operations.host);
  const rpFilters = new Map(before.pod.rpFilters);
  for (const { key, value } of operations.podSettings)
    if (key.endsWith("rp_filter")) rpFilters.set(key.split("/")[3] ?? "", value);
  for (const change of operations.pod)
    if (change.kind === "link" && change.change.rpFilter !== undefined)
      rpFilters.set(change.name, change.change.rpFilter);
  const disabled = before.pod.ipv6Off && !operations.podSettings.some(({ key }) => key.endsWith("disable_ipv6"));
  const replyMarks = before.pod.replyMarks || operations.replyMarks;
  // The node's way now leads by the pair.
  const dev = host.links[0]?.index;
  const lookups = before.lookups.map((one) => ({ ...one, dev, src: undefined }));
  return { ...before, pod: { ...before.pod, ...pod, rpFilters, ipv6Off: disabled, replyMarks }, host, lookups };
}

function changed(side: Side, changes: Operations["pod"]): Side {
  let { links, addresses, routes, rules, neighbours } = side;
  for (const change of changes) {
    if (change.kind === "link") {
      const { name, change: to } = change;
      links = links.map((one) => {
        return one.name === name
          ? { ...one, up: to.up ?? one.up, mac: to.mac ?? one.mac, txQueueLen: to.txQueueLen ?? one.txQueueLen }
          : one;
      });
    } else if (change.kind === "address") addresses = [...addresses, change];
    else if (change.kind === "neighbour") neighbours = [...neighbours, change];
    else if (change.kind === "route") {
      const { dst, dev, gw, src, table = 254 } = change.route;
      routes = [...routes, { dst, dev: `${dev}`, gw, src, table }];
    } else if (change.kind === "rule") {
      const { family, from, fwmark, table, pref = 999 } = change.rule;
      rules = [...rules, { family, from, fwmark, table, pref }];
    } else if (change.kind === "dropRoute") {
      const { dst, dev, table } = change.route;
      routes = routes.filter((one) => !(one.dev === dev && one.table === table && one.dst.bits === dst.bits));
    }
  }
  return { links, addresses, routes, rules, neighbours };
}

const example: ClusterConfig = {
  overlayPodCIDR: [],
  serviceCIDR: ["10.96.0.0/12"],
  hijackCIDR: ["169.254.0.0/16"],
};

const firstPod = podSide({
  addresses: { lo: ["127.0.0.1/8"], eth0: ["10.6.0.10/16", "fe80::1/64"] },
  routes: ["default via 10.6.0.1 dev eth0", "10.6.0.0/16 dev eth0 src 10.6.0.10"],
});

describe("planCoordinator", () => {
  it("plans the first NIC of an underlay Pod", () => {
    const first = observed(firstPod, {
      lookups: [{ ip: parseIp("10.6.0.10"), src: parseIp("172.18.0.3"), dev: 4, onLink: false }],
    });
    const plan = planCoordinator(first, settings(example));
    const { hostMac = "", podMac = "" } = plan.veth ?? {};
    assert.deepEqual(formatOperations(plan), [
      "veth veth0 peer veth0123456789a mtu 1500",
      'pod: link veth0 {"addrGenModeNone":true,"up":true}',
      `pod: neighbour 172.18.0.3 at ${hostMac} dev veth0`,
      "pod: route 172.18.0.3/32 dev veth0 src 10.6.0.10 table 254",
      "pod: route 172.18.0.3/32 dev veth0 src 10.6.0.10 table 101",
      "pod: route 10.96.0.0/12 via 172.18.0.3 dev veth0 src 10.6.0.10 table 254",
      "pod: route 169.254.0.0/16 via 172.18.0.3 dev veth0 src 10.6.0.10 table 254",
      "pod: route 0.0.0.0/0 via 172.18.0.3 dev veth0 src 10.6.0.10 table 100",
      "pod: rule IPv4 from all fwmark 1 lookup 100 pref 1000",
      "pod: reply marks",
      "node: sysctl net/ipv6/conf/veth0123456789a/accept_ra=0",
      'node: link veth0123456789a {"addrGenModeNone":true,"up":true}',
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

  it("counts what is on the interface: an address of SLAAC does, link-local ones do not", () => {
    const slaac = podSide({ addresses: { eth0: ["fd06::a00:1/64"] } });
    assert.ok(formatOperations(planCoordinator(observed(slaac), settings())).some((line) => /IPv6/.test(line)));
    const none = podSide({ addresses: { eth0: ["fe80::1/64", "169.254.3.4/16"] } });
    assert.throws(() => planCoordinator(observed(none), settings()), /no usable IP addresses on "eth0"/);
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

  it("removes what the node has learnt of an address where it would have asked for it itself", () => {
    const dropped = (onLink: boolean) => {
      const lookups = [{ ip: parseIp("10.6.0.10"), src: undefined, dev: 4, onLink }];
      return formatOperations(planCoordinator(observed(firstPod, { lookups }), settings())).filter((l) =>
        /no neigh/.test(l),
      );
    };
    assert.deepEqual(dropped(true), ["node: no neighbour 10.6.0.10 dev 4"]);
    assert.deepEqual(dropped(false), []);
  });

  it("derives the MAC address from the first address, of IPv6 from its end", () => {
    const macOf = (address: string) => {
      const pod = podSide({ addresses: { eth0: [address] } });
      const plan = planCoordinator(observed(pod), settings({ podMACPrefix: "0a:1b" }));
      assert.equal(plan.announce.length, 1);
      return plan.pod.flatMap((change) => (change.kind === "link" ? (change.change.mac ?? []) : []))[0];
    };
    assert.equal(macOf("10.6.1.2/16"), "0a:1b:0a:06:01:02");
    assert.equal(macOf("fd06::1:2345:6789/64"), "0a:1b:23:45:67:89");
  });

  it("writes rp_filter where it differs or where an interface's own is greater, and no negative one", () => {
    const keys = (wanted: number, rpFilters: Readonly<Record<string, number>>) => {
      const pod = { ...firstPod, rpFilters: new Map(Object.entries(rpFilters)) };
      const plan = planCoordinator(observed(pod), settings({ podRPFilter: wanted }));
      const own = plan.pod.filter((change) => change.kind === "link" && change.change.rpFilter === wanted);
      return [
        ...plan.podSettings.map(({ key }) => key.split("/")[3]),
        ...own.map((change) => change.kind === "link" && change.name),
      ];
    };
    assert.deepEqual(keys(0, { all: 0, default: 0, eth0: 0 }), []);
    assert.deepEqual(keys(0, { all: 1, default: 2, eth0: 0 }), ["all", "veth0"]);
    assert.deepEqual(keys(2, { all: 0, default: 1, eth0: 1 }), ["all"]);
    assert.deepEqual(keys(-1, { all: 1 }), []);
    assert.deepEqual(keys(-5, { all: 1 }), []);
  });

  it("refuses a veth0 whose other end is not the Pod's on the node", () => {
    const pod = podSide({ links: [lo, eth0, veth0], addresses: { eth0: ["10.6.0.10/16"] } });
    assert.throws(() => planCoordinator(observed(pod), settings()), /no other end/);
    const ours = { ...noHost, links: [hostVeth] };
    assert.equal(planCoordinator(observed(pod, { host: ours }), settings()).veth, undefined);
  });
});

describe("planCoordinator for the NICs of an overlay Pod", () => {
  const calico = podSide({
    links: [lo, link("eth0", 3, { peerIndex: 9 }), link("net1", 4)],
    addresses: { eth0: ["10.244.1.5/32"], net1: ["10.7.0.10/16"] },
    routes: ["169.254.1.1/32 dev eth0", "default via 169.254.1.1 dev eth0", "10.7.0.0/16 dev net1 src 10.7.0.10"],
  });
  const host = { ...noHost, links: [link("cali1", 9)] };
  const overlay = observed(calico, { ifName: "net1", host });

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

  it("moves eth0's default route where net1 shall have it, and only then", () => {
    const withDefault = { ...calico, routes: [...calico.routes, route("default via 10.7.0.1 dev net1")] };
    const movedFor = (podDefaultRouteNIC: string) =>
      formatOperations(planCoordinator({ ...overlay, pod: withDefault }, settings({ podDefaultRouteNIC }))).filter(
        (line) => /no route|rule IPv4 from \d/.test(line),
      );
    assert.deepEqual(movedFor("net1"), [
      "pod: no route 0.0.0.0/0 via 169.254.1.1 dev eth0 table 254",
      "pod: rule IPv4 from 10.244.1.5/32 lookup 101",
    ]);
    for (const nic of ["eth0", "net2", ""]) {
      assert.deepEqual(movedFor(nic), [
        "pod: no route 0.0.0.0/0 via 10.7.0.1 dev net1 table 254",
        "pod: rule IPv4 from 10.7.0.10/32 lookup 101",
        "pod: rule IPv4 from 10.244.1.5/32 lookup 100",
      ]);
    }
  });

  it("moves only its own next hop of an IPv6 default route, and leaves fe80::/64 alone", () => {
    const six = podSide({
      links: calico.links,
      addresses: { eth0: ["fd44::5/128"], net1: ["fd07::10/64"] },
      routes: [
        "default via fe80::1 dev eth0",
        "default via fd07::1 dev net1",
        "fe80::/64 dev net1",
        "fd07::/64 dev net1",
      ],
    });
    const lines = formatOperations(planCoordinator({ ...overlay, pod: six }, settings()));
    assert.ok(lines.includes("pod: no route ::/0 via fd07::1 dev net1 table 254"));
    assert.ok(lines.includes("pod: route fd07::/64 dev net1 table 101"));
    assert.ok(!lines.some((line) => line.includes("fe80::/64")));
  });

  it("leaves routes alone where tunePodRoutes is off or no other NIC has a default route", () => {
    const tuned = (pod: Observed["pod"], tunePodRoutes: boolean) =>
      formatOperations(planCoordinator({ ...overlay, pod }, settings({ tunePodRoutes }))).some((line) =>
        /from \d/.test(line),
      );
    assert.equal(tuned(calico, true), true);
    assert.equal(tuned(calico, false), false);
    assert.equal(tuned({ ...calico, routes: calico.routes.filter(({ dst }) => dst.bits > 0) }, true), false);
  });
});

describe("resolveRole", () => {
  const sideOf = (...names: readonly string[]): Side => {
    const links = [lo, link("tunl0", 2, { flags: 0x1 }), ...names.map((name, at) => link(name, at + 3))];
    return { links, addresses: [], routes: [], rules: [], neighbours: [] };
  };
  const roleOf = (mode: string, ifName: string, ...names: readonly string[]) => {
    const { first, table, podLink, mode: found } = resolveRole(sideOf(...names), ifName, settings({ mode }));
    return `${found} ${first ? "first" : "later"} ${table} ${podLink}`;
  };

  it("follows the first NIC and veth0", () => {
    assert.equal(roleOf("auto", "eth0", "eth0"), "underlay first 101 veth0");
    assert.equal(roleOf("underlay", "eth0", "eth0"), "underlay first 101 veth0");
    assert.equal(roleOf("auto", "net1", "eth0", "veth0", "net1"), "underlay later 101 veth0");
    assert.equal(roleOf("underlay", "net1", "eth0", "veth0", "net1"), "underlay later 101 veth0");
    assert.equal(roleOf("auto", "net1", "eth0", "net1"), "overlay first 101 eth0");
    assert.equal(roleOf("overlay", "net1", "eth0", "net1"), "overlay first 101 eth0");
    assert.throws(() => roleOf("underlay", "net1", "eth0", "net1"), /was not created by previous interface/);
    assert.throws(() => roleOf("overlay", "eth0", "eth0"), /must not run on the first interface/);
    assert.throws(() => roleOf("overlay", "net1", "eth0", "veth0", "net1"), /works in underlay mode/);
  });

  it("numbers the tables of one to four NICs", () => {
    const nics = ["net1", "net2", "net3"];
    const tables = (mode: string, ...before: readonly string[]) =>
      nics.map((nic, at) => Number(roleOf(mode, nic, ...before, ...nics.slice(0, at + 1)).split(" ")[2]));
    assert.deepEqual(tables("underlay", "eth0", "veth0"), [101, 102, 103]);
    assert.deepEqual(tables("overlay", "eth0"), [101, 102, 103]);
    assert.equal(roleOf("auto", "net2", "eth0", "net1", "net2"), "overlay later 102 eth0");
  });

  it("keeps the table of a NIC that has a rule, when others have come", () => {
    const side: Side = {
      ...sideOf("eth0", "veth0", "net1", "net2"),
      addresses: [{ dev: "net1", address: parsePrefix("10.7.0.10/16") }],
      rules: [{ family: 4, from: parsePrefix("10.7.0.10/32"), fwmark: undefined, table: 101, pref: 999 }],
    };
    assert.equal(resolveRole(side, "net1", settings()).table, 101);
    assert.equal(resolveRole(side, "net2", settings()).table, 102);
  });
});

describe("isNodeInterface", () => {
  it("is false for the interfaces of other systems", () => {
    const others = ["docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth1a", "lo", "cali12", "flannel.1"];
    for (const name of [...others, "kube-ipvs0", "cni0", "vx-submariner", "cilium_host"]) {
      assert.equal(isNodeInterface(name), false, name);
    }
    for (const name of ["eth0", "ens3", "bond0.5", "br-ex", "long", "xdocker0"]) assert.ok(isNodeInterface(name), name);
  });
});
