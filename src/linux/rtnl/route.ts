import { type Family, formatIp, formatPrefix, type Ip, ipFromBytes, ipFromValue, type Prefix } from "#ip";
import { Attributes, MessageWriter, malformed, requireHeader } from "../netlink/attributes.ts";
import { u8At, u16At, u32At } from "../netlink/bytes.ts";
import { flags } from "../netlink/message.ts";
import {
  afOf,
  type Encoding,
  familyOf,
  type LinkRef,
  linkText,
  type Operation,
  type Tolerance,
  types,
} from "./request.ts";

/** A route to be added, or to be looked for and deleted: what is absent there matches anything. */
export interface RouteSpec {
  /** `0.0.0.0/0` or `::/0` is the default route. */
  readonly dst: Prefix;
  readonly gw?: Ip;
  readonly dev?: LinkRef;
  /** Preferred source address. */
  readonly src?: Ip;
  /** @default link without a gateway, otherwise global */
  readonly scope?: keyof typeof scopes;
  /** Default 254, main. */
  readonly table?: number;
  readonly metric?: number;
  /** RTPROT_*; default 3, boot, as the ip command. */
  readonly protocol?: number;
  /** The gateway is on `dev` whatever the other routes say. */
  readonly onlink?: boolean;
  /** Default unicast. */
  readonly type?: keyof typeof routeTypes;
}

/** A route as the kernel describes it. */
export interface Route {
  readonly dst: Prefix;
  readonly gw: Ip | undefined;
  /** Index; undefined for a multipath route and one that leads nowhere. */
  readonly dev: number | undefined;
  readonly src: Ip | undefined;
  /** RT_SCOPE_* */
  readonly scope: number;
  readonly table: number;
  readonly metric: number | undefined;
  /** RTPROT_*: 2 is the kernel's own. */
  readonly protocol: number;
  /** RTN_*: 1 is unicast. */
  readonly type: number;
  readonly onlink: boolean;
  /** Next hops of a multipath route; else empty. */
  readonly nextHops: readonly NextHop[];
}

interface NextHop {
  readonly gw: Ip | undefined;
  readonly dev: number;
}

/** Which routes of a dump are wanted; the kernel filters. */
export interface RouteFilter {
  readonly family: Family;
  /** Default 254, main; 0 is every table. */
  readonly table?: number;
  readonly link?: LinkRef;
}

const rta = {
  dst: 1,
  src: 2,
  oif: 4,
  gateway: 5,
  priority: 6,
  prefSrc: 7,
  multipath: 9,
  table: 15,
  mark: 16,
  via: 18,
} as const;
const scopes = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;
const routeTypes = { unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const;
/** RT_TABLE_MAIN. */
export const mainTable = 254;
const protocolBoot = 3;
const onlinkFlag = 4;
/** A cached exception (a redirect, a path MTU), not a route. */
const clonedFlag = 0x200;
const headerLength = 12;
const nextHopLength = 8;

interface HeaderFields {
  readonly family: Family;
  readonly dstBits?: number;
  readonly table: number;
  readonly protocol?: number;
  readonly scope?: number;
  readonly type?: number;
  readonly flags?: number;
}

/** `struct rtmsg`; the table's whole number goes into an attribute. */
function header({ family, dstBits = 0, table, protocol = 0, scope = 0, type = 0, flags = 0 }: HeaderFields) {
  const writer = new MessageWriter().u8(afOf(family)).u8(dstBits).u8(0).u8(0);
  writer
    .u8(table < 256 ? table : 0)
    .u8(protocol)
    .u8(scope)
    .u8(type)
    .u32(flags);
  return table === 0 ? writer : writer.putU32(rta.table, table);
}

function encodeRoute(route: RouteSpec, fields: Pick<HeaderFields, "protocol" | "scope" | "type">, encoding: Encoding) {
  const { dst, gw, dev, src, metric, onlink = false, table = mainTable } = route;
  const { family } = dst.ip;
  if (gw !== undefined && gw.family !== family) throw new RangeError(`gateway of another family: ${routeText(route)}`);
  const writer = header({ family, dstBits: dst.bits, table, flags: onlink ? onlinkFlag : 0, ...fields });
  if (dst.bits > 0) writer.putIp(rta.dst, dst.ip);
  if (gw !== undefined) writer.putIp(rta.gateway, gw);
  if (dev !== undefined) writer.putU32(rta.oif, encoding.indexOf(dev));
  if (src !== undefined) writer.putIp(rta.prefSrc, src);
  if (metric !== undefined) writer.putU32(rta.priority, metric);
  return writer.finish();
}

/** How the route is added, beside errors that count as success. */
export interface AddRouteOptions extends Tolerance {
  /** Takes the place of a route with this destination, table and metric. */
  readonly replace?: boolean;
}

/** RTM_NEWROUTE. With `replace` a route of the same destination, table and priority makes way; without, it is EEXIST. */
export function addRouteOperation(
  route: RouteSpec,
  { tolerate = [], replace = false }: AddRouteOptions,
  encoding: Encoding,
): Operation {
  const scope = scopes[route.scope ?? (route.gw === undefined && route.type === undefined ? "link" : "global")];
  const type = routeTypes[route.type ?? "unicast"];
  const body = encodeRoute(route, { protocol: route.protocol ?? protocolBoot, scope, type }, encoding);
  const attempted = () => `add route ${routeText(route)}`;
  const how = replace ? flags.replace : flags.exclusive;
  return { type: types.newRoute, flags: flags.create | how, body, attempted, tolerate };
}

/** RTM_DELROUTE. */
export function deleteRouteOperation(route: RouteSpec, { tolerate = [] }: Tolerance, encoding: Encoding): Operation {
  // In a delete, scope "nowhere" and zeroes match anything.
  const scope = scopes[route.scope ?? "nowhere"];
  const type = route.type === undefined ? 0 : routeTypes[route.type];
  const body = encodeRoute(route, { protocol: route.protocol ?? 0, scope, type }, encoding);
  const attempted = () => `delete route ${routeText(route)}`;
  return { type: types.deleteRoute, flags: 0, body, attempted, tolerate };
}

/** As the ip command writes it. */
function routeText({ dst, gw, dev, src, table = mainTable, type }: RouteSpec): string {
  const parts = [type ?? "", formatPrefix(dst)];
  if (gw !== undefined) parts.push(`via ${formatIp(gw)}`);
  if (dev !== undefined) parts.push(`dev ${linkText(dev)}`);
  if (src !== undefined) parts.push(`src ${formatIp(src)}`);
  if (table !== mainTable) parts.push(`table ${table}`);
  return parts.filter((part) => part !== "").join(" ");
}

/** A dump that the kernel filters by table and interface. */
export function encodeDumpRoutes(family: Family, table: number, index: number | undefined): Uint8Array {
  const writer = header({ family, table });
  return (index === undefined ? writer : writer.putU32(rta.oif, index)).finish();
}

/** The packet whose route is asked for, as far as rules look at it. */
export interface RouteGetOptions {
  readonly from?: Ip;
  /** Firewall mark of the packet. */
  readonly mark?: number;
  readonly dev?: LinkRef;
}

/** RTM_GETROUTE: asks which route the kernel would take to `dst`. */
export function encodeGetRoute(dst: Ip, { from, mark, dev }: RouteGetOptions, encoding: Encoding): Uint8Array {
  const bits = dst.family === 4 ? 32 : 128;
  const writer = new MessageWriter()
    .u8(afOf(dst.family))
    .u8(bits)
    .u8(from === undefined ? 0 : bits)
    .u8(0)
    .u32(0)
    .u32(0);
  writer.putIp(rta.dst, dst);
  if (from !== undefined) writer.putIp(rta.src, from);
  if (mark !== undefined) writer.putU32(rta.mark, mark);
  if (dev !== undefined) writer.putU32(rta.oif, encoding.indexOf(dev));
  return writer.finish();
}

/** Reads the body of a NEWROUTE or DELROUTE message; undefined for other families and for cached exceptions. */
export function decodeRoute(body: Uint8Array): Route | undefined {
  requireHeader(body, headerLength);
  const family = familyOf(u8At(body, 0));
  if (family === undefined) return undefined;
  if ((u32At(body, 8) & clonedFlag) !== 0) return undefined;
  return readRoute(family, body);
}

/** The answer to a lookup, which is marked as cached too. */
export function decodeRouteAnswer(body: Uint8Array): Route | undefined {
  requireHeader(body, headerLength);
  const family = familyOf(u8At(body, 0));
  return family === undefined ? undefined : readRoute(family, body);
}

function readRoute(family: Family, body: Uint8Array): Route {
  const attributes = new Attributes(body, headerLength);
  const multipath = attributes.bytes(rta.multipath);
  return {
    dst: { ip: attributes.ip(rta.dst) ?? ipFromValue(family, 0n), bits: u8At(body, 1) },
    gw: readGateway(attributes),
    dev: attributes.u32(rta.oif),
    src: attributes.ip(rta.prefSrc),
    scope: u8At(body, 6),
    table: attributes.u32(rta.table) ?? u8At(body, 4),
    metric: attributes.u32(rta.priority),
    protocol: u8At(body, 5),
    type: u8At(body, 7),
    onlink: (u32At(body, 8) & onlinkFlag) !== 0,
    nextHops: multipath === undefined ? [] : readNextHops(multipath),
  };
}

/** RTA_VIA is an IPv4 route's gateway of the other family: the family as u16, then the address. */
function readGateway(attributes: Attributes): Ip | undefined {
  const via = attributes.bytes(rta.via);
  return via?.length === 18 ? ipFromBytes(via.subarray(2)) : attributes.ip(rta.gateway);
}

/** `struct rtnexthop`s: length as u16, flags, hops, index, then attributes of their own. */
function readNextHops(bytes: Uint8Array): readonly NextHop[] {
  const hops: NextHop[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + nextHopLength <= bytes.length ? u16At(bytes, at) : 0;
    if (length < nextHopLength || at + length > bytes.length) throw malformed("next hop", at, bytes.length);
    const attributes = new Attributes(bytes, at + nextHopLength, at + length);
    hops.push({ gw: readGateway(attributes), dev: u32At(bytes, at + 4) });
    at += (length + 3) & ~3;
  }
  return hops;
}
