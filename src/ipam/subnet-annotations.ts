import { annotations } from "#api";
import { AnnotationReader, type AnnotationSource, type Annotations, wrongAnnotation } from "./annotation-json.ts";

/** The annotations with which a Pod template asks for pools cut from a SpiderSubnet. */
export const subnetAnnotationKeys = {
  subnet: annotations.subnet,
  subnets: annotations.subnets,
  ipNumber: annotations.poolIpNumber,
  reclaim: annotations.poolReclaim,
} as const;

/** The names of the subnets that a NIC's automatic pools are cut from, by family. At least one is given. */
export interface SubnetsOfNic {
  readonly nic: string;
  readonly 4: string | undefined;
  readonly 6: string | undefined;
}

/** The size of an automatic pool: `count` addresses or, if `flexible`, one for each replica and `count` more. */
export interface IpNumber {
  readonly flexible: boolean;
  readonly count: number;
}

interface SubnetAnnotations {
  readonly nics: readonly SubnetsOfNic[];
  /** Undefined for the cluster's default. */
  readonly ipNumber: IpNumber | undefined;
  /** Whether the pools are deleted with their application. */
  readonly reclaim: boolean;
}

/**
 * Parses the annotations about subnets; undefined if there is neither `subnets` nor `subnet`. Only the first name of each list
 * counts. Throws SpiderError WRONG_INPUT.
 */
export function parseSubnetAnnotations(annotations: Annotations): SubnetAnnotations | undefined {
  const many = annotations[subnetAnnotationKeys.subnets];
  const one = annotations[subnetAnnotationKeys.subnet];
  if (many === undefined && one === undefined) return undefined;
  return {
    nics: many === undefined ? parseSubnet(one ?? "") : parseSubnets(many),
    ipNumber: parseIpNumber(annotations[subnetAnnotationKeys.ipNumber]),
    reclaim: parseReclaim(annotations[subnetAnnotationKeys.reclaim]),
  };
}

function parseSubnet(text: string): readonly SubnetsOfNic[] {
  const source: AnnotationSource = {
    object: "Pod",
    key: subnetAnnotationKeys.subnet,
    allowed: '{"ipv4":["subnet-a"],"ipv6":["subnet-b"]}',
  };
  const reader = new AnnotationReader(source, text);
  return [subnetsOfNic(reader, reader.value, "value")];
}

function parseSubnets(text: string): readonly SubnetsOfNic[] {
  const source: AnnotationSource = {
    object: "Pod",
    key: subnetAnnotationKeys.subnets,
    allowed: '[{"interface":"eth0","ipv4":["subnet-a"],"ipv6":["subnet-b"]}]',
  };
  const reader = new AnnotationReader(source, text);
  const nics = reader.list(reader.value, "value").map((item, at) => subnetsOfNic(reader, item, `[${at}]`));
  if (nics.length === 0) throw reader.error("value requires at least one item");
  for (const [at, { nic, 4: v4, 6: v6 }] of nics.entries()) {
    for (const before of nics.slice(0, at)) {
      if (before.nic === nic) throw reader.error(`duplicate interface ${nic}`);
      const shared = v4 !== undefined && v4 === before[4] ? v4 : v6 !== undefined && v6 === before[6] ? v6 : undefined;
      if (shared !== undefined) throw reader.error(`subnet ${shared} is used by both ${before.nic} and ${nic}`);
    }
  }
  return nics;
}

function subnetsOfNic(reader: AnnotationReader, value: unknown, path: string): SubnetsOfNic {
  const members = reader.members(value, path);
  const first = (key: "ipv4" | "ipv6"): string | undefined => {
    const [name] = reader.strings(members.get(key), `${path}.${key}`);
    if (name === "") throw reader.error(`${path}.${key}[0] is an empty name`);
    return name;
  };
  const found = {
    nic: reader.string(members.get("interface"), `${path}.interface`) || "eth0",
    4: first("ipv4"),
    6: first("ipv6"),
  };
  if (!/^[^\s/:]{1,15}$/.test(found.nic)) throw reader.error(`${path}.interface '${found.nic}' is no name of a NIC`);
  if (found[4] === undefined && found[6] === undefined) throw reader.error(`${path} names no subnet of either family`);
  return found;
}

function parseIpNumber(text: string | undefined): IpNumber | undefined {
  if (text === undefined) return undefined;
  const source: AnnotationSource = { object: "Pod", key: subnetAnnotationKeys.ipNumber, allowed: '"3" or "+1"' };
  const [, plus, digits] = /^(\+?)([0-9]{1,9})$/.exec(text) ?? [];
  if (digits !== undefined) return { flexible: plus === "+", count: Number(digits) };
  const negative = /^\+?-[0-9]+$/.test(text);
  throw wrongAnnotation(
    source,
    text,
    negative ? `subnet '${source.key}' value must equal or greater than 0` : `invalid input '${text.slice(0, 80)}'`,
  );
}

function parseReclaim(text: string | undefined): boolean {
  if (text === undefined || ["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(text)) return false;
  const source: AnnotationSource = { object: "Pod", key: subnetAnnotationKeys.reclaim, allowed: '"true" or "false"' };
  throw wrongAnnotation(source, text, "it is neither true nor false");
}
