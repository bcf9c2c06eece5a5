import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp, parsePrefix } from "#ip";
import { isNodeInterface } from "../node-interfaces.ts";
import { formatOperations, type Operations } from "./operations.ts";
import { planCoordinator } from "./plan.ts";
import { resolveRole } from "./role.ts";
import type { Observed, Side } from "./state.ts";
import { after, calico, firstPod, link, lo, observed, overlay, podSide, route, settings } from "./testing/observed.ts";

const lines = (at: Observed, cluster = settings()) => formatOperations(planCoordinator(at, cluster));
/** How a link of the Pod is changed. */
const changesOf = ({ pod }: Operations, name: string) =>
  pod.flatMap((change) => (change.kind === "link" && change.name === name ? [change.change] : []));

// What a coordinator has to get right, item by item. What only a kernel can show: plugin.test.ts and example.test.ts.
describe("the coordinator's checklist: modes, first NICs and tables", () => {
  const sideOf = (...names: readonly string[]): Side => {
    const links = [lo, link("tunl0", 2, { flags: 0x1 }), ...names.map((name, at) => link(name, at + 3))];
    return { links, addresses: [], routes: [], rules: [], neighbours: [] };
  };
  const roleOf = (mode: string, ifName: string, ...names: readonly string[]) => {
    const { first, table, podLink, mode: found } = resolveRole(sideOf(...names), ifName, settings({ mode }));
    return `${found} ${first ? "first" : "later"} ${table} ${podLink}`;
  };

  it("resolves each mode for the first NIC and another, with and without veth0", () => {
    const [notYet, early, late] = [
      "was not created by previous interface",
      "must not run on the first",
      "works in underlay mode",
    ];
    const first = "underlay first 101 veth0";
    const later = "underlay later 101 veth0";
    const beside = "overlay first 101 eth0";
    for (const [mode, alone, withVeth, other, otherWithVeth] of [
      ["auto", first, first, beside, later],
      ["underlay", first, first, notYet, later],
      ["overlay", early, early, beside, late],
    ] as const) {
      for (const [nic, expected, ...names] of [
        ["eth0", alone, "eth0"],
        ["eth0", withVeth, "eth0", "veth0"],
        ["net1", other, "eth0", "net1"],
        ["net1", otherWithVeth, "eth0", "veth0", "net1"],
      ] as const) {
        const found = () => roleOf(mode, nic, ...names);
        if (/^(under|over)lay /.test(expected)) assert.equal(found(), expected, `${mode}, ${nic}`);
        else assert.throws(found, new RegExp(expected), `${mode}, ${nic}`);
      }
    }
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

  it("takes a NIC behind one without a coordinator for a later one: no neighbours, and no way back by table 100", () => {
    const net2 = link("net2", 5);
    const pod = {
      ...calico,
      links: [...calico.links, net2],
      addresses: [...calico.addresses, { dev: "net2", address: parsePrefix("10.8.0.10/16") }],
      routes: [...calico.routes, route("default via 10.8.0.1 dev net2")],
    };
    const found = lines({ ...overlay, ifName: "net2", pod }, settings({ serviceCIDR: ["10.96.0.0/12"] }));
    assert.ok(found.includes("pod: route 10.96.0.0/12 via 172.18.0.3 dev eth0 src 10.244.1.5 table 102"));
    assert.ok(found.includes("pod: rule IPv4 from 10.8.0.10/32 lookup 102"));
    assert.ok(
      !found.some((line) => /pod: neighbour|table 100|lookup 100|10\.96\.0\.0.*table 254/.test(line)),
      found.join("\n"),
    );
  });
});

describe("the coordinator's checklist: addresses of Pod and node", () => {
  it("counts what is on the interface: an address of SLAAC does, link-local ones do not", () => {
    const slaac = podSide({ addresses: { eth0: ["fd06::a00:1/64"] } });
    assert.ok(formatOperations(planCoordinator(observed(slaac), settings())).some((line) => /IPv6/.test(line)));
    const none = podSide({ addresses: { eth0: ["fe80::1/64", "169.254.3.4/16"] } });
    assert.throws(() => planCoordinator(observed(none), settings()), /no usable IP addresses on "eth0"/);
  });

  it("does not count interfaces of other systems as the node's", () => {
    const others = ["docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth1a", "lo", "cali12", "flannel.1"];
    for (const name of [...others, "kube-ipvs0", "cni0", "vx-submariner", "cilium_host"]) {
      assert.equal(isNodeInterface(name), false, name);
    }
    for (const name of ["eth0", "ens3", "bond0.5", "br-ex", "long", "xdocker0"]) assert.ok(isNodeInterface(name), name);
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
});

describe("the coordinator's checklist: the default route of a Pod with several NICs", () => {
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

  it("keeps the default route where the wanted NIC has none: otherwise no NIC would have one", () => {
    const kept = (podDefaultRouteNIC: string, at: Observed) =>
      formatOperations(planCoordinator(at, settings({ podDefaultRouteNIC }))).filter((line) =>
        /no route|rule IPv4 from \d/.test(line),
      );
    assert.deepEqual(kept("net1", overlay), [
      "pod: rule IPv4 from 10.7.0.10/32 lookup 101",
      "pod: rule IPv4 from 10.244.1.5/32 lookup 100",
    ]);
    const pod = {
      ...calico,
      links: [...calico.links, link("net2", 5)],
      addresses: [...calico.addresses, { dev: "net2", address: parsePrefix("10.8.0.10/16") }],
      routes: [...calico.routes, route("default via 10.8.0.1 dev net2")],
    };
    // What net2 sends leaves by net2, whichever NIC is wanted.
    assert.deepEqual(kept("net1", { ...overlay, ifName: "net2", pod }), [
      "pod: no route 0.0.0.0/0 via 10.8.0.1 dev net2 table 254",
      "pod: rule IPv4 from 10.8.0.10/32 lookup 102",
    ]);
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

  it("leaves routes alone where tunePodRoutes is off", () => {
    const tuned = (tunePodRoutes: boolean) => lines(overlay, settings({ tunePodRoutes }));
    const isOfTable = (line: string) => /from \d|table 101/.test(line);
    assert.equal(tuned(true).some(isOfTable), true);
    assert.equal(tuned(false).some(isOfTable), false);
  });

  it("keeps a NIC's default route in the main table where no other NIC has one, beside the NIC's own table", () => {
    const routes = [...calico.routes.filter(({ dst }) => dst.bits > 0), route("default via 10.7.0.1 dev net1")];
    const found = lines({ ...overlay, pod: { ...calico, routes } }).filter((line) => line.includes("0.0.0.0/0"));
    assert.deepEqual(found, ["pod: route 0.0.0.0/0 via 10.7.0.1 dev net1 table 101"]);
  });
});

describe("the coordinator's checklist: what is set in the Pod", () => {
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

  it("sets the queue's length on the Pod's NIC where it is given and differs, and nothing of the node's", () => {
    const planned = (txQueueLen: number) => planCoordinator(observed(firstPod), settings({ txQueueLen }));
    assert.deepEqual(changesOf(planned(500), "eth0"), [{ txQueueLen: 500 }]);
    for (const same of [0, 1000]) assert.deepEqual(changesOf(planned(same), "eth0"), []);
    assert.ok(!planned(500).host.some((change) => change.kind === "link" && change.change.txQueueLen !== undefined));
  });

  it("adds policy routes to the main table for the first NIC, else to its own, and skips a family that the NIC lacks", () => {
    const policyRoutes = [
      { dst: "192.168.7.9", gw: "10.7.0.2" },
      { dst: "fd77::/64", gw: "fd07::2" },
    ];
    const policy = (at: Observed) => lines(at, settings({ policyRoutes })).filter((line) => /192\.168|fd77/.test(line));
    assert.deepEqual(policy(observed(firstPod)), ["pod: route 192.168.7.9/32 via 10.7.0.2 dev eth0 table 254"]);
    assert.deepEqual(policy(overlay), ["pod: route 192.168.7.9/32 via 10.7.0.2 dev net1 table 101"]);
  });

  it("leaves a NIC's own route to a destination that the configuration names, too, and finds nothing missing", () => {
    for (const [field, dst] of [
      ["hijackCIDR", "0.0.0.0/0"],
      ["hijackCIDR", "10.7.0.0/16"],
      ["policyRoutes", "0.0.0.0/0"],
      ["policyRoutes", "10.7.0.0/16"],
    ] as const) {
      for (const before of [observed(firstPod), overlay]) {
        const value = field === "hijackCIDR" ? [dst] : [{ dst, gw: "10.7.0.2" }];
        const cluster = settings({ [field]: value });
        const done = after(before, planCoordinator(before, cluster));
        assert.deepEqual(formatOperations(planCoordinator(done, cluster)), [], `${field} ${dst}`);
      }
    }
  });

  it("adds policy routes to the main table where tunePodRoutes is off: no rule leads to another", () => {
    const cluster = settings({ tunePodRoutes: false, policyRoutes: [{ dst: "192.168.7.0/24", gw: "10.7.0.2" }] });
    const plan = planCoordinator(overlay, cluster);
    assert.ok(formatOperations(plan).includes("pod: route 192.168.7.0/24 via 10.7.0.2 dev net1 table 254"));
    const done = after(overlay, plan);
    const pod = { ...done.pod, links: [...done.pod.links, link("net2", 5)] };
    assert.deepEqual(formatOperations(planCoordinator({ ...done, pod }, cluster)), []);
  });

  it("adds policy routes to the main table for the NIC that keeps its default route there: no rule leads it elsewhere", () => {
    const cluster = settings({
      policyRoutes: [{ dst: "192.168.7.0/24", gw: "10.7.0.2" }],
      podDefaultRouteNIC: "net1",
    });
    const pod = { ...calico, routes: [...calico.routes, route("default via 10.7.0.1 dev net1")] };
    const before = { ...overlay, pod };
    const plan = planCoordinator(before, cluster);
    assert.ok(formatOperations(plan).includes("pod: route 192.168.7.0/24 via 10.7.0.2 dev net1 table 254"));
    assert.deepEqual(formatOperations(planCoordinator(after(before, plan), cluster)), []);
  });

  it("leaves an ipvlan interface the MAC address of its parent, which it cannot change", () => {
    const pod = podSide({ links: [lo, link("eth0", 2, { kind: "ipvlan" })], addresses: { eth0: ["10.6.1.2/16"] } });
    const plan = planCoordinator(observed(pod), settings({ podMACPrefix: "0a:1b" }));
    assert.deepEqual(changesOf(plan, "eth0"), []);
    assert.deepEqual(plan.announce, []);
  });

  it("refuses a pair whose MTU is too small for IPv6, where the Pod has any", () => {
    const small = settings({ vethMTU: 1279 });
    assert.throws(() => planCoordinator(observed(podSide({ addresses: { eth0: ["fd06::10/64"] } })), small), {
      details: { field: "vethMTU", value: 1279, allowed: "at least 1280 where Pods have IPv6 addresses" },
    });
    assert.ok(planCoordinator(observed(podSide({ addresses: { eth0: ["10.6.0.10/16"] } })), small).pod.length > 0);
  });

  it("gives veth0 the address that is configured, unless the Pod has IPv6 alone", () => {
    const address = (pod: Observed["pod"]) =>
      lines(observed(pod), settings({ vethLinkAddress: "169.254.200.1" })).filter((line) => /pod: address/.test(line));
    assert.deepEqual(address(firstPod), ["pod: address 169.254.200.1/32 dev veth0"]);
    assert.deepEqual(address(podSide({ addresses: { eth0: ["fd06::10/64"] } })), []);
  });

  it("turns IPv6 on where an address of it came to a Pod that has it off", () => {
    const off = { ...podSide({ addresses: { eth0: ["fd06::10/64"] } }), ipv6Off: true };
    const keys = (pod: Observed["pod"]) => planCoordinator(observed(pod), settings()).podSettings.map(({ key }) => key);
    assert.deepEqual(keys(off), ["net/ipv6/conf/all/disable_ipv6"]);
    assert.deepEqual(keys({ ...firstPod, ipv6Off: true }), []);
  });
});
