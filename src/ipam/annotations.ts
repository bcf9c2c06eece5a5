import { annotations } from "#api";
import { type Family, IpParseError, networkOf, parseIp, parsePrefix } from "#ip";
import { AnnotationReader, type Annotations } from "./annotation-json.ts";
import type { Route } from "./routes.ts";

/** The annotations about pools and routes. Those about subnets are `subnetAnnotationKeys`. */
export const annotationKeys = {
  ippool: annotations.ippool,
  ippools: annotations.ippools,
  routes: annotations.routes,
  defaultIpv4: annotations.defaultIpv4Pools,
  defaultIpv6: annotations.defaultIpv6Pools,
} as const;

/** Pool names or patterns by family, in the given order. Empty if the annotation does not mention the family. */
export interface PoolsByFamily {
  readonly 4: readonly string[];
  readonly 6: readonly string[];
}

/** One item of the annotation `ippools`. */
interface NicPools {
  /** Undefined if the items name no NICs; then the position says which NIC is meant. */
  readonly nic: string | undefined;
  readonly pools: PoolsByFamily;
  readonly cleanGateway: boolean;
}

/** Parses `ipam.spidernet.io/ippool` of a Pod; undefined if it is absent. Throws SpiderError WRONG_INPUT. */
export function parseIppoolAnnotation(annotations: Annotations): PoolsByFamily | undefined {
  const reader = AnnotationReader.of(annotations, {
    object: "Pod",
    key: annotationKeys.ippool,
    allowed: '{"ipv4":["pool-a"],"ipv6":["pool-b"]}',
  });
  if (reader === undefined) return undefined;
  return familyLists(reader, reader.members(reader.value, "value"), "value");
}

/**
 * Parses `ipam.spidernet.io/ippools` of a Pod; undefined if it is absent. Either all items name an interface or none does, and
 * no interface is named twice. Throws SpiderError WRONG_INPUT.
 */
export function parseIppoolsAnnotation(annotations: Annotations): readonly NicPools[] | undefined {
  const reader = AnnotationReader.of(annotations, {
    object: "Pod",
    key: annotationKeys.ippools,
    allowed: '[{"interface":"eth0","ipv4":["pool-a"],"ipv6":["pool-b"],"cleangateway":false}]',
  });
  if (reader === undefined) return undefined;
  const items = reader.list(reader.value, "value").map((item, at): NicPools => {
    const members = reader.members(item, `[${at}]`);
    return {
      nic: reader.string(members.get("interface"), `[${at}].interface`) || undefined,
      pools: familyLists(reader, members, `[${at}]`),
      cleanGateway: reader.boolean(members.get("cleangateway"), `[${at}].cleangateway`),
    };
  });
  const named = items.flatMap(({ nic }) => nic ?? []);
  if (items.length === 0) throw reader.error("value requires at least one item");
  if (named.length !== 0 && named.length !== items.length) {
    throw reader.error("NIC should be either all specified or all unspecified");
  }
  const repeated = named.find((nic, at) => named.indexOf(nic) !== at);
  if (repeated !== undefined) throw reader.error(`duplicate interface ${repeated}`);
  return items;
}

/** Parses the default pools in a Namespace's annotations. Lists are empty if there are none. Throws SpiderError WRONG_INPUT. */
export function parseNamespaceDefaults(annotations: Annotations): PoolsByFamily {
  const read = (key: string): readonly string[] => {
    const reader = AnnotationReader.of(annotations, { object: "Namespace", key, allowed: '["pool-a","pool-b"]' });
    return reader?.strings(reader.value, "value") ?? [];
  };
  return { 4: read(annotationKeys.defaultIpv4), 6: read(annotationKeys.defaultIpv6) };
}

/** Parses `ipam.spidernet.io/routes` of a Pod; empty if it is absent. Throws SpiderError WRONG_INPUT. */
export function parseRoutesAnnotation(annotations: Annotations): readonly Route[] {
  const reader = AnnotationReader.of(annotations, {
    object: "Pod",
    key: annotationKeys.routes,
    allowed: '[{"dst":"10.0.0.0/16","gw":"192.168.1.1"}]',
  });
  if (reader === undefined) return [];
  return reader.list(reader.value, "value").map((item, at) => {
    const members = reader.members(item, `[${at}]`);
    const dst = reader.string(members.get("dst"), `[${at}].dst`);
    const gw = reader.string(members.get("gw"), `[${at}].gw`);
    try {
      const prefix = networkOf(parsePrefix(dst));
      return { dst: prefix, gw: parseIp(gw, prefix.ip.family) };
    } catch (error) {
      if (!(error instanceof IpParseError)) throw error;
      throw reader.error(`invalid route format in [${at}], ${error.message}`);
    }
  });
}

/** The routes of the annotation of a Pod whose ADD succeeded; none if the annotation was made invalid since. */
export function routesAskedBy(annotations: Annotations): readonly Route[] {
  try {
    return parseRoutesAnnotation(annotations);
  } catch {
    return [];
  }
}

function familyLists(reader: AnnotationReader, members: ReadonlyMap<string, unknown>, path: string): PoolsByFamily {
  const list = (family: Family) => reader.strings(members.get(`ipv${family}`), `${path}.ipv${family}`);
  return { 4: list(4), 6: list(6) };
}
