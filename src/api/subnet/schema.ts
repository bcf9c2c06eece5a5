/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { celOf } from "../rules/rule.ts";
import {
  addressText,
  conditions,
  count,
  ipVersion,
  labelSelector,
  routes,
  text,
  texts,
  validations,
} from "../schema/fields.ts";
import { definitionOf, usageColumns } from "../schema/ours.ts";
import { subnetRules } from "./rules.ts";
import { spiderSubnets } from "./types.ts";

/** `spec`: addresses, what pools inherit with them, and who may cut pools. */
export const subnetSpec = Type.Object(
  {
    ipVersion: Type.Optional(ipVersion(celOf(subnetRules, "ipVersion"))),
    subnet: addressText("CIDR, host bits zero; no two subnets overlap. Immutable.", celOf(subnetRules, "subnet")),
    ips: Type.Optional(texts("Addresses that may be given to pools: single addresses `A` and ranges `A-B`.")),
    excludeIPs: Type.Optional(texts("Taken off `ips`, in the same form.")),
    namespaceAffinity: Type.Optional(
      labelSelector("Only applications in Namespaces with these labels may have pools of the subnet."),
    ),
    namespaceName: Type.Optional(texts("Only applications in these Namespaces; `namespaceAffinity` is then ignored.")),
    gateway: Type.Optional(addressText("Inherited by pools that have none when they are linked.")),
    routes: Type.Optional(routes("Inherited by pools that have none when they are linked.")),
  },
  validations(celOf(subnetRules)),
);

const subnetConditionTypes = ["InsufficientIPs"] as const;

/** `status`: counts, and the pools that were cut. */
export const subnetStatus = Type.Object({
  controlledIPPools: Type.Optional(text("JSON: pool → {ips, application}. Absent when there is none.")),
  totalIPCount: Type.Optional(count("Addresses in `ips` less `excludeIPs`.")),
  allocatedIPCount: Type.Optional(count("Addresses handed to pools.")),
  conditions: Type.Optional(
    conditions("What the subnet cannot do for applications; absent where it can do all.", subnetConditionTypes),
  ),
});

/** The CRD's parts. */
export const subnetDefinition = definitionOf(spiderSubnets, "ss", {
  description: "Addresses from which pools are cut, by hand or for an application.",
  spec: subnetSpec,
  status: subnetStatus,
  required: ["spec"],
  statusSubresource: true,
  columns: usageColumns,
});
