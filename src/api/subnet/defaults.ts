import { cidrLabel, isCanonicalPrefix } from "#ip";
import { labels } from "../labels.ts";
import { familyOf } from "../rules/addresses.ts";
import { isTerminating, normalLists, withFinalizer, withLabel } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderSubnet } from "./types.ts";

/** Fills in, at every create and update: finalizer, family and CIDR label. Writes lists in normal form. */
export function defaultSubnet(subnet: SpiderSubnet): SpiderSubnet;
export function defaultSubnet(subnet: Submitted<SpiderSubnet>): Submitted<SpiderSubnet>;
export function defaultSubnet(subnet: Submitted<SpiderSubnet>): Submitted<SpiderSubnet> {
  if (isTerminating(subnet)) return subnet;
  const { spec } = subnet;
  const family = spec.ipVersion ?? familyOf(spec.subnet);
  const metadata = withFinalizer(subnet.metadata);
  return {
    ...subnet,
    metadata: isCanonicalPrefix(spec.subnet)
      ? withLabel(metadata, labels.subnetCidr, cidrLabel(spec.subnet))
      : metadata,
    spec: { ...spec, ...(family !== undefined && { ipVersion: family, ...normalLists(spec, family) }) },
  };
}
