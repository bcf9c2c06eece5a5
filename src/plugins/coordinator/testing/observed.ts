import { type Ip, parseIp, parsePrefix, samePrefix } from "#ip";
import { type ClusterConfig, decodeCoordinatorConfig, settingsOf } from "../config.ts";
import type { Operations } from "../operations.ts";
import type { LinkState, NeighbourState, Observed, RouteState, Side } from "../state.ts";

// What a test of the plan says of a Pod and its node, and what a kernel would make of a plan.

const usualFlags = 0x1 | 0x2 | 0x1000;
const containerId = "0123456789abcdef";

export function settings(cluster: ClusterConfig = {}) {
  const raw = {};
  return settingsOf(decodeCoordinatorConfig({ cniVersion: "1.0.0", name: "n", type: "coordinator", raw }), cluster);
}

export function link(name: string, index: number, more: Partial<LinkState> = {}): LinkState {
  const mac = `02:00:00:00:00:0${index}`;
  return { index, name, mac, up: true, flags: usualFlags, txQueueLen: 1000, peerIndex: undefined, ...more };
}

export const lo = link("lo", 1, { mac: undefined, flags: 0x1 | 0x8 });
export const eth0 = link("eth0", 2);
export const veth0 = link("veth0", 3, { peerIndex: 9 });
export const hostVeth = link("veth0123456789a", 9);

/** `10.6.0.0/16 via 10.6.0.1 dev eth0 src 10.6.0.10 table 101`, as the ip command has it; `default` needs a gateway. */
export function route(text: string): RouteState {
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

export function podSide({
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

export const noHost: Observed["host"] = {
  links: [],
  addresses: [],
  routes: [],
  rules: [],
  neighbours: [],
  ipv6Off: true,
};
export const ips = (...texts: readonly string[]) => texts.map((text) => parseIp(text));

export function observed(pod: Observed["pod"], more: Partial<Observed> = {}): Observed {
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
export function after(before: Observed, operations: Operations): Observed {
  const { veth } = operations;
  const withVeth = veth !== undefined;
  const inside = link("veth0", 30, { mac: veth?.pod.mac, peerIndex: 31 });
  const outside = link(veth?.name ?? "", 31, { mac: veth?.mac });
  const pod = changed({ ...before.pod, links: [...before.pod.links, ...(withVeth ? [inside] : [])] }, operations.pod);
  const links = withVeth ? [outside] : before.host.links;
  const ipv6Off = before.host.ipv6Off && operations.hostSettings.length === 0;
  const host = { ...changed({ ...before.host, links }, operations.host), ipv6Off };
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
      // The kernel takes one route to a destination, and a plan that tolerates this gets no second one.
      const others = routes.filter((one) => one.table !== table || !samePrefix(one.dst, dst));
      if (change.replace !== true && others.length < routes.length) continue;
      routes = [...others, { dst, dev: `${dev}`, gw, src, table }];
    } else if (change.kind === "rule") {
      const {
        family,
        from,
        fwmark,
        table,
        pref = Math.min(32_766, ...rules.map((rule) => rule.pref)) - 1,
      } = change.rule;
      rules = [...rules, { family, from, fwmark, table, pref }].sort((a, b) => a.pref - b.pref);
    } else if (change.kind === "dropRoute") {
      const { dst, dev, table } = change.route;
      routes = routes.filter((one) => !(one.dev === dev && one.table === table && one.dst.bits === dst.bits));
    }
  }
  return { links, addresses, routes, rules, neighbours };
}

export const example: ClusterConfig = {
  overlayPodCIDR: [],
  serviceCIDR: ["10.96.0.0/12"],
  hijackCIDR: ["169.254.0.0/16"],
};

export const firstPod = podSide({
  addresses: { lo: ["127.0.0.1/8"], eth0: ["10.6.0.10/16", "fe80::1/64"] },
  routes: ["default via 10.6.0.1 dev eth0", "10.6.0.0/16 dev eth0 src 10.6.0.10"],
});

/** A Pod of an overlay network with a second NIC, whose call it is. */
export const calico = podSide({
  links: [lo, link("eth0", 3, { peerIndex: 9 }), link("net1", 4)],
  addresses: { eth0: ["10.244.1.5/32"], net1: ["10.7.0.10/16"] },
  routes: ["169.254.1.1/32 dev eth0", "default via 169.254.1.1 dev eth0", "10.7.0.0/16 dev net1 src 10.7.0.10"],
});
export const overlay = observed(calico, { ifName: "net1", host: { ...noHost, links: [link("cali1", 9)] } });
