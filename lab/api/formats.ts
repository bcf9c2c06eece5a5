import { isIP, isIPv4, isIPv6 } from "node:net";

const patterns: Readonly<Record<string, RegExp>> = {
  "date-time": /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/,
  date: /^\d{4}-\d\d-\d\d$/,
  mac: /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i,
  uuid: /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i,
  hostname: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/i,
  byte: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
};

/** Whether `value` has one of the formats that CRDs may name; true for a format that nobody checks. */
export function matchesFormat(value: string, format: string): boolean {
  if (format === "ipv4") return isIPv4(value);
  if (format === "ipv6") return isIPv6(value);
  if (format === "ip") return isIP(value) !== 0;
  if (format === "cidr") return isCidr(value);
  return (patterns[format] ?? /^/).test(value);
}

function isCidr(value: string): boolean {
  const [, address = "", bits] = /^(.*)\/(\d{1,3})$/.exec(value) ?? [];
  const family = isIP(address);
  return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128);
}
