/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { celOf } from "../rules/rule.ts";
import { ipVersion, texts } from "../schema/fields.ts";
import { definitionOf } from "../schema/ours.ts";
import { reservedIpRules } from "./rules.ts";
import { spiderReservedIPs } from "./types.ts";

/** `spec`: addresses of one family. */
export const reservedIpSpec = Type.Object({
  ipVersion: Type.Optional(ipVersion(celOf(reservedIpRules, "ipVersion"))),
  ips: Type.Optional(texts("Addresses that no pool hands out: single addresses `A` and ranges `A-B`.")),
});

/** The CRD's parts. */
export const reservedIpDefinition = definitionOf(spiderReservedIPs, "sr", {
  description: "Addresses that no pool of the cluster hands out.",
  spec: reservedIpSpec,
  required: ["spec"],
  statusSubresource: false,
  columns: [{ name: "VERSION", type: "string", jsonPath: ".spec.ipVersion", description: "ipVersion" }],
});
