import { isDeepStrictEqual } from "node:util";
import { bothFamilies, type Families } from "../families.ts";
import { versionRules } from "../rules/addresses.ts";
import { checkElements } from "../rules/elements.ts";
import { checkRules, type Rule } from "../rules/rule.ts";
import { forbidden, type Violation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderReservedIP, SpiderReservedIPSpec } from "./types.ts";

interface ReservedIpCase {
  readonly spec: SpiderReservedIPSpec;
  readonly old: SpiderReservedIPSpec | undefined;
  readonly families: Families;
}

/** Every rule about reserved addresses. They may overlap pools and addresses in use: they only affect later allocations. */
export const reservedIpRules: readonly Rule<ReservedIpCase>[] = [
  ...versionRules<ReservedIpCase>({
    prefix: "reserved-",
    source: "the first element of ips",
    unreadable: "'spec.ips' is empty or 'spec.ips[0]' may be invalid",
  }),
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
