import { formatIp, formatPrefix, hostPrefix, type Prefix, parseIp, parsePrefix, samePrefix } from "#ip";
import { mainTable, type Netns, openNetns, type Route, type Rule } from "#linux";
import type { Ovs, OvsPort } from "#ovsdb";
import type { PodFacts, PodNic } from "./node/facts.ts";

/** One station of a packet on its way out of a Pod. */
interface Hop {
  readonly name: string;
  /** Whether packets pass it; undefined if that is unknown. */
  readonly ok: boolean | undefined;
  /** What was found there. */
  readonly detail: string;
  /** True for what is not on the way out: the node's own way to the Pod. */
  readonly aside?: true;
}

/** A NIC and the way of its packets, as they are on the node now. */
export interface NicPath {
  readonly ifName: string;
  readonly network: string;
  readonly addresses: readonly {
    readonly address: string;
    readonly pool: string;
    readonly gateway: string | undefined;
  }[];
  /** From the Pod's interface to the gateway. */
  readonly hops: readonly Hop[];
  /** The routes and rules inside the Pod, in the format of `ip route` and `ip rule`. */
  readonly routes: readonly string[];
  readonly rules: readonly string[];
}

interface PathSources {
  readonly host: Netns;
  readonly ovs: Pick<Ovs, "ports" | "state">;
  /** Whether a gateway answered a Pod of the node; undefined if it was not asked. */
  readonly answered: (gateway: string) => boolean | undefined;
  /** The MAC address of another host that answers for an address of the Pod; undefined if none does. */
  readonly rival: (ip: string) => string | undefined;
}

const localTable = 255;
const mainTables = { 253: "default", [mainTable]: "main", [localTable]: "local" } as const;
const families = [4, 6] as const;
/** The kernel has a route to it by each interface with IPv6. */
const multicast = parsePrefix("ff00::/8");

/** Looks at every NIC of a Pod. Returns none if the Pod has ended meanwhile. */
export function observePaths(facts: PodFacts, sources: PathSources): readonly NicPath[] {
  let netns: Netns;
  try {
    netns = openNetns(facts.netnsPath);
  } catch {
    return [];
  }
  using pod = netns;
  return facts.nics.map((nic) => ({
    ifName: nic.ifName,
    network: nic.network,
    addresses: nic.addresses.map(({ address, pool, gateway }) => ({ address: formatPrefix(address), pool, gateway })),
    hops: hopsOf(nic, pod, sources),
    ...routingOf(nic, facts, pod),
  }));
}

function hopsOf(nic: PodNic, pod: Netns, sources: PathSources): readonly Hop[] {
  const { host } = sources;
  const onNode = [
    linkHop(pod, nic.ifName, "Pod"),
    ...nic.addresses.map(({ address }) => addressHop(pod, nic.ifName, address, sources)),
    ...nodeHops(nic, host),
    ...(nic.bridge === undefined
      ? outsideHops(pod, nic.ifName, host)
      : switchHops(nic, nic.bridge, sources, pod.rtnl.link(nic.ifName)?.mtuBytes ?? 0)),
  ];
  return [...onNode, ...gatewayHops(nic, pod, onNode, sources)];
}

function gatewayHops(nic: PodNic, pod: Netns, onNode: readonly Hop[], { answered, ovs }: PathSources): readonly Hop[] {
  const link = pod.rtnl.link(nic.ifName)?.index;
  const [own] = nic.hostLinks.flatMap((name) => ovs.ports().get(name) ?? []);
  const passed = own?.vlan.mode === "access" ? ` pass VLAN ${own.vlan.tag}` : " pass this network's packets";
  const isInOrder = onNode.every(({ ok, aside }) => ok !== false || aside === true);
  const beyond = isInOrder ? `: the fault is beyond this node (does the switch${passed}, is the address right?)` : "";
  return [...new Set(nic.addresses.flatMap(({ gateway }) => gateway ?? []))].map((gateway) => {
    // The kernel removes routes with the address, or while the interface is down: then that is the fault, and told above.
    if (isInOrder && !hasRouteBy(gateway, pod, link)) {
      return { name: `gateway ${gateway}`, ok: false, detail: `the Pod has no route by it on ${nic.ifName}` };
    }
    const ok = answered(gateway);
    const detail = ok === undefined ? "not asked" : ok ? "answers" : `silent${beyond}`;
    return { name: `gateway ${gateway}`, ok, detail };
  });
}

function hasRouteBy(gateway: string, pod: Netns, link: number | undefined): boolean {
  const ways = pod.rtnl.routes({ family: parseIp(gateway).family, table: 0 });
  return ways.some(({ gw, dev }) => gw !== undefined && formatIp(gw) === gateway && dev === link);
}

function addressHop(pod: Netns, ifName: string, address: Prefix, { rival }: PathSources): Hop {
  const name = formatPrefix(address);
  const found = pod.rtnl.link(ifName) && pod.rtnl.addresses({ link: ifName });
  if (found?.some((one) => formatPrefix(one.address) === name) !== true) {
    return { name, ok: false, detail: `not on ${ifName}` };
  }
  const other = rival(formatIp(address.ip));
  if (other === undefined) return { name, ok: true, detail: `on ${ifName}` };
  return { name, ok: false, detail: `on ${ifName}, and another host answers for it, too: ${other}` };
}

/** The routes on the node that the coordinator made: probes, Services and the node itself reach the Pod by them. */
function nodeHops({ addresses, hostRuleTable: table }: PodNic, host: Netns): readonly Hop[] {
  if (table === undefined) return [];
  const ways = addresses.map(({ address: { ip } }) => {
    const routes = host.rtnl.routes({ family: ip.family, table });
    const { dev } = routes.find(({ dst }) => samePrefix(dst, hostPrefix(ip))) ?? {};
    const link = dev === undefined ? undefined : host.rtnl.link(dev);
    const ok = link !== undefined;
    return { ok, found: ok ? `by ${link.name}, table ${table}` : `table ${table} has no route to ${formatIp(ip)}` };
  });
  const detail = [...new Set(ways.map(({ found }) => found))].join("; ");
  return ways.length === 0 ? [] : [{ name: "its node", ok: ways.every(({ ok }) => ok), detail, aside: true }];
}

/** The other end of the Pod's veth pair, or the parent of its interface; then the bridge that this is a port of. */
function outsideHops(pod: Netns, ifName: string, host: Netns): readonly Hop[] {
  const { kind, peerIndex, peerNetnsId } = pod.rtnl.link(ifName) ?? {};
  const outside = peerIndex === undefined || peerNetnsId === undefined ? undefined : host.rtnl.link(peerIndex);
  if (outside === undefined) return [];
  const bridge = outside.master === undefined ? undefined : host.rtnl.link(outside.master);
  return [
    linkHop(host, outside.name, kind === "veth" ? "node" : "parent"),
    ...(bridge === undefined ? [] : [linkHop(host, bridge.name, bridge.kind ?? "bridge")]),
  ];
}

/** The hop at one interface. `what` says whose interface it is or what it is for. */
function linkHop(netns: Netns, link: string, what: string): Hop {
  const name = `${what} ${link}`;
  const found = netns.rtnl.link(link);
  if (found === undefined) return { name, ok: false, detail: "there is no such interface" };
  const { up, carrier, mtuBytes, mac } = found;
  // A veth has no carrier while its other end is down. That is reported for the other end.
  const isCut = up && !carrier && (what === "uplink" || what === "parent");
  const state = isCut ? "up, no carrier" : up ? "up" : "down";
  const detail = [state, `MTU ${mtuBytes}`, ...(mac === undefined ? [] : [mac])].join(", ");
  return { name, ok: up && !isCut, detail };
}

/** The hops on the node's side: the veth, its port of the bridge, and the bridge's uplinks. */
function switchHops(
  { hostLinks }: PodNic,
  bridge: string,
  { host, ovs }: PathSources,
  podMtuBytes: number,
): readonly Hop[] {
  if (ovs.state.kind === "disconnected")
    return [{ name: bridge, ok: false, detail: `Open vSwitch: ${ovs.state.error}` }];
  const ports = [...ovs.ports().values()]
    .filter((port) => port.bridge === bridge)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const own = ports.find(({ name }) => hostLinks.includes(name));
  const uplinks = ports.filter(
    ({ owner, name, interfaceType }) => owner === undefined && name !== bridge && interfaceType !== "internal",
  );
  return [
    ...hostLinks.filter((name) => ovs.ports().has(name)).map((name) => linkHop(host, name, "node")),
    { name: `port of ${bridge}`, ...portState(own) },
    ...(uplinks.length === 0 ? [{ name: "uplink", ok: false, detail: `${bridge} has none` }] : []),
    ...uplinks.map((uplink) => uplinkHop(host, uplink, { own, podMtuBytes })),
  ];
}

function portState(port: OvsPort | undefined): Pick<Hop, "ok" | "detail"> {
  if (port === undefined) return { ok: false, detail: "there is none" };
  const { name, vlan, ofport = 0, error } = port;
  if (ofport <= 0) return { ok: false, detail: error ?? "not forwarding" };
  const tags = vlan.mode === "access" ? `VLAN ${vlan.tag}` : `trunk ${vlan.ids.join(",") || "of all VLANs"}`;
  return { ok: true, detail: `${name}, ${tags}, port ${ofport}` };
}

/** The hop at an uplink. Even if it is up, it may not pass the Pod's VLAN or its longest packets. */
function uplinkHop(
  host: Netns,
  { name, vlan }: OvsPort,
  { own, podMtuBytes }: { readonly own: OvsPort | undefined; readonly podMtuBytes: number },
): Hop {
  const { ok, detail, ...hop } = linkHop(host, name, "uplink");
  const isSmall = (host.rtnl.link(name)?.mtuBytes ?? podMtuBytes) < podMtuBytes;
  const blocked = own === undefined ? [] : vlansBlocked(own.vlan, vlan);
  const faults = [
    ...(isSmall ? [`the Pod's MTU is ${podMtuBytes}: greater packets vanish`] : []),
    ...(blocked.length === 0 ? [] : [`does not pass VLAN ${blocked.join(", ")}`]),
  ];
  return { ...hop, ok: ok === true && faults.length === 0, detail: [detail, ...faults].join("; ") };
}

/** The Pod's VLANs, if the uplink passes none of them; otherwise none. A trunk of all VLANs sends at least untagged frames. */
function vlansBlocked(own: OvsPort["vlan"], uplink: OvsPort["vlan"]): readonly number[] {
  if (uplink.mode === "trunk" && uplink.ids.length === 0) return [];
  const passed = uplink.mode === "access" ? [uplink.tag] : uplink.ids;
  const sent = own.mode === "access" ? [own.tag] : own.ids.length > 0 ? own.ids : [0];
  return sent.some((id) => passed.includes(id)) ? [] : sent;
}

/**
 * The routes by the NIC, the rules that concern it, and all routes of the tables to which they lead. What goes by no NIC (to
 * the node, to Services) is shown with the Pod's first one.
 */
function routingOf(nic: PodNic, { nics }: PodFacts, pod: Netns): Pick<NicPath, "routes" | "rules"> {
  const isFirst = nic.ifName === nics[0]?.ifName;
  const isOther = (name: string) => name !== nic.ifName && nics.some(({ ifName }) => ifName === name);
  const isOwnSource = (from: Prefix) => nic.addresses.some(({ address: { ip } }) => samePrefix(from, hostPrefix(ip)));
  const rules = families
    .flatMap((family) => pod.rtnl.rules(family))
    .filter(({ table, from }) => !(table in mainTables) && (from === undefined ? isFirst : isOwnSource(from)));
  const ledTo = new Set(rules.map(({ table }) => table));
  const isShown = ({ dev, table, dst }: NamedRoute) => {
    if (table === localTable || dev === "lo" || samePrefix(dst, multicast)) return false;
    return dev === nic.ifName || ledTo.has(table) || (isFirst && table === mainTable && !isOther(dev));
  };
  return { routes: routesOf(pod).filter(isShown).map(formatRoute), rules: rules.map(formatRule) };
}

/** A route with the name of its interface. */
type NamedRoute = Pick<Route, "dst" | "gw" | "table"> & { readonly dev: string };

function routesOf(pod: Netns): readonly NamedRoute[] {
  const names = new Map(pod.rtnl.links().map(({ index, name }) => [index, name]));
  const routes = families.flatMap((family) => pod.rtnl.routes({ family, table: 0 }));
  return routes.map(({ dst, gw, table, dev = 0 }) => ({ dst, gw, table, dev: names.get(dev) ?? "lo" }));
}

function formatRoute({ dst, gw, dev, table }: NamedRoute): string {
  const to = dst.bits === 0 ? "default" : formatPrefix(dst);
  return [to, gw && `via ${formatIp(gw)}`, `dev ${dev}`, `table ${tableName(table)}`].filter(Boolean).join(" ");
}

function formatRule({ pref, from, to, fwmark, table }: Rule): string {
  return [
    `${pref}:`,
    `from ${from ? formatPrefix(from) : "all"}`,
    to && `to ${formatPrefix(to)}`,
    fwmark === undefined ? "" : `fwmark ${fwmark}`,
    `lookup ${tableName(table)}`,
  ]
    .filter(Boolean)
    .join(" ");
}

function tableName(table: number): string {
  return table in mainTables ? mainTables[table as keyof typeof mainTables] : String(table);
}
