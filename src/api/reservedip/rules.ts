import { isDeepStrictEqual } from "node:util";
import { bothFamilies, type Families } from "../families.ts";
import { checkEnabled, checkUnchanged } from "../rules/addresses.ts";
import { checkElements } from "../rules/elements.ts";
import { checkRules, type Rule } from "../rules/rule.ts";
import { forbidden, invalid, notSupported, type Violation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderReservedIP, SpiderReservedIPSpec } from "./types.ts";

interface ReservedIpCase {
  readonly spec: SpiderReservedIPSpec;
  readonly old: SpiderReservedIPSpec | undefined;
  readonly families: Families;
}

/** Every rule about reserved addresses. They may overlap pools and addresses in use: they only affect later allocations. */
export const reservedIpRules: readonly Rule<ReservedIpCase>[] = [
  {
    id: "reserved-version-known",
    field: "spec.ipVersion",
    message: "ipVersion is 4 or 6; it is inferred from the first element of ips",
    check: ({ spec: { ipVersion } }) => {
      if (ipVersion === undefined) {
        const detail = "is not generated correctly, 'spec.ips' is empty or 'spec.ips[0]' may be invalid";
        return [invalid("spec.ipVersion", null, detail)];
      }
      return [4, 6].includes(ipVersion) ? [] : [notSupported("spec.ipVersion", ipVersion, ["4", "6"])];
    },
  },
  {
    id: "reserved-version-enabled",
    field: "spec.ipVersion",
    message: "the address family is enabled in the cluster's configuration",
    check: ({ spec, families }) => checkEnabled(spec.ipVersion, families),
  },
  {
    id: "reserved-version-immutable",
    field: "spec.ipVersion",
    message: "is not changeable",
    check: ({ spec, old }) => checkUnchanged("spec.ipVersion", spec.ipVersion, old?.ipVersion),
    cel: { at: "ipVersion", rule: "self == oldSelf" },
  },
  {
    id: "reserved-ips-valid",
    field: "spec.ips[*]",
    message: "each element is an address or a range first-last of the family",
    check: ({ spec: { ips, ipVersion } }) =>
      ipVersion === 4 || ipVersion === 6 ? checkElements("spec.ips", ips, ipVersion) : [],
  },
];

/** Returns why the object may not be created or replace `old`. Never refuses an update that leaves the spec alone. */
export function validateReservedIp(
  reserved: Submitted<SpiderReservedIP>,
  context: { readonly old?: SpiderReservedIP | undefined; readonly families?: Families } = {},
): readonly Violation[] {
  const { old, families = bothFamilies } = context;
  if (old !== undefined) {
    if (isDeepStrictEqual(reserved.spec, old.spec)) return [];
    if (old.metadata.deletionTimestamp !== undefined) {
      return [forbidden("spec", "cannot update a terminating ReservedIP")];
    }
  }
  return checkRules(reservedIpRules, { spec: reserved.spec, old: old?.spec, families });
}
