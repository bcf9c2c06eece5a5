import {
  compareIp,
  type Family,
  formatIp,
  formatPrefix,
  type Ip,
  IpParseError,
  IpSet,
  networkOf,
  type Prefix,
  parseIp,
  parseIpSet,
  parsePrefix,
  prefixContains,
  prefixRange,
  samePrefix,
  tryParseIp,
  tryParsePrefix,
} from "#ip";
import { bothFamilies, type Families } from "../families.ts";
import type { SpiderSubnetSpec } from "../subnet/types.ts";
import { checkElements, readElement, showSet, trySetOf } from "./elements.ts";
import type { Rule } from "./rule.ts";
import { checkSelector } from "./selector.ts";
import { forbidden, invalid, notSupported, type Violation } from "./violation.ts";

/** The fields that pools and subnets share. */
type AddressSpec = Pick<
  SpiderSubnetSpec,
  "ipVersion" | "subnet" | "ips" | "excludeIPs" | "gateway" | "routes" | "namespaceAffinity"
>;

/** The spec and its decoded parts. A rule skips a part that could not be decoded: another rule reports that. */
export interface AddressCase {
  readonly kind: "IPPool" | "Subnet";
  readonly spec: AddressSpec;
  readonly old: AddressSpec | undefined;
  readonly families: Families;
  readonly family: Family | undefined;
  readonly subnet: Prefix | undefined;
  /** `ips − excludeIPs`. */
  readonly set: IpSet | undefined;
}

/** Decodes a pool, subnet or reserved IP for its rules. Invalid parts are undefined; the rules of their own fields report them. */
export function addressCase(
  kind: AddressCase["kind"],
  spec: AddressSpec,
  old: AddressSpec | undefined,
  families: Families,
): AddressCase {
  const family = spec.ipVersion === 4 || spec.ipVersion === 6 ? spec.ipVersion : undefined;
  const subnet = family && tryParsePrefix(spec.subnet, family);
  return { kind, spec, old, families, family, subnet, set: family && effectiveSet(spec, family) };
}

/** `ips − excludeIPs`; undefined if either has an invalid element. */
export function effectiveSet(spec: Pick<AddressSpec, "ips" | "excludeIPs">, family: Family): IpSet | undefined {
  const excluded = trySetOf(spec.excludeIPs, family);
  return excluded && trySetOf(spec.ips, family)?.subtract(excluded);
}

/** The family of a CIDR; undefined if the text is not one. */
export function familyOf(cidr: string): Family | undefined {
  return tryParsePrefix(cidr)?.ip.family;
}

const defaultRoutes: readonly string[] = ["0.0.0.0/0", "::/0"];

/** Addresses that the kernel or its neighbours take for something else than a host. */
const hostless: Readonly<Record<Family, IpSet>> = {
  4: parseIpSet(
    ["0.0.0.0-0.255.255.255", "127.0.0.0-127.255.255.255", "224.0.0.0-239.255.255.255", "255.255.255.255"],
    4,
  ),
  6: parseIpSet(["::-::1", "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], 6),
};

/** Addresses that Kubernetes refuses as endpoints of Services. */
const linkLocal: Readonly<Record<Family, IpSet>> = {
  4: parseIpSet(["169.254.0.0-169.254.255.255"], 4),
  6: parseIpSet(["fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], 6),
};

/** The rules that pools and subnets share. */
export const addressRules: readonly Rule<AddressCase>[] = [
  ...versionRules<AddressCase>({ prefix: "", source: "subnet", unreadable: "'spec.subnet' may be invalid" }),
  {
    id: "subnet-immutable",
    field: "spec.subnet",
    message: "is not changeable",
    check: ({ spec, old }) => checkUnchanged("spec.subnet", spec.subnet, old?.subnet),
    cel: { at: "subnet", rule: "self == oldSelf" },
  },
  {
    id: "subnet-cidr",
    field: "spec.subnet",
    message: "subnet is a CIDR of the family of ipVersion",
    check: ({ spec, family }) => checkText("spec.subnet", spec.subnet, () => parsePrefix(spec.subnet, family)),
    cel: { at: "subnet", rule: "isCIDR(self)", message: "subnet must be a CIDR" },
  },
  {
    id: "subnet-canonical",
    field: "spec.subnet",
    message: "the host bits of subnet are zero and its text is canonical",
    check: ({ spec, old, subnet }) => {
      if (old !== undefined || subnet === undefined) return [];
      const canonical = formatPrefix(networkOf(subnet));
      if (canonical === spec.subnet) return [];
      return [
        invalid("spec.subnet", spec.subnet, `unformatted subnet ${spec.subnet}, please change it to ${canonical}`),
      ];
    },
    cel: {
      at: "subnet",
      rule: "!isCIDR(self) || string(cidr(self).masked()) == self",
      // CEL's cost estimate knows no bound for the text of a CIDR, so the message cannot name the corrected one.
      messageExpression: "'unformatted subnet ' + self + ', its host bits must be zero and its text canonical'",
    },
  },
  {
    id: "ips-valid",
    field: "spec.ips[*]",
    message: "each element is an address or a range first-last of the family, inside subnet",
    check: ({ spec, family, subnet }) => checkInside("spec.ips", spec.ips, family, subnet),
  },
  {
    id: "exclude-ips-valid",
    field: "spec.excludeIPs[*]",
    message: "each element is an address or a range first-last of the family, inside subnet",
    check: ({ spec, family, subnet }) => checkInside("spec.excludeIPs", spec.excludeIPs, family, subnet),
  },
  {
    id: "gateway-inside",
    field: "spec.gateway",
    message: "gateway is an address inside subnet",
    check: ({ kind, spec, family, subnet }) => {
      const { gateway = "" } = spec;
      if (gateway === "" || family === undefined) return [];
      const wrong = checkText("spec.gateway", gateway, () => parseIp(gateway, family));
      const ip = tryParseIp(gateway, family);
      if (ip === undefined || subnet === undefined || prefixContains(subnet, ip)) return wrong;
      return [invalid("spec.gateway", gateway, `not pertains to the 'spec.subnet' ${formatPrefix(subnet)} of ${kind}`)];
    },
    cel: {
      rule: "!has(self.gateway) || self.gateway == '' || !isCIDR(self.subnet) || (isIP(self.gateway) && cidr(self.subnet).containsIP(self.gateway))",
      messageExpression: "'gateway ' + self.gateway + ' is not an address inside subnet ' + self.subnet",
      fieldPath: ".gateway",
    },
  },
  {
    id: "gateway-not-handed-out",
    field: "spec.ips[*]",
    message: "the gateway is not among the addresses that are handed out",
    check: ({ spec, family, set }) => {
      const gateway = spec.gateway === undefined ? undefined : tryParseIp(spec.gateway, family);
      if (gateway === undefined || family === undefined || set?.contains(gateway) !== true) return [];
      return (spec.ips ?? []).flatMap((text, index) =>
        holds(text, gateway)
          ? [
              invalid(
                `spec.ips[${index}]`,
                text,
                `conflicts with 'spec.gateway' ${spec.gateway}, add the gateway IP address to 'spec.excludeIPs' or remove it from 'spec.ips'`,
              ),
            ]
          : [],
      );
    },
  },
  {
    id: "routes-not-default",
    field: "spec.routes[*].dst",
    message: "the default route is given by gateway, not among routes",
    check: ({ spec: { routes = [] } }) =>
      routes.flatMap(({ dst }, index) =>
        isDefaultRoute(dst)
          ? [invalid(`spec.routes[${index}].dst`, dst, "please specify 'spec.gateway' to configure the default route")]
          : [],
      ),
    cel: {
      rule: "!has(self.routes) || !self.routes.exists(r, r.dst in ['0.0.0.0/0', '::/0'])",
      message: "please specify 'spec.gateway' to configure the default route",
      fieldPath: ".routes",
    },
  },
  {
    id: "routes-distinct",
    field: "spec.routes[*].dst",
    message: "no two routes have the same dst",
    check: ({ spec: { routes = [] } }) => {
      const dsts = routes.map(({ dst }) => canonicalText(dst));
      return routes.flatMap(({ dst }, index) =>
        dsts.indexOf(canonicalText(dst)) < index
          ? [invalid(`spec.routes[${index}].dst`, dst, "duplicate route with the same dst")]
          : [],
      );
    },
  },
  {
    id: "routes-dst",
    field: "spec.routes[*].dst",
    message: "dst is a CIDR of the family",
    check: ({ spec: { routes = [] }, family }) =>
      family === undefined
        ? []
        : routes.flatMap(({ dst }, index) =>
            checkText(`spec.routes[${index}].dst`, dst, () => parsePrefix(dst, family)),
          ),
    cel: {
      rule: "!has(self.routes) || self.routes.all(r, isCIDR(r.dst))",
      message: "dst of each route must be a CIDR",
      fieldPath: ".routes",
    },
  },
  {
    id: "routes-gw",
    field: "spec.routes[*].gw",
    message: "gw is an address inside subnet",
    check: ({ kind, spec: { routes = [] }, family, subnet }) =>
      family === undefined || subnet === undefined
        ? []
        : routes.flatMap(({ gw }, index) => {
            const field = `spec.routes[${index}].gw`;
            const ip = tryParseIp(gw, family);
            if (ip === undefined) return checkText(field, gw, () => parseIp(gw, family));
            return prefixContains(subnet, ip)
              ? []
              : [invalid(field, gw, `not pertains to the 'spec.subnet' ${formatPrefix(subnet)} of ${kind}`)];
          }),
    cel: {
      rule: "!has(self.routes) || !isCIDR(self.subnet) || self.routes.all(r, isIP(r.gw) && cidr(self.subnet).containsIP(r.gw))",
      message: "gw of each route must be an address inside subnet",
      fieldPath: ".routes",
    },
  },
  {
    id: "gateway-is-host",
    field: "spec.gateway, spec.routes[*].gw",
    message: "neither is the broadcast address of subnet",
    check: ({ spec: { gateway, routes = [] }, family, subnet }) => {
      // A link of two addresses has none. Elsewhere the kernel takes no route to it, so that no Pod would start.
      if (family !== 4 || subnet === undefined || subnet.bits > 30) return [];
      const { last } = prefixRange(subnet);
      const hops = [
        ["spec.gateway", gateway] as const,
        ...routes.map(({ gw }, index) => [`spec.routes[${index}].gw`, gw] as const),
      ];
      return hops.flatMap(([field, text = ""]) => {
        const ip = tryParseIp(text, family);
        if (ip === undefined || compareIp(ip, last) !== 0) return [];
        return [
          invalid(field, text, `is the broadcast address of 'spec.subnet' ${formatPrefix(subnet)}: no host has it`),
        ];
      });
    },
  },
  {
    id: "ips-of-hosts",
    field: "spec.ips",
    message: "no address is added that no host can have: multicast, loopback, 0.0.0.0/8, ::, 255.255.255.255",
    check: ({ spec, old, family, set }) => {
      const before = family && (old === undefined ? IpSet.empty(family) : effectiveSet(old, family));
      if (family === undefined || set === undefined || before === undefined) return [];
      const wrong = set.subtract(before).intersect(hostless[family]);
      if (wrong.isEmpty) return [];
      return [invalid("spec.ips", spec.ips, `no host can have ${showSet(wrong)}: no Pod could use such an address`)];
    },
  },
  {
    id: "namespace-affinity",
    field: "spec.namespaceAffinity",
    message: "namespaceAffinity is a valid selector",
    check: ({ spec: { namespaceAffinity } }) =>
      namespaceAffinity === undefined ? [] : checkSelector("spec.namespaceAffinity", namespaceAffinity),
  },
];

/** Warnings about a pool or subnet that is admitted: addresses with which Pods would start, and then not be reached. */
export function warnOfAddresses(spec: AddressSpec): readonly string[] {
  const { family, subnet, set } = addressCase("IPPool", spec, undefined, bothFamilies);
  if (family === undefined || subnet === undefined || set === undefined) return [];
  const warnings: string[] = [];
  const local = set.intersect(linkLocal[family]);
  if (!local.isEmpty) {
    const fate = "no Service reaches a Pod with such an address, and no router forwards for it";
    warnings.push(`spec.ips: ${showSet(local)} are link-local: ${fate}`);
  }
  const { first, last } = prefixRange(subnet);
  const named = family === 4 ? { network: first, broadcast: last } : {};
  // A link of two addresses has neither.
  for (const [name, ip] of subnet.bits > 30 ? [] : Object.entries(named)) {
    if (!set.contains(ip)) continue;
    const where = `the ${name} address of spec.subnet ${formatPrefix(subnet)}`;
    warnings.push(`spec.ips: ${formatIp(ip)} is ${where}: other hosts do not send to it; add it to spec.excludeIPs`);
  }
  return warnings;
}

/** What is known of a spec that has an address family. */
interface VersionCase {
  readonly spec: { readonly ipVersion?: Family | undefined };
  readonly old: { readonly ipVersion?: Family | undefined } | undefined;
  readonly families: Families;
}

/**
 * The rules about the address family, which is inferred from another field. `prefix` is that of their ids, `source` the field,
 * and `unreadable` says why nothing could be inferred.
 */
export function versionRules<C extends VersionCase>(words: {
  readonly prefix: string;
  readonly source: string;
  readonly unreadable: string;
}): readonly Rule<C>[] {
  const { prefix, source, unreadable } = words;
  const field = "spec.ipVersion";
  return [
    {
      id: `${prefix}version-known`,
      field,
      message: `ipVersion is 4 or 6; it is inferred from ${source}`,
      check: ({ spec: { ipVersion } }) => {
        if (ipVersion === undefined) return [invalid(field, null, `is not generated correctly, ${unreadable}`)];
        return [4, 6].includes(ipVersion) ? [] : [notSupported(field, ipVersion, ["4", "6"])];
      },
    },
    {
      id: `${prefix}version-enabled`,
      field,
      message: "the address family is enabled in the cluster's configuration",
      check: ({ spec: { ipVersion }, families }) => checkEnabled(ipVersion, families),
    },
    {
      id: `${prefix}version-immutable`,
      field,
      message: "is not changeable",
      check: ({ spec, old }) => checkUnchanged(field, spec.ipVersion, old?.ipVersion),
      cel: { at: "ipVersion", rule: "self == oldSelf" },
    },
  ];
}

/** Refuses a family that the configuration switches off. What is no family is another rule's. */
function checkEnabled(family: Family | undefined, families: Families): readonly Violation[] {
  if ((family !== 4 && family !== 6) || families[`enableIPv${family}`]) return [];
  return [forbidden("spec.ipVersion", `IPv${family} is disabled`)];
}

/** Refuses to change a value that was set. */
function checkUnchanged(field: string, value: unknown, old: unknown): readonly Violation[] {
  return old === undefined || old === value ? [] : [forbidden(field, "is not changeable")];
}

/** Refuses text that `parse` rejects, with the parser's message. */
export function checkText(field: string, value: string, parse: () => unknown): readonly Violation[] {
  try {
    parse();
    return [];
  } catch (error) {
    if (error instanceof IpParseError) return [invalid(field, value, error.message)];
    throw error;
  }
}

function checkInside(
  field: string,
  texts: readonly string[] | undefined,
  family: Family | undefined,
  subnet: Prefix | undefined,
): readonly Violation[] {
  if (family === undefined) return [];
  return checkElements(field, texts, family, ({ first, last }) =>
    subnet === undefined || (prefixContains(subnet, first) && prefixContains(subnet, last))
      ? undefined
      : `not match base subnet: ${formatPrefix(subnet)}`,
  );
}

function holds(element: string, ip: Ip): boolean {
  const range = readElement(element, ip.family);
  return !("problem" in range) && IpSet.of(ip.family, [range]).contains(ip);
}

function isDefaultRoute(dst: string): boolean {
  const prefix = tryParsePrefix(dst);
  return prefix === undefined ? false : defaultRoutes.includes(formatPrefix(networkOf(prefix)));
}

function canonicalText(cidr: string): string {
  const prefix = tryParsePrefix(cidr);
  return prefix === undefined ? cidr : formatPrefix(networkOf(prefix));
}

/** True if both CIDRs are the same network, whatever their host bits. */
export function sameNetwork(a: Prefix, b: Prefix): boolean {
  return samePrefix(networkOf(a), networkOf(b));
}
