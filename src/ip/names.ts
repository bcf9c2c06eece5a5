import { IpParseError } from "./errors.ts";
import { formatIp, type Ip, ipv6Groups, tryParseIp } from "./ip.ts";

/**
 * A CIDR as a label value: `172.18.40.0/24` → `172-18-40-0-24`, `fd00::/64` → `fd00---64`. A label value must begin with a
 * letter or digit, so a CIDR that begins with `::` gets a `0` in front (`::/64` → `0---64`), which no canonical CIDR has.
 */
export function cidrLabel(cidr: string): string {
  const label = cidr.replaceAll(/[.:/]/g, "-");
  return label.startsWith("-") ? `0${label}` : label;
}

/**
 * The address as the name of its claim object, one name for each address and fit for a DNS subdomain: dotted IPv4, or the
 * eight groups of IPv6 with four digits each, joined by `-`.
 */
export function claimName(ip: Ip): string {
  return ip.family === 4 ? formatIp(ip) : fullGroups(ip.value, "-");
}

/** The address as in the claim's `spec.address`: like its name, but with IPv6 groups joined by `:`. */
export function claimAddress(ip: Ip): string {
  return ip.family === 4 ? formatIp(ip) : fullGroups(ip.value, ":");
}

/** The address of the claim with this name. Accepts only the exact form of `claimName`. Throws IpParseError. */
export function parseClaimName(name: string): Ip {
  const ip = tryParseClaimName(name);
  if (ip === undefined) throw new IpParseError("invalid claim name", name, "want the name of an address");
  return ip;
}

/** As `parseClaimName`, but returns undefined instead of throwing. */
export function tryParseClaimName(name: string): Ip | undefined {
  const ip = tryParseIp(name.replaceAll("-", ":"));
  return ip !== undefined && claimName(ip) === name ? ip : undefined;
}

function fullGroups(value: bigint, separator: string): string {
  return ipv6Groups(value)
    .map((group) => group.toString(16).padStart(4, "0"))
    .join(separator);
}
