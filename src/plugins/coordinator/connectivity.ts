import { type Family, hostPrefix, type Ip, ipFromValue, type Prefix, sameIp, samePrefix } from "#ip";
import { mainTable, type RouteSpec, type RuleSpec } from "#linux";
import type { Settings } from "./config.ts";
import type { Change } from "./operations.ts";
import { type Role, replyTable } from "./role.ts";
import type { Observed, Side } from "./state.ts";

/** The bit of the mark that connections from the node carry. */
export const replyMark = 0x1;
/** The preference of the rules that lead to Pods, on the node, and of those by mark, in the Pod. */
export const rulePreference = 1000;

/** What is to be, and what it follows from. */
export interface Wanted {
  readonly observed: Observed;
  readonly settings: Settings;
  readonly role: Role;
  /** Addresses of the interface. */
  readonly own: readonly Ip[];
  readonly families: readonly Family[];
  readonly ends: Ends;
  /** Addresses of the node, the gateways first. */
  readonly nodes: readonly Ip[];
  /** The table of its own to which the interface's routes go; undefined: it has none, and all stay in the main one. */
  readonly ownTable: (family: Family) => number | undefined;
  /** Whether its default route is to stay in the main table, though others' have a table of their own. */
  readonly keepsMain: (family: Family) => boolean;
  /** What the Pod sends to its node and by it bears this address, in IPv4; undefined: the kernel chooses. */
  readonly source: Ip | undefined;
}

/** The two ends by which Pod and node reach each other. */
export interface Ends {
  readonly hostName: string;
  /** undefined while there is none. */
  readonly hostIndex: number | undefined;
  readonly hostMac: string;
  readonly podMac: string;
}

/** What a side should hold; `missing` takes from it what it does. */
interface Connectivity {
  readonly neighbours: readonly { readonly dev: string; readonly ip: Ip; readonly mac: string }[];
  readonly routes: readonly (RouteSpec & { readonly dev: string; readonly table: number })[];
  readonly rules: readonly RuleSpec[];
  readonly replaceRoutes: boolean;
}

/** The Pod's ways to its node, and through it to what is hijacked. */
export function podConnectivity(wanted: Wanted): Connectivity {
  const { role, ends, families, nodes } = wanted;
  const { podLink: dev, first } = role;
  const gateways = families.flatMap((family) => gatewayOf(wanted, family) ?? []);
  // Connections come in by a link beside the Pod's own NIC only where there is a pair.
  const answered = isUnderlayFirst(role) ? gateways : [];
  const replies = answered.map((gw) => byNode(wanted, { gw, dst: everything(gw.family), table: replyTable }));
  const mark = { fwmark: replyMark, fwmask: replyMark, table: replyTable, pref: rulePreference };
  return {
    neighbours: first ? nodes.map((ip) => ({ dev, ip, mac: ends.hostMac })) : [],
    routes: [...nodeRoutes(wanted), ...hijackingRoutes(wanted, gateways), ...replies, ...policyRoutes(wanted)],
    rules: answered.map(({ family }) => ({ family, ...mark })),
    replaceRoutes: false,
  };
}

/** The NIC whose routes are the Pod's own: they stay in the main table. */
export function isUnderlayFirst({ mode, first }: Role): boolean {
  return mode === "underlay" && first;
}

type TableRoute = Connectivity["routes"][number];

/** A route by the Pod's link to its node. IPv6 finds a source by itself; older kernels refuse one of another interface. */
function byNode({ source, role }: Wanted, route: Omit<TableRoute, "dev">): TableRoute {
  const isFour = route.dst.ip.family === 4;
  return { ...route, dev: role.podLink, ...(isFour && source !== undefined ? { src: source } : {}) };
}

/** In the table of each NIC, so that what is sent by it reaches the node; the first serves the main table, too. */
function nodeRoutes(wanted: Wanted): readonly TableRoute[] {
  return wanted.nodes.flatMap((ip) =>
    tablesOf(wanted, ip.family).map((table) => byNode(wanted, { dst: hostPrefix(ip), table })),
  );
}

/** The tables that lead what the NIC sends to the node. */
function tablesOf({ role, ownTable }: Wanted, family: Family): readonly number[] {
  const own = isUnderlayFirst(role) ? role.table : ownTable(family);
  return [...(role.first ? [mainTable] : []), ...(own === undefined ? [] : [own])];
}

/** The first NIC of an overlay Pod has them in its own table, too: what it answers to a Service goes by that. */
function hijackingRoutes(wanted: Wanted, gateways: readonly Ip[]): readonly TableRoute[] {
  return wanted.settings.hijackCidrs.flatMap((dst) => {
    const gw = gateways.find(({ family }) => family === dst.ip.family);
    if (gw === undefined) return [];
    const tables = isUnderlayFirst(wanted.role) ? [mainTable] : tablesOf(wanted, gw.family);
    return tables.map((table) => byNode(wanted, { dst, gw, table }));
  });
}

/** Where what the NIC sends looks them up: in its own table if a rule leads there, else in the main one. */
function policyRoutes({ observed, settings, families, keepsMain, ownTable }: Wanted): readonly TableRoute[] {
  return settings.policyRoutes
    .filter(({ dst }) => families.includes(dst.ip.family))
    .map(({ dst, gw }) => {
      const table = keepsMain(gw.family) ? mainTable : (ownTable(gw.family) ?? mainTable);
      return { dst, gw, dev: observed.ifName, table };
    });
}

/** The node's ways to the Pod's addresses. */
export function hostConnectivity({ own, ends, families, settings: { hostRuleTable: table } }: Wanted): Connectivity {
  return {
    neighbours: own.map((ip) => ({ dev: ends.hostName, ip, mac: ends.podMac })),
    routes: own.map((ip) => ({ dst: hostPrefix(ip), dev: ends.hostName, table })),
    rules: families.map((family) => ({ family, table, pref: rulePreference })),
    replaceRoutes: true,
  };
}

/** A gateway that is in use is kept: later interfaces, and CHECK, see other routes to the Pod than the first one did. */
function gatewayOf({ observed: { pod }, role, nodes }: Wanted, family: Family): Ip | undefined {
  const inUse = pod.routes.flatMap(({ dev, gw }) => (dev === role.podLink && gw !== undefined ? [gw] : []));
  const ofFamily = nodes.filter((ip) => ip.family === family);
  return ofFamily.find((ip) => inUse.some((gw) => sameIp(gw, ip))) ?? ofFamily[0];
}

/** What a side lacks of what it should hold. */
export function missing(side: Side, { neighbours, routes, rules, replaceRoutes }: Connectivity): readonly Change[] {
  const isNew = (route: (typeof routes)[number], at: number) =>
    !side.routes.some((one) => sameRoute(one, route)) &&
    routes.findIndex((one) => one.table === route.table && samePrefix(one.dst, route.dst)) === at;
  return [
    ...neighbours
      .filter(({ dev, ip, mac }) => !side.neighbours.some((n) => n.dev === dev && n.mac === mac && sameIp(n.ip, ip)))
      .map((neighbour): Change => ({ kind: "neighbour", ...neighbour })),
    ...routes.filter(isNew).map((route): Change => ({ kind: "route", route, replace: replaceRoutes })),
    ...rules
      .filter((rule) => !side.rules.some((one) => sameRule(one, rule)))
      .map((rule): Change => ({ kind: "rule", rule })),
  ];
}

function sameRoute(have: Side["routes"][number], want: Connectivity["routes"][number]): boolean {
  return (
    have.dev === want.dev &&
    have.table === want.table &&
    samePrefix(have.dst, want.dst) &&
    sameOptional(have.gw, want.gw) &&
    (want.src === undefined || sameOptional(have.src, want.src))
  );
}

function sameOptional(a: Ip | undefined, b: Ip | undefined): boolean {
  return a === undefined || b === undefined ? a === b : sameIp(a, b);
}

function sameRule(have: Side["rules"][number], want: RuleSpec): boolean {
  return (
    have.family === want.family &&
    have.table === want.table &&
    have.pref === want.pref &&
    have.fwmark === want.fwmark &&
    have.from === undefined
  );
}

function everything(family: Family): Prefix {
  return { ip: ipFromValue(family, 0n), bits: 0 };
}
