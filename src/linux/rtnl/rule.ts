import { type Family, formatPrefix, type Prefix } from "#ip";
import { Attributes, MessageWriter, requireHeader } from "../netlink/attributes.ts";
import { u8At } from "../netlink/bytes.ts";
import { flags } from "../netlink/message.ts";
import { afOf, familyOf, type Operation, type Tolerance, types } from "./request.ts";

/** A policy rule "… lookup table" to be added, or to be looked for and deleted: what is absent there matches anything. */
export interface RuleSpec {
  readonly family: Family;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly fwmark?: number;
  /** Bits of the mark that count; default all. */
  readonly fwmask?: number;
  readonly iif?: string;
  readonly oif?: string;
  readonly table: number;
  /** Preference. Where it is absent the kernel puts the rule just before the lowest that is not the local table's. */
  readonly pref?: number;
}

/** A rule as the kernel describes it. */
export interface Rule {
  readonly family: Family;
  readonly from: Prefix | undefined;
  readonly to: Prefix | undefined;
  readonly fwmark: number | undefined;
  readonly fwmask: number | undefined;
  readonly iif: string | undefined;
  readonly oif: string | undefined;
  /** 0 for a rule with another action than a lookup. */
  readonly table: number;
  readonly pref: number;
}

const fra = { dst: 1, src: 2, iif: 3, priority: 6, fwmark: 10, table: 15, fwmask: 16, oif: 17 } as const;
const actionToTable = 1;
const headerLength = 12;

/** `struct fib_rule_hdr`. */
function encode(rule: RuleSpec): Uint8Array {
  const { family, from, to, fwmark, fwmask, iif, oif, table, pref } = rule;
  for (const prefix of [from, to]) {
    if (prefix !== undefined && prefix.ip.family !== family)
      throw new RangeError(`prefix of another family: ${ruleText(rule)}`);
  }
  const writer = new MessageWriter()
    .u8(afOf(family))
    .u8(to?.bits ?? 0)
    .u8(from?.bits ?? 0)
    .u8(0);
  writer
    .u8(table < 256 ? table : 0)
    .u16(0)
    .u8(actionToTable)
    .u32(0)
    .putU32(fra.table, table);
  if (from !== undefined && from.bits > 0) writer.putIp(fra.src, from.ip);
  if (to !== undefined && to.bits > 0) writer.putIp(fra.dst, to.ip);
  if (fwmark !== undefined) writer.putU32(fra.fwmark, fwmark).putU32(fra.fwmask, fwmask ?? 0xffff_ffff);
  if (iif !== undefined) writer.putText(fra.iif, iif);
  if (oif !== undefined) writer.putText(fra.oif, oif);
  if (pref !== undefined) writer.putU32(fra.priority, pref);
  return writer.finish();
}

/** RTM_NEWRULE. */
export function addRuleOperation(rule: RuleSpec, { tolerate = [] }: Tolerance): Operation {
  const attempted = () => `add rule ${ruleText(rule)}`;
  return { type: types.newRule, flags: flags.create | flags.exclusive, body: encode(rule), attempted, tolerate };
}

/** RTM_DELRULE. */
export function deleteRuleOperation(rule: RuleSpec, { tolerate = [] }: Tolerance): Operation {
  return {
    type: types.deleteRule,
    flags: 0,
    body: encode(rule),
    attempted: () => `delete rule ${ruleText(rule)}`,
    tolerate,
  };
}

/** As the ip command writes it. */
function ruleText({ family, from, to, fwmark, fwmask, iif, oif, table, pref }: RuleSpec): string {
  const parts = [`IPv${family}`];
  if (pref !== undefined) parts.push(`pref ${pref}`);
  parts.push(`from ${from === undefined ? "all" : formatPrefix(from)}`);
  if (to !== undefined) parts.push(`to ${formatPrefix(to)}`);
  if (fwmark !== undefined) parts.push(`fwmark ${hex(fwmark)}${fwmask === undefined ? "" : `/${hex(fwmask)}`}`);
  if (iif !== undefined) parts.push(`iif ${iif}`);
  if (oif !== undefined) parts.push(`oif ${oif}`);
  return [...parts, `lookup ${table}`].join(" ");
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** RTM_GETRULE as a dump of one family. */
export function encodeDumpRules(family: Family): Uint8Array {
  return new MessageWriter().u32(afOf(family)).u32(0).u32(0).finish();
}

/** Reads the body of a NEWRULE or DELRULE message; undefined for families that are not ours. */
export function decodeRule(body: Uint8Array): Rule | undefined {
  requireHeader(body, headerLength);
  const family = familyOf(u8At(body, 0));
  if (family === undefined) return undefined;
  const attributes = new Attributes(body, headerLength);
  const prefix = (type: number, bits: number): Prefix | undefined => {
    const ip = attributes.ip(type);
    return ip === undefined ? undefined : { ip, bits };
  };
  return {
    family,
    from: prefix(fra.src, u8At(body, 2)),
    to: prefix(fra.dst, u8At(body, 1)),
    fwmark: attributes.u32(fra.fwmark),
    fwmask: attributes.u32(fra.fwmask),
    iif: attributes.text(fra.iif),
    oif: attributes.text(fra.oif),
    table: attributes.u32(fra.table) ?? u8At(body, 4),
    // The kernel leaves the attribute out if it is 0.
    pref: attributes.u32(fra.priority) ?? 0,
  };
}
