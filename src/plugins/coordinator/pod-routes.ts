import { type Family, hostPrefix, ipFromValue, type Prefix, sameIp, samePrefix } from "#ip";
import { mainTable } from "#linux";
import type { Change } from "./operations.ts";
import { type Role, replyTable } from "./role.ts";
import { type RouteState, type Side, usableAddresses } from "./state.ts";

interface PodRoutesOptions {
  readonly ifName: string;
  readonly role: Role;
  readonly family: Family;
  /** The interface that shall have the default route; undefined, not there yet, or without one: the one that has it. */
  readonly podDefaultRouteNic: string | undefined;
}

/**
 * Gives each interface of a Pod with several a table of its own, so that answers leave by the interface whose address
 * they bear. One interface keeps its default route in the main table: the wanted one. Of the other (the current one, or
 * the holder if the current one is to have it) the default moves to the current one's table and what else it has is
 * copied there; a rule by source address leads to it. Nothing if no other interface has a default route; and none gives
 * way to one that has no default route itself, which would leave the Pod without. Pure.
 */
export function planPodRoutes(pod: Side, options: PodRoutesOptions): readonly Change[] {
  const { ifName, role, family } = options;
  const main = pod.routes.filter((route) => route.table === mainTable && route.dst.ip.family === family);
  const others = pod.links.filter(({ name }) => name !== "lo" && name !== ifName);
  const found = others.toSorted((a, b) => a.index - b.index).find(({ name }) => hasDefault(main, name))?.name;
  if (found === undefined) return [];
  const isWanted = keepsDefault(pod, options);
  const moved = isWanted ? found : ifName;
  const isOverlayFirst = role.mode === "overlay" && role.first && !isWanted;
  return [
    ...moveRoutes(pod, main, moved, role.table),
    ...(isOverlayFirst
      ? missingRoutes(
          pod,
          main.filter((route) => route.dev === found && isDefault(route)),
          replyTable,
        )
      : []),
    ...missingRules(pod, moved, family, role.table),
    ...(isOverlayFirst ? missingRules(pod, found, family, replyTable) : []),
  ];
}

/** Whether the interface is the one that shall have the default route, and has one in the main table. */
export function keepsDefault(
  pod: Side,
  { ifName, family, podDefaultRouteNic }: Omit<PodRoutesOptions, "role">,
): boolean {
  if (podDefaultRouteNic !== ifName) return false;
  const main = pod.routes.filter((route) => route.table === mainTable && route.dst.ip.family === family);
  return hasDefault(main, ifName);
}

function hasDefault(main: readonly RouteState[], name: string): boolean {
  return main.some((route) => route.dev === name && isDefault(route));
}

/** Of a multipath route only the next hop by that interface moves. */
function moveRoutes(pod: Side, main: readonly RouteState[], dev: string, table: number): readonly Change[] {
  const own = main.filter((route) => route.dev === dev && !samePrefix(route.dst, linkLocalNet));
  return [
    ...missingRoutes(pod, own, table),
    ...own.filter(isDefault).map(({ dst, gw }): Change => {
      return { kind: "dropRoute", route: { dst, dev, table: mainTable, ...(gw === undefined ? {} : { gw }) } };
    }),
  ];
}

/** Routes without a gateway first: the others' gateways are found by them. */
function missingRoutes(pod: Side, routes: readonly RouteState[], table: number): readonly Change[] {
  return routes
    .filter((route) => !pod.routes.some((one) => one.table === table && sameWay(one, route)))
    .toSorted((a, b) => Number(a.gw !== undefined) - Number(b.gw !== undefined))
    .map(({ dst, dev, gw, src, onlink }): Change => {
      const route = { dst, dev, table, ...(gw && { gw }), ...(src && { src }), ...(onlink && { onlink }) };
      return { kind: "route", route };
    });
}

/** Without a preference: the kernel puts each before the lowest that is there. */
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
