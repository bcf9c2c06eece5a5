import { IpParseError } from "./errors.ts";
import { compareIp, type Family, formatIp, type Ip, inFamily, ipValue, parseIp, sameIp } from "./ip.ts";

/** All addresses from `first` to `last`, both included; one family, `first` not above `last`. */
export interface IpRange {
  readonly first: Ip;
  readonly last: Ip;
}

/**
 * An element of a pool's `ips`: `A` or `A-B`, without spaces, one family, A not above B (never swapped: a reversed range is
 * a mistake that only its author can mend). CIDR elements are refused. Throws IpParseError.
 */
export function parseRange(text: string, family?: Family): IpRange {
  const dash = text.indexOf("-");
  if (dash < 0) {
    if (text.includes("/")) throw refused(text, family, "a CIDR is not accepted here, write first-last");
    const ip = parseIp(text, family);
    return { first: ip, last: ip };
  }
  const first = parseEnd(text, text.slice(0, dash), family);
  const last = parseEnd(text, text.slice(dash + 1), family);
  if (first.family !== last.family) throw refused(text, family, "its ends are of two families");
  if (compareIp(first, last) > 0) throw refused(text, family, "its first address is above its last");
  return { first, last };
}

/** As `parseRange`, but returns undefined instead of throwing. */
export function tryParseRange(text: string, family?: Family): IpRange | undefined {
  try {
    return parseRange(text, family);
  } catch (error) {
    if (error instanceof IpParseError) return undefined;
    throw error;
  }
}

/** `A` for a single address, else `A-B`. */
export function formatRange(range: IpRange): string {
  const first = formatIp(range.first);
  return sameIp(range.first, range.last) ? first : `${first}-${formatIp(range.last)}`;
}

/** How many addresses it holds. */
export function rangeSize(range: IpRange): bigint {
  return ipValue(range.last) - ipValue(range.first) + 1n;
}

function parseEnd(text: string, end: string, family: Family | undefined): Ip {
  try {
    return parseIp(end, family);
  } catch (error) {
    if (error instanceof IpParseError) throw refused(text, family, error.message);
    throw error;
  }
}

function refused(text: string, family: Family | undefined, reason: string): IpParseError {
  return new IpParseError(`invalid IP range format${inFamily(family)}`, text, reason);
}
