import { type LabelSelector, labels, type SpiderIPPool } from "#api";
import { SpiderError } from "#base";
import {
  type Family,
  formatRange,
  type Ip,
  IpParseError,
  IpSet,
  networkOf,
  type Prefix,
  parseIp,
  parsePrefix,
  parseRange,
  prefixContains,
} from "#ip";
import type { Route } from "./routes.ts";

/** The parts of a SpiderIPPool that are read. */
export type PoolObject = Pick<SpiderIPPool, "spec"> & {
  readonly metadata: Partial<
    Pick<SpiderIPPool["metadata"], "name" | "uid" | "generation" | "deletionTimestamp" | "labels">
  >;
};

/** A decoded pool, for selection and choice. */
export interface PoolView {
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly family: Family;
  readonly subnet: Prefix;
  /** The addresses of the pool: `ips` less `excludeIPs`. Reserved addresses are subtracted only by the chooser. */
  readonly set: IpSet;
  readonly gateway: Ip | undefined;
  readonly routes: readonly Route[];
  readonly nodeName: readonly string[];
  readonly nodeAffinity: LabelSelector | undefined;
  readonly namespaceName: readonly string[];
  readonly namespaceAffinity: LabelSelector | undefined;
  readonly podAffinity: LabelSelector | undefined;
  readonly multusName: readonly string[];
  readonly default: boolean;
  readonly disable: boolean;
  readonly terminating: boolean;
  /** How long a released address is handed out last; undefined for the cluster's default. */
  readonly coolDownMs: number | undefined;
  /** Whether it is made for one application. Its `podAffinity` is then compared with the Pod's top controller. */
  readonly auto: boolean;
  /** What an automatic pool is made for, by its labels: the application's UID, the NIC, and its SpiderSubnet. */
  readonly madeFor: { readonly uid: string; readonly nic: string; readonly subnet: string } | undefined;
}

/**
 * Decodes and checks a pool. Throws SpiderError BROKEN_POOL with the pool, the field and the value if the pool must not be used:
 * a text that is malformed, a reversed range, addresses outside the subnet, two families, a gateway among the addresses.
 */
export function poolView(pool: PoolObject): PoolView {
  const { metadata, spec } = pool;
  const name = metadata.name ?? "";
  const subnet = field(name, "spec.subnet", spec.subnet, () => networkOf(parsePrefix(spec.subnet)));
  const { family } = subnet.ip;
  if (spec.ipVersion !== undefined && spec.ipVersion !== family) {
    throw brokenPool(name, "spec.ipVersion", String(spec.ipVersion), `spec.subnet ${spec.subnet} is IPv${family}`);
  }
  const set = rangesOf(name, "spec.ips", spec.ips, subnet).subtract(
    rangesOf(name, "spec.excludeIPs", spec.excludeIPs, subnet),
  );
  return {
    name,
    uid: metadata.uid ?? "",
    generation: metadata.generation ?? 0,
    family,
    subnet,
    set,
    gateway: gatewayOf(name, spec.gateway, subnet, set),
    routes: (spec.routes ?? []).map((route, at) => routeOf(name, `spec.routes[${at}]`, route, subnet)),
    nodeName: spec.nodeName ?? [],
    nodeAffinity: spec.nodeAffinity,
    namespaceName: spec.namespaceName ?? [],
    namespaceAffinity: spec.namespaceAffinity,
    podAffinity: spec.podAffinity,
    multusName: spec.multusName ?? [],
    default: spec.default ?? false,
    disable: spec.disable ?? false,
    coolDownMs: spec.coolDown === undefined ? undefined : spec.coolDown * 1_000,
    terminating: metadata.deletionTimestamp !== undefined,
    auto: metadata.labels?.[labels.ownerApplicationName] !== undefined,
    madeFor: madeForOf(metadata.labels),
  };
}

function madeForOf(found: PoolObject["metadata"]["labels"] = {}): PoolView["madeFor"] {
  const [uid, nic, subnet] = [found[labels.ownerApplicationUid], found[labels.interface], found[labels.ownerSubnet]];
  return uid === undefined || nic === undefined || subnet === undefined ? undefined : { uid, nic, subnet };
}

function rangesOf(pool: string, path: string, texts: readonly string[] = [], subnet: Prefix): IpSet {
  const ranges = texts.map((text, at) => {
    const range = field(pool, `${path}[${at}]`, text, () => parseRange(text, subnet.ip.family));
    if (prefixContains(subnet, range.first) && prefixContains(subnet, range.last)) return range;
    throw brokenPool(pool, `${path}[${at}]`, formatRange(range), "it is not inside spec.subnet");
  });
  return IpSet.of(subnet.ip.family, ranges);
}

function gatewayOf(pool: string, text: string | undefined, subnet: Prefix, set: IpSet): Ip | undefined {
  if (text === undefined || text === "") return undefined;
  const gateway = field(pool, "spec.gateway", text, () => parseIp(text, subnet.ip.family));
  if (!prefixContains(subnet, gateway)) throw brokenPool(pool, "spec.gateway", text, "it is not inside spec.subnet");
  if (set.contains(gateway)) {
    throw brokenPool(
      pool,
      "spec.gateway",
      text,
      "it is among spec.ips; add it to spec.excludeIPs or remove it from spec.ips",
    );
  }
  return gateway;
}

function routeOf(pool: string, path: string, { dst, gw }: { dst: string; gw: string }, subnet: Prefix): Route {
  const { family } = subnet.ip;
  const route = {
    dst: field(pool, `${path}.dst`, dst, () => networkOf(parsePrefix(dst, family))),
    gw: field(pool, `${path}.gw`, gw, () => parseIp(gw, family)),
  };
  if (!prefixContains(subnet, route.gw)) throw brokenPool(pool, `${path}.gw`, gw, "it is not inside spec.subnet");
  return route;
}

function field<T>(pool: string, path: string, value: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof IpParseError) throw brokenPool(pool, path, value, error.message);
    throw error;
  }
}

function brokenPool(pool: string, path: string, value: string, why: string): SpiderError {
  const message = `SpiderIPPool ${pool} cannot be used, ${path} '${value.slice(0, 80)}' is wrong: ${why}`;
  return new SpiderError("BROKEN_POOL", message, { details: { pool, field: path, value } });
}
