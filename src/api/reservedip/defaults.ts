import { tryParseRange } from "#ip";
import { isTerminating, normalLists } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderReservedIP } from "./types.ts";

/** Fills in, at every create and update: the family of the first element. Writes the list in normal form. */
export function defaultReservedIp(reserved: SpiderReservedIP): SpiderReservedIP;
export function defaultReservedIp(reserved: Submitted<SpiderReservedIP>): Submitted<SpiderReservedIP>;
export function defaultReservedIp(reserved: Submitted<SpiderReservedIP>): Submitted<SpiderReservedIP> {
  if (isTerminating(reserved)) return reserved;
  const { spec } = reserved;
  const family = spec.ipVersion ?? tryParseRange(spec.ips?.[0] ?? "")?.first.family;
  return family === undefined
    ? reserved
    : { ...reserved, spec: { ...spec, ipVersion: family, ...normalLists(spec, family) } };
}
