/**
 * Addresses, prefixes, ranges and interval sets of both families, as values. Pure arithmetic: the cost of an operation
 * depends on the number of intervals, never on how many addresses they hold, so a /10 or a /64 is as cheap as one address.
 *
 * It knows nothing of names, sockets, interfaces or policy. Imports nothing, not even our own modules. Anyone may import it.
 */
export { clampCount } from "./count.ts";
export { IpParseError } from "./errors.ts";
export {
  addressBits,
  compareIp,
  type Family,
  formatIp,
  type Ip,
  ipFromBytes,
  ipFromValue,
  ipToBytes,
  ipValue,
  parseIp,
  sameIp,
  storeIp,
  tryParseIp,
} from "./ip.ts";
export { formatIpSet, IpSet, parseIpSet } from "./ip-set.ts";
export { cidrLabel, claimAddress, claimName, parseClaimName, tryParseClaimName } from "./names.ts";
export {
  formatPrefix,
  hostPrefix,
  isCanonicalPrefix,
  networkOf,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixRange,
  samePrefix,
  tryParsePrefix,
} from "./prefix.ts";
export { formatRange, type IpRange, parseRange, rangeSize, tryParseRange } from "./range.ts";
export { type RangeEntry, RangeIndex } from "./range-index.ts";
