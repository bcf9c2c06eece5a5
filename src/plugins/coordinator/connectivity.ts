import { type Family, hostPrefix, type Ip, ipFromValue, type Prefix, sameIp, samePrefix } from "#ip";
import { mainTable, type RouteSpec, type RuleSpec } from "#linux";
import type { Settings } from "./config.ts";
import type { Change } from "./operations.ts";
import { type Role, replyTable, vethName } from "./role.ts";
import type { Observed, Side } from "./state.ts";

/** The bit that marks connections from the node to the Pod. */
export const replyMark = 0x1;
/** The preference of the node's rules that lead to Pods, and of the Pod's rules by mark. */
export const rulePreference = 1000;

/** The state that an interface shall have, and what it follows from. */
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
  /** The interface's own routing table; undefined: it has none, and its routes stay in the main table. */
  readonly ownTable: (family: Family) => number | undefined;
  /** Whether the interface keeps its default route in the main table, while other interfaces have tables of their own. */
  readonly keepsMain: (family: Family) => boolean;
  /** The IPv4 source address of packets to the node and through it; undefined: the kernel chooses. */
  readonly source: Ip | undefined;
}

/** The two ends by which Pod and node reach each other. */
export interface Ends {
  readonly hostName: string;
  /** Undefined before the pair exists. */
  readonly hostIndex: number | undefined;
  readonly hostMac: string;
  readonly podMac: string;
}

/** What a namespace must have; {@link missing} subtracts what it has already. */
interface Connectivity {
  readonly neighbours: readonly { readonly dev: string; readonly ip: Ip; readonly mac: string }[];
  readonly routes: readonly (RouteSpec & { readonly dev: string; readonly table: number })[];
  readonly rules: readonly RuleSpec[];
  readonly replaceRoutes: boolean;
}

/** The Pod's neighbours, routes and rules to its node, and through the node to the hijacked destinations. */
export function podConnectivity(wanted: Wanted): Connectivity {
  const { role, ends, families, nodes } = wanted;
  const { podLink: dev, first } = role;
  const gateways = families.flatMap((family) => gatewayOf(wanted, family) ?? []);
  // Only a Pod with a pair gets connections by another link than its own NIC.
  const answered = isUnderlayFirst(role) ? gateways : [];
  const replies = answered.map((gw) => byNode(wanted, { gw, dst: everything(gw.family), table: replyTable }));
  const routes = [...nodeRoutes(wanted), ...hijackingRoutes(wanted, gateways), ...replies, ...policyRoutes(wanted)];
  const mark = { fwmark: replyMark, fwmask: replyMark, table: replyTable, pref: rulePreference };
  return {
    neighbours: first ? nodes.map((ip) => ({ dev, ip, mac: ends.hostMac })) : [],
    routes: routes.filter((route) => !isTaken(wanted, route)),
    rules: answered.map(({ family }) => ({ family, ...mark })),
    replaceRoutes: false,
  };
}

/** Whether this is an underlay Pod's first NIC. Its routes stay in the main table. */
export function isUnderlayFirst({ mode, first }: Role): boolean {
  return mode === "underlay" && first;
}

type TableRoute = Connectivity["routes"][number];

/**
 * Whether a NIC of the Pod has a route to the destination: its default route, or its own network, where the configuration names just
 * that. The kernel takes no second one beside it, so that it could never be there. What a NIC has in the main table gets into its own.
 */
function isTaken({ observed: { pod, ifName }, ownTable }: Wanted, { table, dst }: TableRoute): boolean {
  const isCopied = table === ownTable(dst.ip.family);
  return pod.routes.some(
    (one) =>
      samePrefix(one.dst, dst) &&
      one.dev !== vethName &&
      (one.table === table || (isCopied && one.table === mainTable && one.dev === ifName)),
  );
}

/** A route by the Pod's link to its node. No source for IPv6: the kernel finds one, and older ones refuse another interface's. */
function byNode({ source, role }: Wanted, route: Omit<TableRoute, "dev">): TableRoute {
  const isFour = route.dst.ip.family === 4;
  return { ...route, dev: role.podLink, ...(isFour && source !== undefined && { src: source }) };
}

/** The routes to the node. Each NIC has them in its table; the first one also adds them to the main table. */
function nodeRoutes(wanted: Wanted): readonly TableRoute[] {
  return wanted.nodes.flatMap((ip) =>
    tablesOf(wanted, ip.family).map((table) => byNode(wanted, { dst: hostPrefix(ip), table })),
  );
}

/** The tables in which packets of the NIC look for a route to the node. */
function tablesOf({ role, ownTable }: Wanted, family: Family): readonly number[] {
  const own = isUnderlayFirst(role) ? role.table : ownTable(family);
  if (own === undefined) return role.first ? [mainTable] : [];
  return role.first ? [mainTable, own] : [own];
}

/** The routes to hijacked destinations. An overlay Pod's first NIC has them in its own table, too, for its answers to Services. */
function hijackingRoutes(wanted: Wanted, gateways: readonly Ip[]): readonly TableRoute[] {
  return wanted.settings.hijackCidrs.flatMap((dst) => {
    const gw = gateways.find(({ family }) => family === dst.ip.family);
    if (gw === undefined) return [];
    const tables = isUnderlayFirst(wanted.role) ? [mainTable] : tablesOf(wanted, gw.family);
    return tables.map((table) => byNode(wanted, { dst, gw, table }));
  });
}

/** The configured routes by this NIC, in the table that its packets use: its own if a rule leads there, else the main one. */
function policyRoutes({ observed, settings, families, keepsMain, ownTable }: Wanted): readonly TableRoute[] {
  return settings.policyRoutes
    .filter(({ dst }) => families.includes(dst.ip.family))
    .map(({ dst, gw }) => {
      const table = keepsMain(gw.family) ? mainTable : (ownTable(gw.family) ?? mainTable);
      return { dst, gw, dev: observed.ifName, table };
    });
}

/** The node's neighbours, routes and rules to the Pod's addresses. */
export function hostConnectivity({ own, ends, families, settings: { hostRuleTable: table } }: Wanted): Connectivity {
  return {
    neighbours: own.map((ip) => ({ dev: ends.hostName, ip, mac: ends.podMac })),
    routes: own.map((ip) => ({ dst: hostPrefix(ip), dev: ends.hostName, table })),
    rules: families.map((family) => ({ family, table, pref: rulePreference })),
    replaceRoutes: true,
  };
}

/** The node's address that is the Pod's gateway. One in use is kept: later NICs see other routes and would choose another. */
function gatewayOf({ observed: { pod }, role, nodes }: Wanted, family: Family): Ip | undefined {
  const inUse = pod.routes.flatMap(({ dev, gw }) => (dev === role.podLink && gw !== undefined ? [gw] : []));
  const ofFamily = nodes.filter((ip) => ip.family === family);
  return ofFamily.find((ip) => inUse.some((gw) => sameIp(gw, ip))) ?? ofFamily[0];
}

/** The changes that add what a namespace lacks. */
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
