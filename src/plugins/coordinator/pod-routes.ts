import { type Family, hostPrefix, ipFromValue, type Prefix, sameIp, samePrefix } from "#ip";
import { mainTable } from "#linux";
import type { Change } from "./operations.ts";
import { firstTable, type Role, replyTable, ruledTable } from "./role.ts";
import { type RouteState, type Side, usableAddresses } from "./state.ts";

interface PodRoutesOptions {
  readonly ifName: string;
  readonly role: Role;
  readonly family: Family;
  /**
   * The interface that shall have the default route. If it is undefined, absent or without a default route, the interface that
   * has it now keeps it.
   */
  readonly podDefaultRouteNic: string | undefined;
  /** An earlier call has made all of this: the plan only restores what is missing. */
  readonly isMade: boolean;
}

/**
 * Plans the routing tables of a Pod with several interfaces, so that answers leave by the interface that has their source
 * address. Only the wanted interface keeps its default route in the main table. The default route of any other one (the current
 * interface or, if that is the wanted one, those that have a default route) moves to a table of its own, to which a rule by
 * source address leads; its other routes are copied there. So that the Pod always has a default route, the current interface
 * keeps its own if no other has one, and none gives way to an interface without one. Pure.
 */
export function planPodRoutes(pod: Side, options: PodRoutesOptions): readonly Change[] {
  const { ifName, role, family } = options;
  const main = mainRoutes(pod, family);
  if (keepsDefault(pod, options)) {
    return givers(pod, options).flatMap(({ name, table }) => [
      ...moveRoutes(pod, main, name, table),
      ...missingRules(pod, name, family, table),
    ]);
  }
  const [holder] = defaultHolders(pod, options);
  const { table } = role;
  // In an overlay Pod, answers of eth0 must leave by eth0, too.
  const isBesideFirst = role.mode === "overlay" && role.first && holder === role.podLink;
  // Routes are moved only once. One that stayed because it was the only one still stays when another one has come.
  const isDone = missingRules(pod, ifName, family, table).length === 0;
  const gives = holder !== undefined && !isDone;
  return [
    ...(gives ? moveRoutes(pod, main, ifName, table) : copyRoutes(pod, main, ifName, table)),
    ...(isBesideFirst
      ? missingRoutes(
          pod,
          main.filter((route) => route.dev === holder && isDefault(route)),
          replyTable,
        )
      : []),
    ...missingRules(pod, ifName, family, table),
    ...(isBesideFirst ? missingRules(pod, holder, family, replyTable) : []),
  ];
}

/**
 * The table that the interface's plan fills: its own or, if it is the wanted interface, that of the first interface which
 * gives way to it; undefined if none does.
 */
export function tableOf(pod: Side, options: PodRoutesOptions): number | undefined {
  return keepsDefault(pod, options) ? givers(pod, options)[0]?.table : options.role.table;
}

/**
 * The interfaces that give way to the current one, with their tables. The first gets the table that the current one does not
 * need; others get unused tables of earlier interfaces. An interface that came later, without a coordinator, is left alone:
 * CHECK must not find a rule missing that no ADD could make.
 */
function givers(pod: Side, options: PodRoutesOptions): readonly { readonly name: string; readonly table: number }[] {
  const { role, isMade } = options;
  const taken = new Set(pod.rules.map(({ table }) => table)).add(role.table);
  const unruled = (): number => {
    let table = firstTable;
    while (taken.has(table)) table += 1;
    taken.add(table);
    return table;
  };
  return defaultHolders(pod, options)
    .map((name) => ({ name, ruled: ruledTable(pod, name) }))
    .filter(({ ruled }) => !isMade || ruled !== undefined)
    .map(({ name, ruled }, at) => ({ name, table: ruled ?? (at === 0 ? role.table : unruled()) }));
}

/** The other interfaces with a default route in the main table, in the order in which they were made. */
function defaultHolders(pod: Side, { ifName, family }: PodRoutesOptions): readonly string[] {
  const main = mainRoutes(pod, family);
  return pod.links
    .filter(({ name }) => name !== "lo" && name !== ifName && hasDefault(main, name))
    .toSorted((a, b) => a.index - b.index)
    .map(({ name }) => name);
}

/** Whether the interface is the one that shall have the default route, and has one in the main table. */
export function keepsDefault(
  pod: Side,
  { ifName, family, podDefaultRouteNic }: Pick<PodRoutesOptions, "ifName" | "family" | "podDefaultRouteNic">,
): boolean {
  return podDefaultRouteNic === ifName && hasDefault(mainRoutes(pod, family), ifName);
}

function mainRoutes({ routes }: Side, family: Family): readonly RouteState[] {
  return routes.filter((route) => route.table === mainTable && route.dst.ip.family === family);
}

function hasDefault(main: readonly RouteState[], name: string): boolean {
  return main.some((route) => route.dev === name && isDefault(route));
}

function copyRoutes(pod: Side, main: readonly RouteState[], dev: string, table: number): readonly Change[] {
  const own = main.filter((route) => route.dev === dev && !samePrefix(route.dst, linkLocalNet));
  return missingRoutes(pod, own, table);
}

/** Copies the interface's routes to the table, and takes its default route, or its next hop of one, out of the main table. */
function moveRoutes(pod: Side, main: readonly RouteState[], dev: string, table: number): readonly Change[] {
  const defaults = main.filter((route) => route.dev === dev && isDefault(route));
  return [
    ...copyRoutes(pod, main, dev, table),
    ...defaults.map(({ dst, gw }): Change => {
      return { kind: "dropRoute", route: { dst, dev, table: mainTable, ...(gw !== undefined && { gw }) } };
    }),
  ];
}

/** The routes that the table lacks. Those without a gateway come first, because gateways are reached by them. */
function missingRoutes(pod: Side, routes: readonly RouteState[], table: number): readonly Change[] {
  return routes
    .filter((route) => !pod.routes.some((one) => one.table === table && sameWay(one, route)))
    .toSorted((a, b) => Number(a.gw !== undefined) - Number(b.gw !== undefined))
    .map(({ dst, dev, gw, src, onlink }): Change => {
      const route = { dst, dev, table, ...(gw && { gw }), ...(src && { src }), ...(onlink && { onlink }) };
      return { kind: "route", route };
    });
}

/** The rules by source address that are missing. They have no preference: the kernel puts each before those that exist. */
function missingRules(pod: Side, dev: string, family: Family, table: number): readonly Change[] {
  return usableAddresses(pod, dev)
    .filter((ip) => ip.family === family)
    .map(hostPrefix)
    .filter((from) => {
      return !pod.rules.some((rule) => rule.table === table && rule.from !== undefined && samePrefix(rule.from, from));
    })
    .map((from): Change => ({ kind: "rule", rule: { family, from, table } }));
}

function sameWay(a: RouteState, b: RouteState): boolean {
  const sameGw = a.gw === undefined || b.gw === undefined ? a.gw === b.gw : sameIp(a.gw, b.gw);
  return a.dev === b.dev && samePrefix(a.dst, b.dst) && sameGw;
}

function isDefault({ dst }: RouteState): boolean {
  return dst.bits === 0;
}

/** fe80::/64, which every interface with IPv6 has. */
const linkLocalNet: Prefix = { ip: ipFromValue(6, 0xfe80n << 112n), bits: 64 };
